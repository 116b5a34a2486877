// Volumes on disk: makes them, finds them again by their records, and makes the `.partial` a copy is received into. A record
// without its data, or a `.partial` without a record, is refused by name, never guessed. A volume on a block device
// (device_shelf.h) has its record here like the others. Source: ownership.md 2, 16.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "store/block_devices.h"
#include "store/directory.h"
#include "volume/driver/volume.h"

namespace godwit::volume {

// What a Volume is built from.
struct ShelfItem {
  std::string name;
  Record record;
  bool fresh = false;     // the record is not on disk yet: the volume writes it first
  bool pristine = false;  // the data file was made just now
  std::unique_ptr<store::BlockDevice> store;
  RecordPlace place;
  store::OverlayDevice* overlay = nullptr;  // `store`, where it is one …
  Sha256 base_hash{};                       // … and the hash of what it lies on
};

class VolumeShelf {
 public:
  // The folder of the volumes and, where records may name block devices, those; both outlive the shelf.
  explicit VolumeShelf(store::Directory& directory, store::BlockDevices* devices = nullptr)
      : directory_(directory), devices_(devices) {}

  // A new volume of zeros, owned by `me`.
  void create(const LocalHost& me, const std::string& name, Geometry geometry, Random random, net::Done<ShelfItem> done);
  // A data file without a record becomes a volume: uuid, OWNED, entry `created`.
  void adopt_file(const LocalHost& me, const std::string& name, std::uint32_t block_size, Random random,
                  net::Done<ShelfItem> done);
  // A volume whose record is there.
  void open(const LocalHost& me, const std::string& name, net::Done<ShelfItem> done);
  // An empty copy to be received, under `NAME.partial`.
  void receive(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from, Random random,
               net::Done<ShelfItem> done);
  // The names of all records.
  void list(net::Done<std::vector<std::string>> done);
  // A copy that never began: its data file and record go without a trace.
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done);
  void remove_data(const std::string& data_name, net::Done<void> done) { directory_.remove(data_name, std::move(done)); }

  store::Directory& directory() { return directory_; }

 private:
  RecordPlace place_of(const std::string& name, bool exists) { return {&directory_, name + ".own", true, exists}; }
  void open_data(ShelfItem item, net::Done<ShelfItem> done);
  // The data file that the item's record names, new.
  void create_data(ShelfItem item, net::Done<ShelfItem> done);
  void open_on_device(ShelfItem item, net::Done<ShelfItem> done);

  store::Directory& directory_;
  store::BlockDevices* devices_;
};

// A name that may become a file name here: [A-Za-z0-9._-]{1,64}, no leading dot, none of our own endings.
Result<void> check_volume_name(std::string_view name);

}  // namespace godwit::volume
