#include "chunks/core/encoder_cache.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks {

namespace {

constexpr std::string_view kMagic = "GODWITEC";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kSha512_256 = 1;
constexpr std::uint32_t kSha256 = 2;

std::unexpected<Error> fail_corrupt(std::string_view what) {
  return fail(ErrorKind::corrupt, fmt::format("encoder cache: {}", what));
}

}  // namespace

Bytes encode_encoder_cache(const EncoderCache& cache) {
  GODWIT_CHECK(cache.chunks.size() <= kEncoderCacheChunksMax);
  Bytes file;
  file.reserve(kEncoderCacheHeadBytes + cache.chunks.size() * kKnownChunkBytes + 4);
  Writer writer(file);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(cache.digest == Digest::sha256 ? kSha256 : kSha512_256);
  writer.u64_le(cache.sizes.min);
  writer.u64_le(cache.sizes.avg);
  writer.u64_le(cache.sizes.max);
  writer.u64_le(cache.chunks.size());
  for (const KnownChunk& chunk : cache.chunks) {
    writer.u64_le(chunk.start);
    writer.bytes(chunk.print);
    writer.u64_le(chunk.length);
    writer.bytes(chunk.id.bytes);
  }
  writer.u32_le(crc32c(file));
  return file;
}

Result<EncoderCache> decode_encoder_cache(ConstBytes file) {
  Cursor cursor(file);
  const ConstBytes magic = cursor.take(kMagic.size());
  if (!cursor.ok() || as_text(magic) != kMagic) return fail_corrupt("it does not begin as one");
  const std::uint32_t version = cursor.u32_le();
  if (cursor.ok() && version != kVersion)
    return fail(ErrorKind::unsupported, fmt::format("encoder cache: version {}; this program knows {}", version, kVersion));
  EncoderCache cache;
  const std::uint32_t digest = cursor.u32_le();
  cache.digest = digest == kSha256 ? Digest::sha256 : Digest::sha512_256;
  cache.sizes.min = cursor.u64_le();
  cache.sizes.avg = cursor.u64_le();
  cache.sizes.max = cursor.u64_le();
  const std::uint64_t count = cursor.u64_le();
  if (!cursor.ok()) return fail_corrupt("it is cut off");
  if (count > kEncoderCacheChunksMax || cursor.remaining() != count * kKnownChunkBytes + 4)
    return fail_corrupt(fmt::format("{} chunks do not fit its {} bytes", count, file.size()));
  if (Cursor tail(file.last(4)); tail.u32_le() != crc32c(file.first(file.size() - 4))) return fail_corrupt("wrong checksum");
  if (digest != kSha512_256 && digest != kSha256) return fail_corrupt("unknown digest");
  if (!check_chunk_sizes(cache.sizes)) return fail_corrupt("impossible chunk sizes");
  cache.chunks.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    KnownChunk chunk;
    chunk.start = cursor.u64_le();
    std::ranges::copy(cursor.take(chunk.print.size()), chunk.print.begin());
    chunk.length = cursor.u64_le();
    std::ranges::copy(cursor.take(chunk.id.bytes.size()), chunk.id.bytes.begin());
    if (chunk.length == 0 || chunk.length > cache.sizes.max)
      return fail_corrupt(fmt::format("chunk {} has {} bytes", i, chunk.length));
    if (!cache.chunks.empty() && !(cache.chunks.back() < chunk)) return fail_corrupt(fmt::format("chunk {} is out of order", i));
    cache.chunks.push_back(chunk);
  }
  return cache;
}

}  // namespace godwit::chunks
