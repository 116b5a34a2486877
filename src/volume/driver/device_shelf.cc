#include "volume/driver/device_shelf.h"

#include <algorithm>
#include <utility>

namespace godwit::volume {

namespace {

constexpr std::size_t kPathSizeMax = 255;  // docs/formats/ownership-record.md, tag 13

}  // namespace

Result<void> check_device_path(const std::string& path) {
  if (!path.starts_with('/')) return fail(ErrorKind::invalid, "the device \"" + escaped(path) + "\" is no absolute path");
  if (path.size() > kPathSizeMax)
    return fail(ErrorKind::invalid, "the device " + path + ": a path of more than 255 bytes does not fit into a record");
  return {};
}

// A volume on its way to a device.
struct DeviceShelf::Placing {
  ShelfItem item;            // all but the store, and the size of a volume that takes the whole device
  std::uint64_t size = 0;    // 0: all of the device
  std::uint64_t device = 0;  // its identity
  net::Done<ShelfItem> done;

  void refuse(ErrorKind kind, const std::string& why) { done(fail(kind, "volume " + item.name + ": " + why)); }
};

void DeviceShelf::create(const LocalHost& me, const std::string& name, const std::string& path, std::uint64_t size,
                         std::uint32_t block_size, Random random, net::Done<ShelfItem> done) {
  auto placing = std::make_shared<Placing>();
  placing->item.name = name;
  placing->item.record = Ownership::new_owned(me, random, Geometry{size, block_size}, path);
  placing->size = size;
  placing->done = std::move(done);
  place(std::move(placing));
}

void DeviceShelf::receive(const LocalHost& me, const std::string& name, const std::string& path, const VolumeId& volume,
                          Geometry geometry, Peer from, std::optional<Record> gone, Random random, net::Done<ShelfItem> done) {
  auto placing = std::make_shared<Placing>();
  placing->item.name = name;
  placing->item.record = Ownership::new_receiving(me, random, volume, geometry, std::move(from), path);
  if (gone) {
    placing->item.record.gen = gone->gen;
    placing->item.record.declined = gone->declined;
    placing->item.place.exists = true;
  }
  placing->size = geometry.size_bytes;
  placing->done = std::move(done);
  place(std::move(placing));
}

void DeviceShelf::place(std::shared_ptr<Placing> placing) {
  ShelfItem& item = placing->item;
  item.record.kind = Record::Kind::block_device;
  item.fresh = true;
  item.place.directory = &directory_;
  item.place.record_name = item.name + ".own";
  const std::string& path = item.record.data_name;
  if (Result<void> sound = check_volume_name(item.name); !sound) return placing->done(fail(std::move(sound).error()));
  if (Result<void> sound = check_device_path(path); !sound) return placing->done(fail(std::move(sound).error()));
  const std::optional<std::uint64_t> device = devices_.identify(path);
  if (!device) return placing->refuse(ErrorKind::not_found, path + " is not there, or is no block device");
  placing->device = *device;
  directory_.list([this, placing](Result<std::vector<std::string>> names) {
    if (!names) return placing->done(fail(std::move(names).error()));
    std::vector<std::string> records;
    for (const std::string& name : *names)
      if (name.ends_with(".own")) records.push_back(name);
    const bool taken = std::ranges::find(records, placing->item.place.record_name) != records.end();
    if (taken && !placing->item.place.exists) return placing->refuse(ErrorKind::exists, "there is a record of that name already");
    check_others(placing, std::move(records));
  });
}

// A device that another record has a claim on is not touched, whoever is running. What a record that can not be read claims,
// nobody knows; it is refused where it is opened.
void DeviceShelf::check_others(std::shared_ptr<Placing> placing, std::vector<std::string> records) {
  if (records.empty()) return open(std::move(placing));
  const std::string name = records.back();
  records.pop_back();
  directory_.read_file(name, [this, placing, name, records = std::move(records)](Result<Bytes> bytes) mutable {
    const Result<Record> other = bytes ? decode_record_file(*bytes) : Result<Record>(fail(std::move(bytes).error()));
    const bool claims = other && other->kind == Record::Kind::block_device && other->state != CopyState::gone &&
                        devices_.identify(other->data_name) == placing->device;
    if (!claims) return check_others(std::move(placing), std::move(records));
    placing->refuse(ErrorKind::exists, "the device " + placing->item.record.data_name + " is volume " +
                                           name.substr(0, name.size() - 4) + "'s, says its record: remove that volume first");
  });
}

void DeviceShelf::open(std::shared_ptr<Placing> placing) {
  devices_.open(placing->item.record.data_name, placing->size, [placing](Result<std::unique_ptr<store::BlockDevice>> device) {
    if (!device) return placing->done(fail(std::move(device).error().within("volume " + placing->item.name)));
    if ((*device)->size() == 0) return placing->refuse(ErrorKind::invalid, "a device without a medium is no volume");
    placing->item.record.geometry.size_bytes = (*device)->size();
    placing->item.store = std::move(*device);
    placing->done(std::move(placing->item));
  });
}

}  // namespace godwit::volume
