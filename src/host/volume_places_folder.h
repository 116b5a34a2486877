// One folder of VolumePlaces: what the sources of that class share.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "host/volume_places.h"
#include "volume/driver/device_shelf.h"

namespace godwit::host {

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

// A volume in memory has no record on disk and no name for its data.
Result<volume::ShelfItem> make_in_memory(std::string name, volume::Record record, net::Scheduler& scheduler);

}  // namespace godwit::host
