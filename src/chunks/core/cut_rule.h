// When a chunk ends: a rolling hash over the 48 bytes before a position, divided. Whether a position is a *candidate* depends on
// these 48 bytes alone, never on where the chunk began, so candidates can be looked for anywhere in any order; which of them
// become cuts is decided by walking over them once (chunker.h). Source: casync.md 3.1, 3.3, 3.4.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "chunks/core/chunk_sizes.h"

namespace godwit::chunks {

inline constexpr std::size_t kWindowBytes = 48;

// The hash of exactly 48 bytes.
std::uint32_t window_hash(std::span<const std::byte, kWindowBytes> window);

class CutRule {
 public:
  // ErrorKind::invalid for sizes that are none, and for a maximum below the window unless all chunks have one size (the original
  // refuses these as well).
  static Result<CutRule> of(const ChunkSizes& sizes);

  const ChunkSizes& sizes() const { return sizes_; }
  std::uint32_t discriminator() const { return discriminator_; }
  // The length at which a chunk may end first by its hash. For chunks of one size: never, they end at the maximum.
  std::uint64_t first_tested() const {
    return sizes_.is_fixed() ? sizes_.max : std::max<std::uint64_t>(sizes_.min, kWindowBytes);
  }
  bool is_hit(std::uint32_t hash) const { return hash % discriminator_ == discriminator_ - 1; }
  // How long chunks are within a run of zeros that began at least a window before them.
  std::uint64_t zero_chunk_size() const;

 private:
  CutRule(const ChunkSizes& sizes, std::uint32_t discriminator) : sizes_(sizes), discriminator_(discriminator) {}

  ChunkSizes sizes_;
  std::uint32_t discriminator_;
};

}  // namespace godwit::chunks
