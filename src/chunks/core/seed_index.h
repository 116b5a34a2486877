// What the chunks of a seed were when it was last read: ours alone, so that an unchanged seed need not be cut and hashed again.
// The layout: docs/formats/seed-index.md. Nothing in it is believed further than as a hint; chunks are hashed when they are used.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"
#include "chunks/core/chunk_sizes.h"
#include "chunks/core/index.h"

namespace godwit::chunks {

// A file as it was; any change of it shows in one of these. Of a block device, seed_device.h says what they are.
struct SeedIdentity {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;  // since 1970
  std::int64_t ctime_ns = 0;

  friend bool operator==(const SeedIdentity&, const SeedIdentity&) = default;
};

struct SeedIndex {
  SeedIdentity seed;
  ChunkSizes sizes;
  Digest digest = Digest::sha512_256;
  std::vector<IndexEntry> entries;

  friend bool operator==(const SeedIndex&, const SeedIndex&) = default;
};

// More are not kept: 64 GiB of chunks of the usual size, 40 MiB of index.
inline constexpr std::size_t kSeedIndexEntriesMax = std::size_t{1} << 20;
inline constexpr std::size_t kSeedIndexHeadBytes = 88;
inline constexpr std::size_t kSeedIndexBytesMax = kSeedIndexHeadBytes + kSeedIndexEntriesMax * kIndexEntryBytes + 4;

// At most kSeedIndexEntriesMax entries.
Bytes encode_seed_index(const SeedIndex& index);
// ErrorKind::unsupported for another version, ErrorKind::corrupt for anything that encode_seed_index() does not write.
Result<SeedIndex> decode_seed_index(ConstBytes file);

}  // namespace godwit::chunks
