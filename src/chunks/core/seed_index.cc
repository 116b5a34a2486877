#include "chunks/core/seed_index.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "chunks/core/cache_format.h"

namespace godwit::chunks {

static constexpr CacheFormat kFormat = {.name = "seed index",
                                        .magic = "GODWITSI",
                                        .version = 1,
                                        .head_bytes = kSeedIndexHeadBytes,
                                        .entry_bytes = kIndexEntryBytes,
                                        .entries_max = kSeedIndexEntriesMax};

Bytes encode_seed_index(const SeedIndex& index) {
  CacheWriter file(kFormat, index.digest, index.entries.size());
  Writer& fields = file.fields();
  fields.u64_le(index.seed.device);
  fields.u64_le(index.seed.inode);
  fields.u64_le(index.seed.size);
  fields.u64_le(static_cast<std::uint64_t>(index.seed.mtime_ns));
  fields.u64_le(static_cast<std::uint64_t>(index.seed.ctime_ns));
  file.begin_entries(index.sizes);
  for (const IndexEntry& entry : index.entries) encode_index_entry(entry, file.entries());
  return std::move(file).finish();
}

Result<SeedIndex> decode_seed_index(ConstBytes bytes) {
  CacheReader file(kFormat, bytes);
  if (Result<void> begun = file.begin(); !begun) return fail(begun.error());
  SeedIndex index;
  Cursor& cursor = file.fields();
  index.seed.device = cursor.u64_le();
  index.seed.inode = cursor.u64_le();
  index.seed.size = cursor.u64_le();
  index.seed.mtime_ns = cursor.i64_le();
  index.seed.ctime_ns = cursor.i64_le();
  const Result<std::size_t> count = file.read_entries();
  if (!count) return fail(count.error());
  index.sizes = file.sizes();
  index.digest = file.digest();
  index.entries.reserve(*count);
  std::uint64_t start = 0;
  for (std::size_t i = 0; i < *count; ++i) {
    const std::uint64_t end = cursor.u64_le();
    ChunkId id;
    std::ranges::copy(cursor.take(id.bytes.size()), id.bytes.begin());
    if (end <= start || end - start > index.sizes.max) return file.fail_corrupt(fmt::format("chunk {} ends at {}", i, end));
    index.entries.push_back({.end = end, .id = id});
    start = end;
  }
  if (start != index.seed.size) return file.fail_corrupt("its chunks are not all of the seed");
  return index;
}

}  // namespace godwit::chunks
