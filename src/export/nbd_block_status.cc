#include "export/nbd_block_status.h"

#include <algorithm>

namespace godwit::exports {

using namespace nbd;

namespace {

std::uint32_t state_of(const store::Extent& extent) {
  return (extent.hole ? kStateHole : 0) | (extent.hole || extent.zero ? kStateZero : 0);
}

}  // namespace

std::vector<Descriptor> describe(std::span<const store::Extent> extents, std::uint64_t offset, std::uint32_t length,
                                 DescriptorLimits limits) {
  std::vector<Descriptor> descriptors;
  const std::uint64_t mask = limits.block_size_min - 1;
  const std::uint64_t end = offset + length;
  std::uint64_t at = offset;                            // everything before is described
  std::uint32_t mixed_state = kStateHole | kStateZero;  // of what lies between `at` and the extent in hand, within one block
  auto describe_to = [&](std::uint64_t to, std::uint32_t state) {
    if (to <= at) return true;
    auto run = static_cast<std::uint32_t>(to - at);
    if (!descriptors.empty() && descriptors.back().state == state) {
      descriptors.back().length += run;
    } else {
      if (descriptors.size() == limits.descriptors_max) return false;
      descriptors.push_back({run, state});
    }
    at = to;
    mixed_state = kStateHole | kStateZero;
    return true;
  };

  std::uint64_t covered = offset;  // by the extents so far
  for (const store::Extent& extent : extents) {
    std::uint64_t extent_end = std::min(extent.offset + extent.length, end);
    if (extent_end <= covered) continue;
    if (covered > at) {  // the block at `at` has begun in another extent
      mixed_state &= state_of(extent);
      std::uint64_t block_end = at + mask + 1;
      if (extent_end < block_end) {
        covered = extent_end;
        continue;
      }
      if (!describe_to(block_end, mixed_state)) return descriptors;
    }
    if (!describe_to(extent_end & ~mask, state_of(extent))) return descriptors;
    covered = extent_end;
    if (covered > at) mixed_state = state_of(extent);
    if (covered == end) break;
  }
  // An answer that ends within a block, because the device's did: the block counts as data, unless nothing else is known.
  if (covered > at) describe_to(std::min(at + mask + 1, end), covered == end ? mixed_state : 0);
  return descriptors;
}

}  // namespace godwit::exports
