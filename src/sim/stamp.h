// Blocks that say what they are: every 512-byte sector of a stamped block carries its writer, a sequence number, its block and
// its own place in it, under a checksum. So a reader can tell an old block from a new one, a block that was torn between two
// writes, a block that came from somewhere else, and one that no client ever wrote.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace godwit::sim {

inline constexpr std::size_t kStampBytes = 512;

struct Stamp {
  std::uint32_t writer = 0;
  std::uint64_t sequence = 0;  // > 0
  std::uint64_t block = 0;
};

// `block` is a whole number of sectors.
void put_stamp(const Stamp& stamp, MutableBytes block);

// The sequences found in a block that `writer` and `block` should have stamped, each once, in the order of the sectors; 0 stands
// for sectors of zeros. ErrorKind::corrupt if any sector is neither, saying what it is instead.
Result<std::vector<std::uint64_t>> find_sequences(ConstBytes bytes, std::uint32_t writer, std::uint64_t block);

}  // namespace godwit::sim
