#include "chunks/core/encoder_cache.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "chunks/core/cache_format.h"

namespace godwit::chunks {

static constexpr CacheFormat kFormat = {.name = "encoder cache",
                                        .magic = "GODWITEC",
                                        .version = 1,
                                        .head_bytes = kEncoderCacheHeadBytes,
                                        .entry_bytes = kKnownChunkBytes,
                                        .entries_max = kEncoderCacheChunksMax};

Bytes encode_encoder_cache(const EncoderCache& cache) {
  CacheWriter file(kFormat, cache.digest, cache.chunks.size());
  file.begin_entries(cache.sizes);
  Writer writer(file.entries());
  for (const KnownChunk& chunk : cache.chunks) {
    writer.u64_le(chunk.start);
    writer.bytes(chunk.print);
    writer.u64_le(chunk.length);
    writer.bytes(chunk.id.bytes);
  }
  return std::move(file).finish();
}

Result<EncoderCache> decode_encoder_cache(ConstBytes bytes) {
  CacheReader file(kFormat, bytes);
  if (Result<void> begun = file.begin(); !begun) return fail(begun.error());
  const Result<std::size_t> count = file.read_entries();
  if (!count) return fail(count.error());
  EncoderCache cache{.sizes = file.sizes(), .digest = file.digest(), .chunks = {}};
  cache.chunks.reserve(*count);
  Cursor& cursor = file.fields();
  for (std::size_t i = 0; i < *count; ++i) {
    KnownChunk chunk;
    chunk.start = cursor.u64_le();
    std::ranges::copy(cursor.take(chunk.print.size()), chunk.print.begin());
    chunk.length = cursor.u64_le();
    std::ranges::copy(cursor.take(chunk.id.bytes.size()), chunk.id.bytes.begin());
    if (chunk.length == 0 || chunk.length > cache.sizes.max)
      return file.fail_corrupt(fmt::format("chunk {} has {} bytes", i, chunk.length));
    if (!cache.chunks.empty() && !(cache.chunks.back() < chunk))
      return file.fail_corrupt(fmt::format("chunk {} is out of order", i));
    cache.chunks.push_back(chunk);
  }
  return cache;
}

}  // namespace godwit::chunks
