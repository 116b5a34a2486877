#include "chunks/core/seed_index.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"
#include "base/hash.h"

namespace godwit::chunks {

namespace {

constexpr std::string_view kMagic = "GODWITSI";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kSha512_256 = 1;
constexpr std::uint32_t kSha256 = 2;

std::unexpected<Error> fail_corrupt(std::string_view what) {
  return fail(ErrorKind::corrupt, fmt::format("seed index: {}", what));
}

}  // namespace

Bytes encode_seed_index(const SeedIndex& index) {
  GODWIT_CHECK(index.entries.size() <= kSeedIndexEntriesMax);
  Bytes file;
  file.reserve(kSeedIndexHeadBytes + index.entries.size() * kIndexEntryBytes + 4);
  Writer writer(file);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(index.digest == Digest::sha256 ? kSha256 : kSha512_256);
  writer.u64_le(index.seed.device);
  writer.u64_le(index.seed.inode);
  writer.u64_le(index.seed.size);
  writer.u64_le(static_cast<std::uint64_t>(index.seed.mtime_ns));
  writer.u64_le(static_cast<std::uint64_t>(index.seed.ctime_ns));
  writer.u64_le(index.sizes.min);
  writer.u64_le(index.sizes.avg);
  writer.u64_le(index.sizes.max);
  writer.u64_le(index.entries.size());
  for (const IndexEntry& entry : index.entries) encode_index_entry(entry, file);
  writer.u32_le(crc32c(file));
  return file;
}

Result<SeedIndex> decode_seed_index(ConstBytes file) {
  Cursor cursor(file);
  const ConstBytes magic = cursor.take(kMagic.size());
  if (!cursor.ok() || as_text(magic) != kMagic) return fail_corrupt("it does not begin as one");
  const std::uint32_t version = cursor.u32_le();
  if (cursor.ok() && version != kVersion)
    return fail(ErrorKind::unsupported, fmt::format("seed index: version {}; this program knows {}", version, kVersion));
  SeedIndex index;
  const std::uint32_t digest = cursor.u32_le();
  index.digest = digest == kSha256 ? Digest::sha256 : Digest::sha512_256;
  index.seed.device = cursor.u64_le();
  index.seed.inode = cursor.u64_le();
  index.seed.size = cursor.u64_le();
  index.seed.mtime_ns = cursor.i64_le();
  index.seed.ctime_ns = cursor.i64_le();
  index.sizes.min = cursor.u64_le();
  index.sizes.avg = cursor.u64_le();
  index.sizes.max = cursor.u64_le();
  const std::uint64_t count = cursor.u64_le();
  if (!cursor.ok()) return fail_corrupt("it is cut off");
  if (count > kSeedIndexEntriesMax || cursor.remaining() != count * kIndexEntryBytes + 4)
    return fail_corrupt(fmt::format("{} chunks do not fit its {} bytes", count, file.size()));
  if (Cursor tail(file.last(4)); tail.u32_le() != crc32c(file.first(file.size() - 4))) return fail_corrupt("wrong checksum");
  if (digest != kSha512_256 && digest != kSha256) return fail_corrupt("unknown digest");
  if (!check_chunk_sizes(index.sizes)) return fail_corrupt("impossible chunk sizes");
  index.entries.reserve(count);
  std::uint64_t start = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t end = cursor.u64_le();
    ChunkId id;
    std::ranges::copy(cursor.take(id.bytes.size()), id.bytes.begin());
    if (end <= start || end - start > index.sizes.max) return fail_corrupt(fmt::format("chunk {} ends at {}", i, end));
    index.entries.push_back({.end = end, .id = id});
    start = end;
  }
  if (start != index.seed.size) return fail_corrupt("its chunks are not all of the seed");
  return index;
}

}  // namespace godwit::chunks
