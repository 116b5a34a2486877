// The one rule every device applies to a request first: it lies within the device, and a device that is read-only is not changed.
#pragma once

#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "base/checked.h"
#include "store/block_device.h"

namespace godwit::store {

// "write a.img at offset 4096: …"; the text is only made when there is an error.
inline std::optional<Error> range_error(std::string_view what, std::string_view name, std::uint64_t offset, std::uint64_t length,
                                        std::uint64_t size) {
  if (within(offset, length, size)) [[likely]]
    return std::nullopt;
  return Error(ErrorKind::invalid,
               fmt::format("{} {} at offset {}: {} bytes reach past the end at {}", what, name, offset, length, size));
}

inline std::optional<Error> change_error(std::string_view what, std::string_view name, std::uint64_t offset, std::uint64_t length,
                                         const BlockDevice& device) {
  if (device.read_only())
    return Error(ErrorKind::read_only, fmt::format("{} {} at offset {}: the device is read-only", what, name, offset));
  return range_error(what, name, offset, length, device.size());
}

}  // namespace godwit::store
