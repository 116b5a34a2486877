#include "host/volume_places.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "store/disk_file.h"
#include "store/file_device.h"
#include "store/memory_device.h"
#include "store/overlay_device.h"
#include "store/real_directory.h"

namespace godwit::host {

using volume::CopyState;
using volume::Geometry;
using volume::LocalHost;
using volume::Record;
using volume::ShelfItem;

namespace {

constexpr std::array<std::pair<VolumeKind, std::string_view>, 4> kKinds = {{{VolumeKind::file, "file"},
                                                                            {VolumeKind::sparse, "sparse"},
                                                                            {VolumeKind::memory, "memory"},
                                                                            {VolumeKind::overlay, "overlay"}}};

// A volume in memory has no record on disk and no name for its data.
Result<ShelfItem> make_in_memory(std::string name, Record record, net::Scheduler& scheduler) {
  Result<std::unique_ptr<store::BlockDevice>> device = store::make_memory_device(record.geometry.size_bytes, scheduler);
  if (!device) return fail(std::move(device).error().within("volume " + name + " in memory"));
  ShelfItem item;
  item.name = std::move(name);
  item.record = std::move(record);
  item.fresh = true;
  item.pristine = true;
  item.store = std::move(*device);
  return item;
}

}  // namespace

std::string_view name_of(VolumeKind kind) {
  return std::ranges::find(kKinds, kind, &std::pair<VolumeKind, std::string_view>::first)->second;
}

Result<VolumeKind> parse_volume_kind(std::string_view text) {
  const auto found = std::ranges::find(kKinds, text, &std::pair<VolumeKind, std::string_view>::second);
  if (found == kKinds.end())
    return fail(ErrorKind::usage, fmt::format("\"{}\" is no kind of volume: file, sparse, memory or overlay", escaped(text)));
  return found->first;
}

class VolumePlaces::Folder {
 public:
  Folder(std::string path, std::unique_ptr<store::Directory> directory)
      : path_(std::move(path)), locked_(path_, std::move(directory)), shelf_(locked_) {}
  const std::string& path() const { return path_; }
  LockedDirectory& locked() { return locked_; }
  volume::VolumeShelf& shelf() { return shelf_; }

 private:
  std::string path_;
  LockedDirectory locked_;
  volume::VolumeShelf shelf_;
};

class VolumePlaces::FolderCopies final : public volume::CopyMaker {
 public:
  FolderCopies(VolumePlaces& places, Folder& folder) : places_(places), folder_(folder) {}
  void make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry, volume::Peer from,
            Random random, net::Done<ShelfItem> done) override {
    places_.receive(folder_, me, name, id, geometry, std::move(from), random, std::move(done));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    places_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    places_.remove_data(data_name, std::move(done));
  }

 private:
  VolumePlaces& places_;
  Folder& folder_;
};

class VolumePlaces::MemoryCopies final : public volume::CopyMaker {
 public:
  explicit MemoryCopies(net::Scheduler& scheduler) : scheduler_(scheduler) {}
  void make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry, volume::Peer from,
            Random random, net::Done<ShelfItem> done) override {
    if (Result<void> sound = volume::check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
    done(make_in_memory(name, volume::Ownership::new_receiving(me, random, id, geometry, std::move(from), ""), scheduler_));
  }
  void discard(const std::string&, const std::string&, net::Done<void> done) override { done({}); }
  void remove_data(const std::string&, net::Done<void> done) override { done({}); }

 private:
  net::Scheduler& scheduler_;
};

struct VolumePlaces::Opening {
  LocalHost me;
  VolumeRequest request;
  Random random;
  net::Done<PlacedVolume> done;
};

VolumePlaces::VolumePlaces(net::Scheduler& scheduler, net::Workers& workers, std::string volumes_folder)
    : scheduler_(scheduler),
      workers_(workers),
      volumes_folder_(std::move(volumes_folder)),
      memory_copies_(std::make_unique<MemoryCopies>(scheduler)) {}
VolumePlaces::~VolumePlaces() = default;

Result<VolumePlaces::Folder*> VolumePlaces::folder(const std::string& given) {
  std::error_code error;
  std::string path = given.empty() ? volumes_folder_ : std::filesystem::canonical(given, error).string();
  if (error) return fail(ErrorKind::not_found, fmt::format("the folder {}: {}", given, error.message()));
  if (const auto it = folders_.find(path); it != folders_.end()) return it->second.get();
  Result<std::unique_ptr<store::Directory>> directory = store::make_directory(path, workers_, scheduler_);
  if (!directory) return fail(std::move(directory).error());
  auto opened = std::make_unique<Folder>(path, std::move(*directory));
  return folders_.emplace(path, std::move(opened)).first->second.get();
}

// --- making ---

void VolumePlaces::make(const LocalHost& me, VolumeRequest request, Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(request.name); !sound) return done(fail(std::move(sound).error()));
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

void VolumePlaces::make_data(Folder& place, const LocalHost& me, const VolumeRequest& request, Random random,
                             net::Done<ShelfItem> done) {
  // What was begun goes again when the rest fails: no half-made volume stays behind.
  auto settled = [this, &place, name = request.name, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) {
      folder_of_[name] = &place;
      return done(std::move(item));
    }
    place.locked().remove(name,
                          [error = item.error(), done = std::move(done)](Result<void>) mutable { done(fail(std::move(error))); });
  };
  const Geometry geometry{request.size_bytes, request.block_size_bytes};
  place.shelf().create(
      me, request.name, geometry, random, [this, &place, request, settled = std::move(settled)](Result<ShelfItem> item) mutable {
        if (!item) return settled(fail(std::move(item).error().within("make volume " + request.name)));
        if (request.kind == VolumeKind::overlay) return lay_over(place, request, std::move(*item), std::move(settled));
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

struct VolumePlaces::Filling {
  std::unique_ptr<store::BlockDevice> from;
  store::BlockDevice& to;
  net::Done<void> done;
  std::uint64_t at = 0;
  Bytes buffer;

  void finish(Result<void> result) { std::exchange(done, nullptr)(std::move(result)); }
};

// Copies a file into a new device, its holes left out; ends when everything is on stable storage.
void VolumePlaces::fill(const std::string& content, store::BlockDevice& device, net::Done<void> done) {
  if (content.empty()) return done({});
  Result<std::unique_ptr<store::BlockDevice>> from = store::open_file_device(content, true, scheduler_, workers_);
  if (!from) return done(fail(std::move(from).error()));
  auto filling = std::make_shared<Filling>(Filling{std::move(*from), device, std::move(done), 0, Bytes(1 << 20)});
  fill_next(std::move(filling));
}

void VolumePlaces::fill_next(std::shared_ptr<Filling> filling) {
  Filling& f = *filling;
  if (f.at == f.from->size()) return f.to.flush([filling](Result<void> flushed) { filling->finish(std::move(flushed)); });
  f.from->extents(f.at, f.from->size() - f.at, [this, filling](Result<std::vector<store::Extent>> extents) {
    if (!extents) return filling->finish(fail(std::move(extents).error()));
    const store::Extent& first = extents->front();
    Filling& now = *filling;
    if (first.zero) {
      now.at += first.length;
      return fill_next(filling);
    }
    const MutableBytes part = MutableBytes(now.buffer).first(std::min<std::uint64_t>(first.length, now.buffer.size()));
    now.from->read(now.at, part, [this, filling, part](Result<void> read) {
      if (!read) return filling->finish(std::move(read));
      filling->to.write(filling->at, part, store::Durability::written, [this, filling, part](Result<void> written) {
        if (!written) return filling->finish(std::move(written));
        filling->at += part.size();
        fill_next(filling);
      });
    });
  });
}

// The overlay's file is the volume's data file; its bitmap keeps its name whatever becomes of that.
void VolumePlaces::lay_over(Folder& folder, const VolumeRequest& request, ShelfItem item, net::Done<ShelfItem> done) {
  if (request.base.empty())
    return done(fail(ErrorKind::usage, "volume " + item.name + " is an overlay: say what it lies on (base = PATH, or --base)"));
  Result<std::unique_ptr<store::BlockDevice>> base = store::open_file_device(request.base, true, scheduler_, workers_);
  if (!base) return done(fail(std::move(base).error().within("the base of volume " + item.name)));
  item.record.kind = Record::Kind::overlay;
  item.pristine = false;
  store::OverlayOptions options;
  options.bitmap_name = item.name + ".cow";
  options.block_size = item.record.geometry.block_size_bytes;
  std::unique_ptr<store::BlockDevice> overlay = std::move(item.store);
  store::OverlayDevice::open(
      std::move(*base), std::move(overlay), folder.locked(), scheduler_, options,
      [item = std::move(item), done = std::move(done)](Result<std::unique_ptr<store::OverlayDevice>> device) mutable {
        if (!device) return done(fail(std::move(device).error().within("volume " + item.name)));
        item.store = std::move(*device);
        done(std::move(item));
      });
}

// --- opening ---

void VolumePlaces::open_or_make(const LocalHost& me, VolumeRequest request, Random random, net::Done<PlacedVolume> done) {
  if (Result<void> sound = volume::check_volume_name(request.name); !sound) return done(fail(std::move(sound).error()));
  auto opening = std::make_shared<Opening>(Opening{me, std::move(request), random, std::move(done)});
  const auto made = [opening](Result<ShelfItem> item) {
    if (!item) return opening->done(fail(std::move(item).error()));
    opening->done(PlacedVolume{std::move(*item), PlacedVolume::How::made});
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
    if (there(name + ".partial"))
      return opening->done(
          fail(ErrorKind::refused, fmt::format("{}/{}.partial is there without its record: an incomplete copy is never "
                                               "served; move it away",
                                               place->path(), name)));
    if (there(name)) return adopt(*place, opening);
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
    folder_of_[item->name] = &folder;
    opening->done(PlacedVolume{std::move(*item), PlacedVolume::How::opened});
  };
  folder.shelf().open(opening->me, opening->request.name, [this, &folder, opening, finish](Result<ShelfItem> item) {
    if (!item) return finish(fail(std::move(item).error()));
    const VolumeRequest& request = opening->request;
    const Geometry& has = item->record.geometry;
    if (request.size_bytes > 0 && request.size_bytes != has.size_bytes)
      return finish(fail(ErrorKind::invalid, fmt::format("volume {} has {} bytes, not the {} that are asked for", request.name,
                                                         has.size_bytes, request.size_bytes)));
    if (item->record.kind == Record::Kind::overlay && item->store) return lay_over(folder, request, std::move(*item), finish);
    finish(std::move(item));
  });
}

void VolumePlaces::adopt(Folder& folder, std::shared_ptr<Opening> opening) {
  const std::string path = folder.path() + "/" + opening->request.name;
  Result<void> alone = store::check_not_open_elsewhere(path);
  if (!alone && alone.error().kind() == ErrorKind::busy)
    return opening->done(
        fail(ErrorKind::busy, path + " is open in another process: a volume has one writer; end that process first"));
  // Where the system does not tell (ErrorKind::unsupported) the user has to know.
  if (opening->request.kind == VolumeKind::overlay)
    return opening->done(fail(ErrorKind::refused, path + " is there without a record: whether it is an overlay can not be told"));
  folder.shelf().adopt_file(
      opening->me, opening->request.name, opening->request.block_size_bytes, opening->random,
      [this, &folder, opening](Result<ShelfItem> item) {
        if (!item) return opening->done(fail(std::move(item).error()));
        const std::uint64_t has = item->record.geometry.size_bytes;
        const std::uint64_t wanted = opening->request.size_bytes;
        if (wanted > 0 && wanted != has)
          return opening->done(fail(ErrorKind::invalid, fmt::format("{}/{} has {} bytes, not the {} that are asked for",
                                                                    folder.path(), item->name, has, wanted)));
        folder_of_[item->name] = &folder;
        opening->done(PlacedVolume{std::move(*item), PlacedVolume::How::adopted});
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

// --- copies ---

Result<volume::CopyMaker*> VolumePlaces::copies_into(const std::string& path) {
  Result<Folder*> folder = this->folder(path);
  if (!folder) return fail(std::move(folder).error());
  std::unique_ptr<volume::CopyMaker>& maker = copies_[(*folder)->path()];
  if (!maker) maker = std::make_unique<FolderCopies>(*this, **folder);
  return maker.get();
}

volume::CopyMaker& VolumePlaces::copies_into_memory() {
  return *memory_copies_;
}

// A record that says GONE (a cancelled copy, a removed volume) makes room for a new copy of the same volume; what was declined
// stays declined.
void VolumePlaces::receive(Folder& folder, const LocalHost& me, const std::string& name, const volume::VolumeId& id,
                           Geometry geometry, volume::Peer from, Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  auto placed = [this, &folder, name, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) folder_of_[name] = &folder;
    done(std::move(item));
  };
  read_record(folder.path(), name,
              [&folder, me, name, id, geometry, from, random, done = std::move(placed)](Result<Record> old) mutable {
                if (!old || old->state != CopyState::gone || old->volume != id || old->host != me.host)
                  return folder.shelf().receive(me, name, id, geometry, std::move(from), random, std::move(done));
                if (Result<void> locked = folder.locked().lock(name + ".own"); !locked)
                  return done(fail(std::move(locked).error()));
                ShelfItem item;
                item.name = name;
                item.record = volume::Ownership::new_receiving(me, random, id, geometry, std::move(from), name + ".partial");
                item.record.gen = old->gen;
                item.record.declined = old->declined;
                item.fresh = true;
                item.pristine = true;
                item.place = {&folder.locked(), name + ".own", true, true};
                const std::string data_name = item.record.data_name;
                folder.locked().create_device(
                    data_name, geometry.size_bytes,
                    [item = std::move(item), done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
                      if (!device) return done(fail(std::move(device).error()));
                      item.store = std::move(*device);
                      done(std::move(item));
                    });
              });
}

void VolumePlaces::make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry,
                        volume::Peer from, Random random, net::Done<ShelfItem> done) {
  Result<Folder*> folder = this->folder("");
  if (!folder) return done(fail(std::move(folder).error()));
  receive(**folder, me, name, id, geometry, std::move(from), random, std::move(done));
}

void VolumePlaces::discard(const std::string& name, const std::string& data_name, net::Done<void> done) {
  const auto it = folder_of_.find(name);
  if (it == folder_of_.end()) return done({});
  Folder* const folder = it->second;
  folder_of_.erase(it);
  folder->shelf().discard(name, data_name, std::move(done));
}

void VolumePlaces::remove_data(const std::string& data_name, net::Done<void> done) {
  std::string name = data_name;
  for (const std::string_view ending : {".partial", ".moved"})
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  const auto it = folder_of_.find(name);
  if (it == folder_of_.end()) return done({});
  it->second->shelf().remove_data(data_name, std::move(done));
}

std::string VolumePlaces::data_path(const std::string& name, const std::string& data_name) const {
  const auto it = folder_of_.find(name);
  return it == folder_of_.end() ? "" : it->second->path() + "/" + data_name;
}

// --- removing ---

void VolumePlaces::remove(const LocalHost& me, const std::string& path, const std::string& name, bool keep_record,
                          net::Done<void> done) {
  const auto it = folder_of_.find(name);
  Result<Folder*> found = it != folder_of_.end() ? Result<Folder*>(it->second) : this->folder(path);
  if (!found) return done(fail(std::move(found).error()));
  Folder* const folder = *found;
  read_record(folder->path(), name, [this, folder, me, name, keep_record, done = std::move(done)](Result<Record> record) mutable {
    if (!record) return done(fail(std::move(record).error()));
    if (record->host != me.host) return done(fail(ErrorKind::refused, name + ".own belongs to another host id"));
    if (Result<void> locked = folder->locked().lock(name + ".own"); !locked) return done(std::move(locked));
    const std::string data_name = record->data_name;
    const bool overlay = record->kind == Record::Kind::overlay;
    auto remove_data = [this, folder, name, data_name, overlay, done = std::move(done)](Result<void> recorded) mutable {
      folder->locked().unlock(name + ".own");
      if (!recorded) return done(std::move(recorded));
      folder_of_.erase(name);
      if (overlay) folder->locked().remove(name + ".cow", [](Result<void>) {});  // there is none before the first flush
      folder->locked().remove(data_name, [done = std::move(done)](Result<void> removed) mutable {
        if (!removed && removed.error().kind() == ErrorKind::not_found) removed = {};
        done(std::move(removed));
      });
    };
    if (!keep_record) return folder->locked().remove(name + ".own", std::move(remove_data));
    record->state = CopyState::gone;
    record->h.reset();
    record->reserved.reset();
    record->untold = record->heard = record->relaying = false;
    ++record->gen;
    folder->locked().write_slot(name + ".own", volume::slot_offset(record->gen), volume::encode_slot(*record),
                                std::move(remove_data));
  });
}

}  // namespace godwit::host
