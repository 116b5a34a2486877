// The bytes of an overlay's bitmap file and of the original's list of blocks. Format and example: docs/formats/overlay-bitmap.md.
#pragma once

#include <cstdint>

#include "base/bitset.h"
#include "base/bytes.h"

namespace godwit::store {

struct OverlayGeometry {
  std::uint64_t device_size = 0;
  std::uint32_t block_size = 0;

  std::uint64_t block_count() const { return device_size / block_size + (device_size % block_size != 0); }
};

Bytes encode_overlay_bitmap(const OverlayGeometry& geometry, const Bitset& blocks);
// ErrorKind::invalid where the bitmap is of another geometry.
Result<Bitset> decode_overlay_bitmap(const OverlayGeometry& geometry, ConstBytes file);

// ErrorKind::unsupported when a block's number does not fit into 32 bits.
Result<Bytes> encode_block_list(const Bitset& blocks);
Result<Bitset> decode_block_list(const OverlayGeometry& geometry, ConstBytes file);

}  // namespace godwit::store
