#include "host/overlay_base.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "host/base_file.h"
#include "store/base_hash.h"
#include "store/file_device.h"
#include "store/overlay_device.h"

namespace godwit::host {

using volume::ShelfItem;

namespace {

// A path as the note keeps it: absolute, links left as they are.
std::string as_noted(const std::string& path) {
  std::error_code ignored;  // opening it says what is wrong
  return std::filesystem::absolute(path, ignored).lexically_normal().string();
}

std::string short_hash(const Sha256& hash) {
  return to_hex(ConstBytes(hash).first(8)) + "…";
}

}  // namespace

struct OverlayBases::Laying {
  store::Directory& folder;
  OverlayBlocks blocks;
  ShelfItem item;
  net::Done<ShelfItem> done;
  std::string path;
  std::optional<BaseFile> noted;
  BaseFile now;
  std::unique_ptr<store::BlockDevice> base;

  std::string note_name() const { return item.name + ".cow.base"; }
  void refuse(Error error) { done(fail(std::move(error).within("the base of volume " + item.name))); }
  void refuse(ErrorKind kind, std::string why) { refuse(Error(kind, std::move(why))); }
  void refuse_changed(const std::string& how) {
    refuse(ErrorKind::refused,
           fmt::format("{} is not the image that the overlay was written over: {}. Put that image back, or name by "
                       "--base where it is now",
                       path, how));
  }
};

void OverlayBases::lay(store::Directory& folder, const std::string& named, OverlayBlocks blocks, ShelfItem item,
                       net::Done<ShelfItem> done) {
  auto laying = std::make_shared<Laying>(Laying{folder, blocks, std::move(item), std::move(done), named, {}, {}, nullptr});
  folder.read_file(laying->note_name(), [this, laying](Result<Bytes> bytes) {
    Result<BaseFile> noted = bytes ? decode_base_file(*bytes) : Result<BaseFile>(fail(std::move(bytes).error()));
    const ErrorKind problem = noted ? ErrorKind::not_found : noted.error().kind();
    const bool named_anew = !laying->path.empty();
    // A newer program's note may know better what the overlay lies on; a damaged one is as good as none.
    if (problem == ErrorKind::unsupported && laying->blocks == OverlayBlocks::count)
      return laying->refuse(std::move(noted).error().within(laying->note_name()));
    if (problem != ErrorKind::not_found && !named_anew)
      return laying->refuse(std::move(noted).error().within(laying->note_name() + " (name the base by --base)"));
    if (noted) laying->noted = std::move(*noted);
    if (laying->path.empty() && laying->noted) laying->path = laying->noted->path;
    if (laying->path.empty())
      return laying->done(
          fail(ErrorKind::usage, "volume " + laying->item.name + " is an overlay: say what it lies on (base = PATH, or --base)"));
    open_base(laying);
  });
}

void OverlayBases::open_base(std::shared_ptr<Laying> laying) {
  Laying& l = *laying;
  struct stat status{};
  if (::stat(l.path.c_str(), &status) != 0)
    return l.refuse(Error::from_errno(errno, "look at " + l.path).within("say by --base where it is"));
  Result<std::unique_ptr<store::BlockDevice>> base = store::open_file_device(l.path, true, scheduler_, workers_);
  if (!base) return l.refuse(std::move(base).error());
  l.base = std::move(*base);
  const volume::Geometry& geometry = l.item.record.geometry;
  l.now = {geometry.block_size_bytes,
           l.base->size(),
           status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec,
           {},
           as_noted(l.path)};
  if (l.now.path.size() > kBasePathSizeMax) return l.refuse(ErrorKind::limit, "its path is too long to be noted");
  if (l.noted && l.blocks == OverlayBlocks::count) {
    if (l.noted->block_size_bytes != geometry.block_size_bytes)
      return l.refuse(ErrorKind::corrupt, fmt::format("{} is of blocks of {} bytes, the volume's have {}", l.note_name(),
                                                      l.noted->block_size_bytes, geometry.block_size_bytes));
    if (l.noted->size_bytes != l.now.size_bytes)
      return l.refuse_changed(fmt::format("it has {} bytes, that had {}", l.now.size_bytes, l.noted->size_bytes));
  }
  if (l.now.size_bytes != geometry.size_bytes)
    return l.refuse(ErrorKind::invalid,
                    fmt::format("{} has {} bytes, the volume {}", l.path, l.now.size_bytes, geometry.size_bytes));
  if (l.noted && l.noted->fits(l.now) && S_ISREG(status.st_mode)) return check(laying, l.noted->hash);
  store::hash_base(*l.base, geometry.block_size_bytes, workers_, [this, laying](Result<Sha256> hash) {
    // The base is in the middle of calling us, and may go with what fails from here on.
    scheduler_.post([this, laying, hash = std::move(hash)]() mutable {
      if (!hash) return laying->refuse(std::move(hash).error());
      check(laying, *hash);
    });
  });
}

void OverlayBases::check(std::shared_ptr<Laying> laying, const Sha256& hash) {
  laying->now.hash = hash;
  if (laying->noted && laying->blocks == OverlayBlocks::count && laying->noted->hash != hash)
    return laying->refuse_changed(
        fmt::format("its blocks hash to {}, those of that to {}", short_hash(hash), short_hash(laying->noted->hash)));
  put_together(laying);
}

// The overlay's file is the volume's data file; its bitmap keeps its name whatever becomes of that.
void OverlayBases::put_together(std::shared_ptr<Laying> laying) {
  Laying& l = *laying;
  store::OverlayOptions options;
  options.bitmap_name = l.item.name + ".cow";
  options.list_name = l.item.name + ".state";
  options.block_size = l.item.record.geometry.block_size_bytes;
  store::OverlayDevice::open(std::move(l.base), std::move(l.item.store), l.folder, scheduler_, options,
                             [laying](Result<std::unique_ptr<store::OverlayDevice>> device) {
                               if (!device)
                                 return laying->done(fail(std::move(device).error().within("volume " + laying->item.name)));
                               ShelfItem& item = laying->item;
                               item.record.kind = volume::Record::Kind::overlay;
                               item.pristine = false;
                               item.base_hash = laying->now.hash;
                               item.overlay = device->get();
                               item.store = std::move(*device);
                               if (laying->noted == laying->now) return laying->done(std::move(item));
                               laying->folder.replace_file(laying->note_name(), encode_base_file(laying->now),
                                                           [laying](Result<void> kept) {
                                                             if (!kept) return laying->refuse(std::move(kept).error());
                                                             laying->done(std::move(laying->item));
                                                           });
                             });
}

}  // namespace godwit::host
