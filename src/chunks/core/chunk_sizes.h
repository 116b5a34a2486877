// How large chunks are: a minimum, an average and a maximum, and the number that the cut rule divides by. Source:
// casync.md 3.2, 3.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace godwit::chunks {

inline constexpr std::uint64_t kChunkSizeBytesMin = 1;
inline constexpr std::uint64_t kChunkSizeBytesMax = 128 * 1024 * 1024;

struct ChunkSizes {
  std::uint64_t min = 16 * 1024;
  std::uint64_t avg = 64 * 1024;
  std::uint64_t max = 256 * 1024;

  friend bool operator==(const ChunkSizes&, const ChunkSizes&) = default;
  bool is_fixed() const { return min == max; }
};

// 1 <= min <= avg <= max <= 128 MiB, else ErrorKind::invalid.
Result<void> check_chunk_sizes(const ChunkSizes& sizes);

// Fills in what is not given: around the average by factors of four, the average as the geometric mean of the others. The result
// is checked.
Result<ChunkSizes> complete_chunk_sizes(std::optional<std::uint64_t> min, std::optional<std::uint64_t> avg,
                                        std::optional<std::uint64_t> max);

// "AVG" or "MIN:AVG:MAX"; numbers of bytes with K, M, G or T behind them for powers of 1024. ErrorKind::usage when it is neither.
Result<ChunkSizes> parse_chunk_sizes(std::string_view text);

// "16384:65536:262144"
std::string text_of(const ChunkSizes& sizes);

// The d of the cut rule, within [min, max]. `sizes` are checked.
std::uint32_t discriminator_of(const ChunkSizes& sizes);

}  // namespace godwit::chunks
