// What pulls put into the places of this host, and how volumes and copies go again.
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "host/volume_places_folder.h"
#include "store/memory_device.h"

namespace godwit::host {

using volume::CopyState;
using volume::Geometry;
using volume::LocalHost;
using volume::Record;
using volume::ShelfItem;

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

namespace {

class MemoryCopies final : public volume::CopyMaker {
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

// A record that says GONE (a cancelled copy, a removed volume) makes room for a new copy of the same volume; what was declined
// stays declined.
bool makes_room(const Result<Record>& old, const volume::VolumeId& id, const LocalHost& me) {
  return old && old->state == CopyState::gone && old->volume == id && old->host == me.host;
}

}  // namespace

// What is discarded or removed is the places' affair; what is made differs.
class VolumePlaces::Copies final : public volume::CopyMaker {
 public:
  using Make = std::function<void(const LocalHost&, const std::string& name, const volume::VolumeId&, Geometry, volume::Peer from,
                                  Random, net::Done<ShelfItem>)>;
  Copies(VolumePlaces& places, Make make) : places_(places), make_(std::move(make)) {}
  void make(const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry, volume::Peer from,
            Random random, net::Done<ShelfItem> done) override {
    make_(me, name, id, geometry, std::move(from), random, std::move(done));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    places_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    places_.remove_data(data_name, std::move(done));
  }

 private:
  VolumePlaces& places_;
  Make make_;
};

Result<volume::CopyMaker*> VolumePlaces::copies_into(const std::string& path, const std::string& base) {
  Result<Folder*> folder = this->folder(path);
  if (!folder) return fail(std::move(folder).error());
  std::unique_ptr<volume::CopyMaker>& maker = copies_[(*folder)->path() + '\n' + base];
  if (!maker)
    maker = std::make_unique<Copies>(
        *this, [this, place = *folder, base](const LocalHost& me, const std::string& name, const volume::VolumeId& id,
                                             Geometry geometry, volume::Peer from, Random random, net::Done<ShelfItem> done) {
          if (base.empty()) return receive(*place, me, name, id, geometry, std::move(from), random, std::move(done));
          receive_over(*place, base, me, name, id, geometry, std::move(from), random, std::move(done));
        });
  return maker.get();
}

Result<volume::CopyMaker*> VolumePlaces::copies_into_device(const std::string& path) {
  if (Result<void> sound = volume::check_device_path(path); !sound) return fail(std::move(sound).error());
  std::unique_ptr<volume::CopyMaker>& maker = copies_["\n" + path];  // no folder begins so
  if (!maker)
    maker = std::make_unique<Copies>(
        *this, [this, path](const LocalHost& me, const std::string& name, const volume::VolumeId& id, Geometry geometry,
                            volume::Peer from, Random random, net::Done<ShelfItem> done) {
          receive_on_device(path, me, name, id, geometry, std::move(from), random, std::move(done));
        });
  return maker.get();
}

volume::CopyMaker& VolumePlaces::copies_into_memory() {
  if (!memory_copies_) memory_copies_ = std::make_unique<MemoryCopies>(scheduler_);
  return *memory_copies_;
}

net::Done<ShelfItem> VolumePlaces::settling(Folder& folder, net::Done<ShelfItem> done) {
  return [this, &folder, done = std::move(done)](Result<ShelfItem> item) mutable {
    if (item) settle(folder, *item);
    done(std::move(item));
  };
}

void VolumePlaces::receive(Folder& folder, const LocalHost& me, const std::string& name, const volume::VolumeId& id,
                           Geometry geometry, volume::Peer from, Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = volume::check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  read_record(
      folder.path(), name,
      [&folder, me, name, id, geometry, from, random, done = settling(folder, std::move(done))](Result<Record> old) mutable {
        if (!makes_room(old, id, me))
          return folder.shelf().receive(me, name, id, geometry, std::move(from), random, std::move(done));
        if (Result<void> locked = folder.locked().lock(name + ".own"); !locked) return done(fail(std::move(locked).error()));
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
  read_record("", name,
              [&folder, device, me, name, id, geometry, from, random,
               done = settling(folder, std::move(done))](Result<Record> old) mutable {
                std::optional<Record> gone;
                if (makes_room(old, id, me)) {
                  if (Result<void> locked = folder.locked().lock(name + ".own"); !locked)
                    return done(fail(std::move(locked).error()));
                  gone = std::move(*old);
                }
                folder.device_shelf().receive(me, name, device, id, geometry, std::move(from), std::move(gone), random,
                                              std::move(done));
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
