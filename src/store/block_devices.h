// The block devices of a machine, by their paths. Production's are real_block_devices.h's; a test brings its own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "store/block_device.h"

namespace godwit::store {

class BlockDevices {
 public:
  virtual ~BlockDevices() = default;

  // The first `size` bytes of a device (0: all of it), for this holder alone until the device is destroyed. Errors: not_found;
  // invalid where the path leads to something else; busy where it is mounted or anybody has it exclusively, ourselves included;
  // no_space where it is smaller.
  virtual void open(const std::string& path, std::uint64_t size, Done<std::unique_ptr<BlockDevice>> done) = 0;
  // The same number for every path that leads to one device; nothing where the path leads to no block device. Does not open it.
  virtual std::optional<std::uint64_t> identify(const std::string& path) const = 0;
};

}  // namespace godwit::store
