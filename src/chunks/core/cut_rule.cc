#include "chunks/core/cut_rule.h"

#include <algorithm>
#include <array>
#include <bit>

#include <fmt/format.h>

#include "chunks/core/buzhash_table.h"

namespace godwit::chunks {

std::uint32_t window_hash(std::span<const std::byte, kWindowBytes> window) {
  std::uint32_t hash = 0;
  for (const std::byte b : window) hash = std::rotl(hash, 1) ^ kBuzhashTable[std::to_integer<std::size_t>(b)];
  return hash;
}

Result<CutRule> CutRule::of(const ChunkSizes& sizes) {
  if (Result<void> checked = check_chunk_sizes(sizes); !checked) return fail(checked.error());
  if (sizes.max < kWindowBytes && !sizes.is_fixed())
    return fail(ErrorKind::invalid,
                fmt::format("chunk sizes {}: a maximum below {} bytes is possible only for chunks of one size", text_of(sizes),
                            kWindowBytes));
  return CutRule(sizes, discriminator_of(sizes));
}

std::uint64_t CutRule::zero_chunk_size() const {
  static constexpr std::array<std::byte, kWindowBytes> zeros{};
  return !sizes_.is_fixed() && is_hit(window_hash(zeros)) ? first_tested() : sizes_.max;
}

}  // namespace godwit::chunks
