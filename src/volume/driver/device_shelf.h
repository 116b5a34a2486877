// Volumes on block devices: a device becomes a volume, or the place of a copy. The record lies in a folder under the volume's
// name, the device's path is its `data name`, and nothing on the device itself says what it holds; so what a `.partial` is for
// files stands in the record alone, and no two records of the folder name one device. Opening what has a record is VolumeShelf's.
// Source: ownership.md 16.
#pragma once

#include <optional>
#include <string>

#include "store/block_devices.h"
#include "volume/driver/volume_shelf.h"

namespace godwit::volume {

class DeviceShelf {
 public:
  // Both outlive the shelf.
  DeviceShelf(store::Directory& directory, store::BlockDevices& devices) : directory_(directory), devices_(devices) {}

  // The bytes that are on the device become a volume, owned by `me`: its first `size` bytes, or all (0).
  void create(const LocalHost& me, const std::string& name, const std::string& path, std::uint64_t size, std::uint32_t block_size,
              Random random, net::Done<ShelfItem> done);
  // A copy to be received, over whatever is on the device; the device may be larger. `gone`: the record of an earlier copy that
  // this one replaces (its file stays and is written again); else there must be none of that name.
  void receive(const LocalHost& me, const std::string& name, const std::string& path, const VolumeId& volume, Geometry geometry,
               Peer from, std::optional<Record> gone, Random random, net::Done<ShelfItem> done);

 private:
  struct Placing;
  void place(std::shared_ptr<Placing> placing);
  void check_others(std::shared_ptr<Placing> placing, std::vector<std::string> records);
  void open(std::shared_ptr<Placing> placing);

  store::Directory& directory_;
  store::BlockDevices& devices_;
};

// A path that a record can hold: absolute, at most 255 bytes.
Result<void> check_device_path(const std::string& path);

}  // namespace godwit::volume
