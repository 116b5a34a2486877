// What the archive of a tree was cut into when it was last made: ours alone, so that `make` need not read, cut and hash again
// what has not changed. A chunk is known by the *print* of the stretch that it came from (archive_pieces.h): the archive's
// records as they are, and of files which ones they were in which state. Equal prints mean equal bytes, so the same chunk. The
// layout: docs/formats/encoder-cache.md.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "chunks/core/chunk_id.h"
#include "chunks/core/chunk_sizes.h"

namespace godwit::chunks {

struct KnownChunk {
  std::uint64_t start = 0;  // of the print of its first bytes: by this it is looked up
  Sha256 print{};           // of all of it, and of the archive's end if that is its own
  std::uint64_t length = 0;
  ChunkId id;

  friend bool operator==(const KnownChunk&, const KnownChunk&) = default;
  // In the order of looking up.
  friend auto operator<=>(const KnownChunk&, const KnownChunk&) = default;
};

struct EncoderCache {
  ChunkSizes sizes;
  Digest digest = Digest::sha512_256;
  std::vector<KnownChunk> chunks;  // sorted

  friend bool operator==(const EncoderCache&, const EncoderCache&) = default;
};

// More are not kept: 64 GiB of chunks of the usual size, 80 MiB of cache.
inline constexpr std::size_t kEncoderCacheChunksMax = std::size_t{1} << 20;
inline constexpr std::size_t kEncoderCacheHeadBytes = 48;
inline constexpr std::size_t kKnownChunkBytes = 80;
inline constexpr std::size_t kEncoderCacheBytesMax = kEncoderCacheHeadBytes + kEncoderCacheChunksMax * kKnownChunkBytes + 4;

// At most kEncoderCacheChunksMax chunks.
Bytes encode_encoder_cache(const EncoderCache& cache);
// ErrorKind::unsupported for another version, ErrorKind::corrupt for anything that encode_encoder_cache() does not write.
Result<EncoderCache> decode_encoder_cache(ConstBytes file);

}  // namespace godwit::chunks
