// The index of a blob (.caibx) or of an archive (.caidx): where each chunk ends, and its id. Nothing says how many there are
// before the end, so that it can be written and read as a stream. Source: casync.md 4.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"
#include "chunks/core/chunk_sizes.h"
#include "chunks/core/feature_flags.h"

namespace godwit::chunks {

struct IndexHeader {
  FeatureFlags flags = kDefaultBlobFlags;
  ChunkSizes sizes;

  Digest digest() const { return digest_of(flags); }
  friend bool operator==(const IndexHeader&, const IndexHeader&) = default;
};

struct IndexEntry {
  std::uint64_t end = 0;  // offset in the blob of the first byte behind the chunk
  ChunkId id;

  friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};

inline constexpr std::size_t kIndexHeadBytes = 64;
inline constexpr std::size_t kIndexEntryBytes = 40;
inline constexpr std::size_t kIndexTailBytes = 40;

// Head, any number of entries, tail: what an index file consists of.
void encode_index_head(const IndexHeader& header, Bytes& out);
void encode_index_entry(const IndexEntry& entry, Bytes& out);
void encode_index_tail(std::uint64_t entry_count, Bytes& out);

// Takes an index in pieces. An entry is given out only when it is known not to be the tail, which has the same size: one byte
// more must have come. Holds less than a hundred bytes.
class IndexDecoder {
 public:
  // Appends the entries that are certain now. After an error nothing more may be fed.
  Result<void> feed(ConstBytes bytes, std::vector<IndexEntry>& out);
  // The file has ended: whether it was whole.
  Result<void> finish();

  // Known after the first 64 bytes.
  const std::optional<IndexHeader>& header() const { return header_; }
  std::uint64_t entry_count() const { return entry_count_; }
  std::uint64_t blob_size() const { return last_end_; }

 private:
  Result<void> take_head(ConstBytes head);
  Result<void> take_entry(ConstBytes entry, std::vector<IndexEntry>& out);

  std::optional<IndexHeader> header_;
  Bytes pending_;
  std::uint64_t entry_count_ = 0;
  std::uint64_t last_end_ = 0;
};

// A whole index in memory.
struct Index {
  IndexHeader header;
  std::vector<IndexEntry> entries;

  std::uint64_t blob_size() const { return entries.empty() ? 0 : entries.back().end; }
  std::uint64_t start_of(std::size_t i) const { return i == 0 ? 0 : entries[i - 1].end; }
  std::uint64_t length_of(std::size_t i) const { return entries[i].end - start_of(i); }
  // The chunk that holds the byte at `offset`, which lies within the blob.
  std::size_t chunk_at(std::uint64_t offset) const;

  friend bool operator==(const Index&, const Index&) = default;
};

Result<Index> decode_index(ConstBytes file);
Bytes encode_index(const Index& index);

}  // namespace godwit::chunks
