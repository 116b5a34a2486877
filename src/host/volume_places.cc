#include "host/volume_places.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "host/device_copy.h"
#include "host/volume_places_folder.h"
#include "store/disk_file.h"
#include "store/file_device.h"
#include "store/real_directory.h"

namespace godwit::host {

using volume::CopyState;
using volume::Geometry;
using volume::LocalHost;
using volume::Record;
using volume::ShelfItem;

namespace {

constexpr std::array<std::pair<VolumeKind, std::string_view>, 5> kKinds = {{{VolumeKind::file, "file"},
                                                                            {VolumeKind::sparse, "sparse"},
                                                                            {VolumeKind::memory, "memory"},
                                                                            {VolumeKind::overlay, "overlay"},
                                                                            {VolumeKind::device, "device"}}};

}  // namespace

std::string_view name_of(VolumeKind kind) {
  return std::ranges::find(kKinds, kind, &std::pair<VolumeKind, std::string_view>::first)->second;
}

Result<VolumeKind> parse_volume_kind(std::string_view text) {
  const auto found = std::ranges::find(kKinds, text, &std::pair<VolumeKind, std::string_view>::second);
  if (found == kKinds.end())
    return fail(ErrorKind::usage,
                fmt::format("\"{}\" is no kind of volume: file, sparse, memory, overlay or device", escaped(text)));
  return found->first;
}

struct VolumePlaces::Opening {
  LocalHost me;
  VolumeRequest request;
  Random random;
  net::Done<PlacedVolume> done;
};

VolumePlaces::VolumePlaces(net::Scheduler& scheduler, net::Workers& workers, store::BlockDevices& devices,
                           std::string volumes_folder)
    : scheduler_(scheduler),
      workers_(workers),
      devices_(devices),
      bases_(scheduler, workers),
      volumes_folder_(std::move(volumes_folder)) {}
VolumePlaces::~VolumePlaces() = default;

Result<VolumePlaces::Folder*> VolumePlaces::folder(const std::string& given) {
  std::error_code error;
  std::string path = given.empty() ? volumes_folder_ : std::filesystem::canonical(given, error).string();
  if (error) return fail(ErrorKind::not_found, fmt::format("the folder {}: {}", given, error.message()));
  if (const auto it = folders_.find(path); it != folders_.end()) return it->second.get();
  Result<std::unique_ptr<store::Directory>> directory = store::make_directory(path, workers_, scheduler_);
  if (!directory) return fail(std::move(directory).error());
  auto opened = std::make_unique<Folder>(path, std::move(*directory), devices_);
  return folders_.emplace(path, std::move(opened)).first->second.get();
}

// --- making ---

void VolumePlaces::make(const LocalHost& me, VolumeRequest request, Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(request.name); !sound) return done(fail(std::move(sound).error()));
  if (request.kind == VolumeKind::device) return make_on_device(me, request, random, std::move(done));
  if (request.kind == VolumeKind::overlay && request.size_bytes == 0 && !request.base.empty()) {
    Result<std::unique_ptr<store::DiskFile>> base = store::DiskFile::open(request.base, true);
    if (!base) return done(fail(std::move(base).error().within("the base of volume " + request.name)));
    request.size_bytes = (*base)->size();
  }
  if (!request.content.empty()) {
    if (request.kind != VolumeKind::file && request.kind != VolumeKind::sparse)
      return done(fail(ErrorKind::usage, "volume " + request.name + ": only a file or a sparse file is made from another file"));
    Result<std::unique_ptr<store::DiskFile>> content = store::DiskFile::open(request.content, true);
    if (!content) return done(fail(std::move(content).error().within("the content of volume " + request.name)));
    if (request.size_bytes == 0) request.size_bytes = (*content)->size();
    if (request.size_bytes < (*content)->size())
      return done(fail(ErrorKind::usage,
                       fmt::format("volume {}: {} has more than {} bytes", request.name, request.content, request.size_bytes)));
  }
  if (request.size_bytes == 0) return done(fail(ErrorKind::usage, "volume " + request.name + ": a new volume needs a size"));
  const Geometry geometry{request.size_bytes, request.block_size_bytes};
  if (request.kind == VolumeKind::memory)
    return done(make_in_memory(request.name, volume::Ownership::new_owned(me, random, geometry, ""), scheduler_));
  Result<Folder*> folder = this->folder(request.folder);
  if (!folder) return done(fail(std::move(folder).error()));
  Folder* const place = *folder;
  place->locked().list(
      [this, place, me, request, random, done = std::move(done)](Result<std::vector<std::string>> names) mutable {
        if (!names) return done(fail(std::move(names).error()));
        for (const std::string_view ending : {"", ".own", ".partial", ".moved", ".cow"})
          if (std::ranges::find(*names, request.name + std::string(ending)) != names->end())
            return done(fail(ErrorKind::exists, fmt::format("make volume {}: {}/{}{} is there already", request.name,
                                                            place->path(), request.name, ending)));
        make_data(*place, me, request, random, std::move(done));
      });
}

// What is on the device is the volume's from the start: whoever has to empty it does so before.
void VolumePlaces::make_on_device(const LocalHost& me, const VolumeRequest& request, Random random, net::Done<ShelfItem> done) {
  if (!request.folder.empty())
    return done(fail(ErrorKind::usage, "volume " + request.name +
                                           ": the record of a volume on a device lies in the data directory, not in a folder"));
  if (request.device.empty()) return done(fail(ErrorKind::usage, "volume " + request.name + ": say which device"));
  if (!request.content.empty())
    return done(fail(ErrorKind::usage, "volume " + request.name + ": only a file or a sparse file is made from another file"));
  Result<Folder*> folder = this->folder("");
  if (!folder) return done(fail(std::move(folder).error()));
  (*folder)->device_shelf().create(me, request.name, request.device, request.size_bytes, request.block_size_bytes, random,
                                   settling(**folder, std::move(done)));
}

void VolumePlaces::settle(Folder& folder, const ShelfItem& item) {
  homes_[item.name] = {&folder, item.record.kind};
}

void VolumePlaces::make_data(Folder& place, const LocalHost& me, const VolumeRequest& request, Random random,
                             net::Done<ShelfItem> done) {
  // What was begun goes again when the rest fails: no half-made volume stays behind.
  auto settled = [this, &place, name = request.name, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) {
      settle(place, *item);
      return done(std::move(item));
    }
    place.locked().remove(name,
                          [error = item.error(), done = std::move(done)](Result<void>) mutable { done(fail(std::move(error))); });
  };
  const Geometry geometry{request.size_bytes, request.block_size_bytes};
  place.shelf().create(
      me, request.name, geometry, random, [this, &place, request, settled = std::move(settled)](Result<ShelfItem> item) mutable {
        if (!item) return settled(fail(std::move(item).error().within("make volume " + request.name)));
        if (request.kind == VolumeKind::overlay)
          return bases_.lay(place.locked(), request.base, OverlayBlocks::are_none, std::move(*item), std::move(settled));
        store::BlockDevice& device = *item->store;
        reserve(device, request,
                [this, request, item = std::move(*item), settled = std::move(settled)](Result<void> reserved) mutable {
                  if (!reserved)
                    return settled(fail(std::move(reserved).error().within("reserve space for volume " + item.name)));
                  item.pristine = request.kind == VolumeKind::sparse && request.content.empty();
                  store::BlockDevice& data = *item.store;
                  fill(request.content, data,
                       [item = std::move(item), settled = std::move(settled)](Result<void> filled) mutable {
                         if (!filled) return settled(fail(std::move(filled).error().within("fill volume " + item.name)));
                         settled(std::move(item));
                       });
                });
      });
}

void VolumePlaces::reserve(store::BlockDevice& device, const VolumeRequest& request, net::Done<void> done) {
  if (request.kind == VolumeKind::sparse) return done({});
  device.zero(0, request.size_bytes, store::ZeroMode::keep_allocated, store::Durability::written, std::move(done));
}

// Copies a file into a new device.
void VolumePlaces::fill(const std::string& content, store::BlockDevice& device, net::Done<void> done) {
  if (content.empty()) return done({});
  Result<std::unique_ptr<store::BlockDevice>> from = store::open_file_device(content, true, scheduler_, workers_);
  if (!from) return done(fail(std::move(from).error()));
  copy_device(std::move(*from), device, std::move(done));
}

// --- opening ---

void VolumePlaces::open_or_make(const LocalHost& me, VolumeRequest request, Random random, net::Done<PlacedVolume> done) {
  if (Result<void> sound = volume::check_volume_name(request.name); !sound) return done(fail(std::move(sound).error()));
  auto opening = std::make_shared<Opening>(Opening{me, std::move(request), random, std::move(done)});
  const bool on_device = opening->request.kind == VolumeKind::device;
  const auto made = [opening, how = on_device ? PlacedVolume::How::adopted : PlacedVolume::How::made](Result<ShelfItem> item) {
    if (!item) return opening->done(fail(std::move(item).error()));
    opening->done(PlacedVolume{std::move(*item), how});
  };
  if (opening->request.kind == VolumeKind::memory) return make(me, opening->request, random, made);
  Result<Folder*> folder = this->folder(opening->request.folder);
  if (!folder) return opening->done(fail(std::move(folder).error()));
  Folder* const place = *folder;
  place->locked().list([this, place, opening, made](Result<std::vector<std::string>> names) {
    if (!names) return opening->done(fail(std::move(names).error()));
    const auto there = [&](const std::string& name) { return std::ranges::find(*names, name) != names->end(); };
    const std::string& name = opening->request.name;
    if (there(name + ".own")) return open(*place, opening);
    if (opening->request.kind == VolumeKind::device) return make(opening->me, opening->request, opening->random, made);
    if (there(name + ".partial"))
      return opening->done(
          fail(ErrorKind::refused, fmt::format("{}/{}.partial is there without its record: an incomplete copy is never "
                                               "served; move it away",
                                               place->path(), name)));
    const std::string path = place->path() + "/" + name;
    if (there(name) && devices_.identify(path)) {
      // Its record would be lost with a /dev that is made anew at each start.
      opening->request.kind = VolumeKind::device;
      opening->request.device = path;
      opening->request.folder.clear();
      return open_or_make(opening->me, opening->request, opening->random, std::move(opening->done));
    }
    if (there(name)) return adopt(*place, opening, there(name + ".cow"), there(name + ".state"));
    if (opening->request.size_bytes > 0 || !opening->request.base.empty())
      return make(opening->me, opening->request, opening->random, made);
    opening->done(fail(ErrorKind::not_found, fmt::format("there is no volume {} in {}", name, place->path())));
  });
}

void VolumePlaces::open(Folder& folder, std::shared_ptr<Opening> opening) {
  const std::string record_name = opening->request.name + ".own";
  if (Result<void> locked = folder.locked().lock(record_name); !locked) return opening->done(fail(std::move(locked).error()));
  const auto finish = [this, &folder, opening, record_name](Result<ShelfItem> item) {
    if (!item) {
      folder.locked().unlock(record_name);
      return opening->done(fail(std::move(item).error()));
    }
    settle(folder, *item);
    opening->done(PlacedVolume{std::move(*item), PlacedVolume::How::opened});
  };
  folder.shelf().open(opening->me, opening->request.name, [this, &folder, opening, finish](Result<ShelfItem> item) {
    if (!item) return finish(fail(std::move(item).error()));
    const VolumeRequest& request = opening->request;
    const Geometry& has = item->record.geometry;
    if (request.size_bytes > 0 && request.size_bytes != has.size_bytes)
      return finish(fail(ErrorKind::invalid, fmt::format("volume {} has {} bytes, not the {} that are asked for", request.name,
                                                         has.size_bytes, request.size_bytes)));
    if (!request.device.empty() && request.device != item->record.data_name)
      return finish(fail(ErrorKind::invalid, fmt::format("volume {} is there already, but in {}, not on {}", request.name,
                                                         item->record.data_name, request.device)));
    if (item->record.kind != Record::Kind::overlay || !item->store) return finish(std::move(item));
    // A copy that goes on is begun anew: on what it lies then does not matter yet.
    const OverlayBlocks blocks = item->record.state == CopyState::receiving ? OverlayBlocks::are_none : OverlayBlocks::count;
    bases_.lay(folder.locked(), request.base, blocks, std::move(*item), finish);
  });
}

// A data file becomes a volume. An overlay needs what says which blocks it has: our bitmap, or the original's list.
void VolumePlaces::adopt(Folder& folder, std::shared_ptr<Opening> opening, bool has_bitmap, bool has_list) {
  const std::string path = folder.path() + "/" + opening->request.name;
  const bool overlay = opening->request.kind == VolumeKind::overlay;
  Result<void> alone = store::check_not_open_elsewhere(path);
  if (!alone && alone.error().kind() == ErrorKind::busy)
    return opening->done(
        fail(ErrorKind::busy, path + " is open in another process: a volume has one writer; end that process first"));
  // Where the system does not tell (ErrorKind::unsupported) the user has to know.
  if (overlay && !has_bitmap && !has_list)
    return opening->done(
        fail(ErrorKind::refused, fmt::format("{} is there without a record: whether it is an overlay can not be told, as "
                                             "there is neither {}.cow nor an original's list, {}.state, beside it",
                                             path, opening->request.name, opening->request.name)));
  if (!overlay && has_bitmap)
    return opening->done(
        fail(ErrorKind::refused, fmt::format("{} is an overlay, says {}.cow beside it: say what it lies on (base = PATH, or "
                                             "--base)",
                                             path, opening->request.name)));
  const auto finish = [this, &folder, opening](Result<ShelfItem> item) {
    if (!item) return opening->done(fail(std::move(item).error()));
    settle(folder, *item);
    opening->done(PlacedVolume{std::move(*item), PlacedVolume::How::adopted});
  };
  folder.shelf().adopt_file(
      opening->me, opening->request.name, opening->request.block_size_bytes, opening->random,
      [this, &folder, opening, overlay, finish](Result<ShelfItem> item) {
        if (!item) return finish(std::move(item));
        const std::uint64_t has = item->record.geometry.size_bytes;
        const std::uint64_t wanted = opening->request.size_bytes;
        if (wanted > 0 && wanted != has)
          return finish(fail(ErrorKind::invalid, fmt::format("{}/{} has {} bytes, not the {} that are asked for", folder.path(),
                                                             item->name, has, wanted)));
        if (!overlay) return finish(std::move(item));
        bases_.lay(folder.locked(), opening->request.base, OverlayBlocks::count, std::move(*item), finish);
      });
}

void VolumePlaces::list(const std::string& path, net::Done<std::vector<std::string>> done) {
  Result<Folder*> folder = this->folder(path);
  if (!folder) return done(fail(std::move(folder).error()));
  (*folder)->shelf().list(std::move(done));
}

void VolumePlaces::read_record(const std::string& path, const std::string& name, net::Done<Record> done) {
  Result<Folder*> folder = this->folder(path);
  if (!folder) return done(fail(std::move(folder).error()));
  (*folder)->locked().read_file(name + ".own", [name, done = std::move(done)](Result<Bytes> bytes) mutable {
    if (!bytes) return done(fail(std::move(bytes).error()));
    Result<Record> record = volume::decode_record_file(*bytes);
    if (!record) return done(fail(std::move(record).error().within(name + ".own")));
    done(std::move(record));
  });
}

std::string VolumePlaces::data_path(const std::string& name, const std::string& data_name) const {
  const auto it = homes_.find(name);
  if (it == homes_.end()) return "";
  return it->second.kind == Record::Kind::block_device ? data_name : it->second.folder->path() + "/" + data_name;
}

}  // namespace godwit::host
