#include "host/volume_places.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "host/device_copy.h"
#include "store/disk_file.h"
#include "store/file_device.h"
#include "store/memory_device.h"
#include "store/real_directory.h"
#include "volume/driver/device_shelf.h"

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
    return fail(ErrorKind::usage,
                fmt::format("\"{}\" is no kind of volume: file, sparse, memory, overlay or device", escaped(text)));
  return found->first;
}

class VolumePlaces::Folder {
 public:
  Folder(std::string path, std::unique_ptr<store::Directory> directory, store::BlockDevices& devices)
      : path_(std::move(path)),
        locked_(path_, std::move(directory)),
        shelf_(locked_, &devices),
        device_shelf_(locked_, devices) {}
  const std::string& path() const { return path_; }
  LockedDirectory& locked() { return locked_; }
  volume::VolumeShelf& shelf() { return shelf_; }
  volume::DeviceShelf& device_shelf() { return device_shelf_; }

 private:
  std::string path_;
  LockedDirectory locked_;
  volume::VolumeShelf shelf_;
  volume::DeviceShelf device_shelf_;
};

class VolumePlaces::FolderCopies final : public volume::CopyMaker {
 public:
  FolderCopies(VolumePlaces& places, Folder& folder, std::string base)
      : places_(places), folder_(folder), base_(std::move(base)) {}
  void make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry, volume::Peer from,
            Random random, net::Done<ShelfItem> done) override {
    if (base_.empty()) return places_.receive(folder_, me, name, id, geometry, std::move(from), random, std::move(done));
    places_.receive_over(folder_, base_, me, name, id, geometry, std::move(from), random, std::move(done));
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
  std::string base_;
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

class VolumePlaces::DeviceCopies final : public volume::CopyMaker {
 public:
  DeviceCopies(VolumePlaces& places, std::string device) : places_(places), device_(std::move(device)) {}
  void make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry, volume::Peer from,
            Random random, net::Done<ShelfItem> done) override {
    places_.receive_on_device(device_, me, name, id, geometry, std::move(from), random, std::move(done));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    places_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    places_.remove_data(data_name, std::move(done));
  }

 private:
  VolumePlaces& places_;
  std::string device_;
};

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
                                   [this, place = *folder, done = std::move(done)](Result<ShelfItem> item) mutable {
                                     if (item) settle(*place, *item);
                                     done(std::move(item));
                                   });
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

// --- copies ---

Result<volume::CopyMaker*> VolumePlaces::copies_into(const std::string& path, const std::string& base) {
  Result<Folder*> folder = this->folder(path);
  if (!folder) return fail(std::move(folder).error());
  std::unique_ptr<volume::CopyMaker>& maker = copies_[(*folder)->path() + '\n' + base];
  if (!maker) maker = std::make_unique<FolderCopies>(*this, **folder, base);
  return maker.get();
}

Result<volume::CopyMaker*> VolumePlaces::copies_into_device(const std::string& path) {
  if (Result<void> sound = volume::check_device_path(path); !sound) return fail(std::move(sound).error());
  std::unique_ptr<volume::CopyMaker>& maker = copies_["\n" + path];  // no folder begins so
  if (!maker) maker = std::make_unique<DeviceCopies>(*this, path);
  return maker.get();
}

volume::CopyMaker& VolumePlaces::copies_into_memory() {
  return *memory_copies_;
}

// A record that says GONE (a cancelled copy, a removed volume) makes room for a new copy of the same volume; what was declined
// stays declined.
static bool makes_room(const Result<Record>& old, const volume::VolumeId& id, const LocalHost& me) {
  return old && old->state == CopyState::gone && old->volume == id && old->host == me.host;
}

void VolumePlaces::receive(Folder& folder, const LocalHost& me, const std::string& name, const volume::VolumeId& id,
                           Geometry geometry, volume::Peer from, Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  auto placed = [this, &folder, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) settle(folder, *item);
    done(std::move(item));
  };
  read_record(folder.path(), name,
              [&folder, me, name, id, geometry, from, random, done = std::move(placed)](Result<Record> old) mutable {
                if (!makes_room(old, id, me))
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

// A copy that is an overlay on an image of this host: what the source lies on, or another one; then every block travels.
void VolumePlaces::receive_over(Folder& folder, const std::string& base, const LocalHost& me, const std::string& name,
                                const volume::VolumeId& id, Geometry geometry, volume::Peer from, Random random,
                                net::Done<ShelfItem> done) {
  receive(folder, me, name, id, geometry, std::move(from), random,
          [this, &folder, base, done = std::move(done)](Result<ShelfItem> item) mutable {
            if (!item) return done(std::move(item));
            const std::string volume = item->name, data = item->record.data_name;
            homes_[volume].kind = Record::Kind::overlay;
            // What another overlay of that name left behind is not this one's. There may be nothing.
            auto laid = [this, volume, data, done = std::move(done)](Result<ShelfItem> over) mutable {
              if (over) return done(std::move(over));
              discard(volume, data,
                      [error = over.error(), done = std::move(done)](Result<void>) mutable { done(fail(std::move(error))); });
            };
            auto lay = [this, &folder, base, item = std::move(*item), laid = std::move(laid)](Result<void>) mutable {
              bases_.lay(folder.locked(), base, OverlayBlocks::are_none, std::move(item), std::move(laid));
            };
            folder.locked().remove(volume + ".cow", [&folder, volume, lay = std::move(lay)](Result<void>) mutable {
              folder.locked().remove(volume + ".state", std::move(lay));
            });
          });
}

// Whether it fits is this host's to say, before anything is written; what is on the device goes with the first byte.
void VolumePlaces::receive_on_device(const std::string& device, const LocalHost& me, const std::string& name,
                                     const volume::VolumeId& id, Geometry geometry, volume::Peer from, Random random,
                                     net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  Result<Folder*> found = this->folder("");
  if (!found) return done(fail(std::move(found).error()));
  Folder& folder = **found;
  auto placed = [this, &folder, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) settle(folder, *item);
    done(std::move(item));
  };
  read_record(
      "", name, [&folder, device, me, name, id, geometry, from, random, done = std::move(placed)](Result<Record> old) mutable {
        std::optional<Record> gone;
        if (makes_room(old, id, me)) {
          if (Result<void> locked = folder.locked().lock(name + ".own"); !locked) return done(fail(std::move(locked).error()));
          gone = std::move(*old);
        }
        folder.device_shelf().receive(me, name, device, id, geometry, std::move(from), std::move(gone), random, std::move(done));
      });
}

void VolumePlaces::make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry,
                        volume::Peer from, Random random, net::Done<ShelfItem> done) {
  Result<Folder*> folder = this->folder("");
  if (!folder) return done(fail(std::move(folder).error()));
  receive(**folder, me, name, id, geometry, std::move(from), random, std::move(done));
}

void VolumePlaces::discard(const std::string& name, const std::string& data_name, net::Done<void> done) {
  const auto it = homes_.find(name);
  if (it == homes_.end()) return done({});
  const Home home = it->second;
  homes_.erase(it);
  if (home.kind == Record::Kind::overlay) remove_overlay_files(*home.folder, name);
  if (home.kind != Record::Kind::block_device) return home.folder->shelf().discard(name, data_name, std::move(done));
  home.folder->locked().remove(name + ".own", [done = std::move(done)](Result<void>) mutable { done({}); });
}

// A block device's data name is a path, and no volume's: what is on it stays.
void VolumePlaces::remove_data(const std::string& data_name, net::Done<void> done) {
  std::string name = data_name;
  for (const std::string_view ending : {".partial", ".moved"})
    if (name.ends_with(ending)) name.resize(name.size() - ending.size());
  const auto it = homes_.find(name);
  if (it == homes_.end()) return done({});
  if (it->second.kind == Record::Kind::overlay) remove_overlay_files(*it->second.folder, name);
  it->second.folder->shelf().remove_data(data_name, std::move(done));
}

// There may be none of them yet.
void VolumePlaces::remove_overlay_files(Folder& folder, const std::string& name) {
  for (const std::string_view ending : kOverlayEndings) folder.locked().remove(name + std::string(ending), [](Result<void>) {});
}

std::string VolumePlaces::data_path(const std::string& name, const std::string& data_name) const {
  const auto it = homes_.find(name);
  if (it == homes_.end()) return "";
  return it->second.kind == Record::Kind::block_device ? data_name : it->second.folder->path() + "/" + data_name;
}

// --- removing ---

void VolumePlaces::remove(const LocalHost& me, const std::string& path, const std::string& name, bool keep_record,
                          net::Done<void> done) {
  const auto it = homes_.find(name);
  Result<Folder*> found = it != homes_.end() ? Result<Folder*>(it->second.folder) : this->folder(path);
  if (!found) return done(fail(std::move(found).error()));
  Folder* const folder = *found;
  read_record(folder->path(), name, [this, folder, me, name, keep_record, done = std::move(done)](Result<Record> record) mutable {
    if (!record) return done(fail(std::move(record).error()));
    if (record->host != me.host) return done(fail(ErrorKind::refused, name + ".own belongs to another host id"));
    if (Result<void> locked = folder->locked().lock(name + ".own"); !locked) return done(std::move(locked));
    const std::string data_name = record->data_name;
    const Record::Kind kind = record->kind;
    auto remove_data = [this, folder, name, data_name, kind, done = std::move(done)](Result<void> recorded) mutable {
      folder->locked().unlock(name + ".own");
      if (!recorded) return done(std::move(recorded));
      homes_.erase(name);
      if (kind == Record::Kind::block_device) return done({});
      if (kind == Record::Kind::overlay) remove_overlay_files(*folder, name);
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
