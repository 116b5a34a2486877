#include "volume/driver/volume_shelf.h"

#include <algorithm>
#include <utility>

namespace godwit::volume {

Result<void> check_volume_name(std::string_view name) {
  const auto quoted = "the volume name \"" + escaped(name) + "\"";
  if (name.empty() || name.size() > 64) return fail(ErrorKind::invalid, quoted + " must have 1 to 64 characters");
  const bool sound = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
  if (!sound || name.front() == '.')
    return fail(ErrorKind::invalid, quoted + " may hold letters, digits, '.', '_' and '-', and not begin with '.'");
  for (std::string_view ending : {".own", ".map", ".cow", ".cow.base", ".partial", ".moved", ".tmp"})
    if (name.ends_with(ending))
      return fail(ErrorKind::invalid, quoted + " ends like a file of our own (" + std::string(ending) + ")");
  if (name.find(".split-") != std::string_view::npos)
    return fail(ErrorKind::invalid, quoted + " looks like data set aside after a split");
  return {};
}

void VolumeShelf::create(const LocalHost& me, const std::string& name, Geometry geometry, Random random,
                         net::Done<ShelfItem> done) {
  if (Result<void> sound = check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  ShelfItem item{.name = name,
                 .record = Ownership::new_owned(me, random, geometry, name),
                 .fresh = true,
                 .pristine = true,
                 .store = nullptr,
                 .place = place_of(name, false)};
  create_data(std::move(item), std::move(done));
}

void VolumeShelf::create_data(ShelfItem item, net::Done<ShelfItem> done) {
  const std::string data_name = item.record.data_name;
  const std::uint64_t size = item.record.geometry.size_bytes;
  directory_.create_device(
      data_name, size,
      [item = std::move(item), done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
        if (!device) return done(fail(std::move(device).error()));
        item.store = std::move(*device);
        done(std::move(item));
      });
}

void VolumeShelf::adopt_file(const LocalHost& me, const std::string& name, std::uint32_t block_size, Random random,
                             net::Done<ShelfItem> done) {
  if (Result<void> sound = check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  directory_.open_device(
      name, false,
      [this, me, name, block_size, random, done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
        if (!device) return done(fail(std::move(device).error()));
        if ((*device)->size() == 0) return done(fail(ErrorKind::invalid, name + ": an empty file is no volume"));
        ShelfItem item;
        item.name = name;
        item.record = Ownership::new_owned(me, random, Geometry{(*device)->size(), block_size}, name);
        item.fresh = true;
        item.store = std::move(*device);
        item.place = place_of(name, false);
        done(std::move(item));
      });
}

void VolumeShelf::receive(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from,
                          Random random, net::Done<ShelfItem> done) {
  if (Result<void> sound = check_volume_name(name); !sound) return done(fail(std::move(sound).error()));
  ShelfItem item{.name = name,
                 .record = Ownership::new_receiving(me, random, volume, geometry, std::move(from), name + ".partial"),
                 .fresh = true,
                 .pristine = true,
                 .store = nullptr,
                 .place = place_of(name, false)};
  // Neither the data nor the record of another volume of that name may be there.
  directory_.list([this, item = std::move(item), done = std::move(done)](Result<std::vector<std::string>> names) mutable {
    if (!names) return done(fail(std::move(names).error()));
    for (const std::string& taken : {item.name, item.name + ".own", item.name + ".partial"})
      if (std::find(names->begin(), names->end(), taken) != names->end())
        return done(fail(ErrorKind::exists, taken + " is there already: move it away, or pull under another name"));
    create_data(std::move(item), std::move(done));
  });
}

void VolumeShelf::open(const LocalHost& me, const std::string& name, net::Done<ShelfItem> done) {
  const std::string record_name = name + ".own";
  directory_.read_file(record_name, [this, me, name, record_name, done = std::move(done)](Result<Bytes> bytes) mutable {
    if (!bytes) return done(fail(std::move(bytes).error().within("volume " + name)));
    Result<Record> record = decode_record_file(*bytes);
    if (!record) return done(fail(std::move(record).error().within(record_name)));
    if (record->host != me.host)
      return done(fail(ErrorKind::refused,
                       record_name + " belongs to another host id: a copied data directory; remove the record to start afresh"));
    ShelfItem item;
    item.name = name;
    item.record = std::move(*record);
    item.place = place_of(name, true);
    if (item.record.state == CopyState::gone) return done(std::move(item));
    if (item.record.kind == Record::Kind::block_device) return open_on_device(std::move(item), std::move(done));
    open_data(std::move(item), std::move(done));
  });
}

// On start the names are made to agree with the record: a crash may have come between the record and the rename.
void VolumeShelf::open_data(ShelfItem item, net::Done<ShelfItem> done) {
  directory_.list([this, item = std::move(item), done = std::move(done)](Result<std::vector<std::string>> names) mutable {
    if (!names) return done(fail(std::move(names).error()));
    const auto there = [&](const std::string& n) { return std::find(names->begin(), names->end(), n) != names->end(); };
    const std::string wanted = item.record.data_name;
    auto open = [this, wanted, done = std::move(done), item = std::move(item)](Result<void> renamed) mutable {
      if (!renamed) return done(fail(std::move(renamed).error()));
      directory_.open_device(
          wanted, false,
          [item = std::move(item), done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
            if (!device) return done(fail(std::move(device).error()));
            if ((*device)->size() != item.record.geometry.size_bytes)
              return done(fail(ErrorKind::corrupt, item.record.data_name + " has " + std::to_string((*device)->size()) +
                                                       " bytes, its record says " +
                                                       std::to_string(item.record.geometry.size_bytes)));
            item.store = std::move(*device);
            done(std::move(item));
          });
    };
    if (there(wanted)) return open({});
    const std::string base = wanted.ends_with(".partial") ? wanted.substr(0, wanted.size() - 8)
                             : wanted.ends_with(".moved") ? wanted.substr(0, wanted.size() - 6)
                                                          : wanted;
    for (const std::string& candidate : {base, base + ".partial", base + ".moved"})
      if (there(candidate)) return directory_.rename(candidate, wanted, std::move(open));
    open(fail(ErrorKind::not_found, base + ".own is there, but its data are not"));
  });
}

// No name says what its bytes are: the record alone decides.
void VolumeShelf::open_on_device(ShelfItem item, net::Done<ShelfItem> done) {
  if (devices_ == nullptr)
    return done(fail(ErrorKind::unsupported, item.place.record_name + " is of a volume on a block device; there are none here"));
  item.place.renames_data = false;
  const std::string path = item.record.data_name;
  const std::uint64_t size = item.record.geometry.size_bytes;
  devices_->open(path, size,
                 [item = std::move(item), done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
                   if (!device) return done(fail(std::move(device).error().within("volume " + item.name)));
                   item.store = std::move(*device);
                   done(std::move(item));
                 });
}

void VolumeShelf::list(net::Done<std::vector<std::string>> done) {
  directory_.list([done = std::move(done)](Result<std::vector<std::string>> names) mutable {
    if (!names) return done(std::move(names));
    std::vector<std::string> volumes;
    for (const std::string& name : *names)
      if (name.ends_with(".own")) volumes.push_back(name.substr(0, name.size() - 4));
    std::sort(volumes.begin(), volumes.end());
    done(std::move(volumes));
  });
}

void VolumeShelf::discard(const std::string& name, const std::string& data_name, net::Done<void> done) {
  directory_.remove(name + ".own", [this, data_name, done = std::move(done)](Result<void>) mutable {
    directory_.remove(data_name, std::move(done));  // the record may never have been written
  });
}

}  // namespace godwit::volume
