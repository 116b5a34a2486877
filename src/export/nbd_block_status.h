// What a device knows of its allocation, as the descriptors of a BLOCK_STATUS reply.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "export/nbd_protocol.h"
#include "store/block_device.h"

namespace godwit::exports {

struct DescriptorLimits {
  std::uint32_t block_size_min = 1;  // every descriptor is a multiple of it: a block that differs within itself counts as data
  std::size_t descriptors_max = 0;   // then the answer ends early, which clients expect
};

// The descriptors of [offset, offset + length), both multiples of the block size, from a row of extents that begins at or before
// `offset` and covers at least its first byte. Neighbours of one state are one descriptor.
std::vector<nbd::Descriptor> describe(std::span<const store::Extent> extents, std::uint64_t offset, std::uint32_t length,
                                      DescriptorLimits limits);

}  // namespace godwit::exports
