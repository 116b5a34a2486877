#include "chunks/core/index.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks {

namespace {

constexpr std::uint64_t kIndexMagic = 0x96824d9c7b129ff9;
constexpr std::uint64_t kTableMagic = 0xe75b9e112f17417d;
constexpr std::uint64_t kTailMagic = 0x4b4f050e5549ecd1;
constexpr std::uint64_t kIndexRecordBytes = 48;
constexpr std::uint64_t kTableRecordHeadBytes = 16;
constexpr std::uint64_t kUnknownSize = std::numeric_limits<std::uint64_t>::max();

std::uint64_t table_size(std::uint64_t entry_count) {
  return kTableRecordHeadBytes + kIndexEntryBytes * entry_count + kIndexTailBytes;
}

Result<void> check_field(std::uint64_t value, std::uint64_t expected, const char* what, std::uint64_t offset) {
  if (value == expected) return {};
  return fail(ErrorKind::invalid, fmt::format("no index: {} at offset {} is {:#x}, not {:#x}", what, offset, value, expected));
}

}  // namespace

void encode_index_head(const IndexHeader& header, Bytes& out) {
  Writer writer(out);
  writer.u64_le(kIndexRecordBytes);
  writer.u64_le(kIndexMagic);
  writer.u64_le(header.flags);
  writer.u64_le(header.sizes.min);
  writer.u64_le(header.sizes.avg);
  writer.u64_le(header.sizes.max);
  writer.u64_le(kUnknownSize);
  writer.u64_le(kTableMagic);
}

void encode_index_entry(const IndexEntry& entry, Bytes& out) {
  Writer writer(out);
  writer.u64_le(entry.end);
  writer.bytes(entry.id.bytes);
}

void encode_index_tail(std::uint64_t entry_count, Bytes& out) {
  Writer writer(out);
  writer.u64_le(0);
  writer.u64_le(0);
  writer.u64_le(kIndexRecordBytes);
  writer.u64_le(table_size(entry_count));
  writer.u64_le(kTailMagic);
}

Result<void> IndexDecoder::feed(ConstBytes bytes, std::vector<IndexEntry>& out) {
  while (!bytes.empty()) {
    // What came before is one whole item at most, and now a byte follows it.
    if (header_ && pending_.size() == kIndexEntryBytes) {
      if (Result<void> taken = take_entry(pending_, out); !taken) return taken;
      pending_.clear();
    }
    const std::size_t wanted = header_ ? kIndexEntryBytes : kIndexHeadBytes;
    const std::size_t count = std::min(wanted - pending_.size(), bytes.size());
    append(pending_, bytes.first(count));
    bytes = bytes.subspan(count);
    if (!header_ && pending_.size() == kIndexHeadBytes) {
      if (Result<void> taken = take_head(pending_); !taken) return taken;
      pending_.clear();
    }
  }
  return {};
}

Result<void> IndexDecoder::take_head(ConstBytes head) {
  Cursor in(head);
  const std::uint64_t size = in.u64_le();
  const std::uint64_t magic = in.u64_le();
  IndexHeader header;
  header.flags = in.u64_le();
  header.sizes = {.min = in.u64_le(), .avg = in.u64_le(), .max = in.u64_le()};
  const std::uint64_t table = in.u64_le();
  const std::uint64_t table_magic = in.u64_le();
  if (Result<void> ok = check_field(magic, kIndexMagic, "the magic", 8); !ok) return ok;
  if (Result<void> ok = check_field(size, kIndexRecordBytes, "the head's size", 0); !ok) return ok;
  if (Result<void> ok = check_feature_flags(header.flags); !ok) return fail(std::move(ok.error()).within("index, offset 16"));
  if (Result<void> ok = check_chunk_sizes(header.sizes); !ok) return fail(std::move(ok.error()).within("index, offset 24"));
  if (Result<void> ok = check_field(table, kUnknownSize, "the table's size", 48); !ok) return ok;
  if (Result<void> ok = check_field(table_magic, kTableMagic, "the table's magic", 56); !ok) return ok;
  header_ = header;
  return {};
}

Result<void> IndexDecoder::take_entry(ConstBytes entry, std::vector<IndexEntry>& out) {
  Cursor in(entry);
  IndexEntry decoded{.end = in.u64_le(), .id = {}};
  std::ranges::copy(in.take(decoded.id.bytes.size()), decoded.id.bytes.begin());
  const std::uint64_t offset = kIndexHeadBytes + kIndexEntryBytes * entry_count_;
  if (decoded.end <= last_end_)
    return fail(ErrorKind::invalid, fmt::format("index, offset {}: chunk {} ends at {}, the one before it at {}", offset,
                                                entry_count_, decoded.end, last_end_));
  if (decoded.end - last_end_ > header_->sizes.max)
    return fail(ErrorKind::invalid, fmt::format("index, offset {}: chunk {} has {} bytes, the largest may have {}", offset,
                                                entry_count_, decoded.end - last_end_, header_->sizes.max));
  out.push_back(decoded);
  last_end_ = decoded.end;
  ++entry_count_;
  return {};
}

Result<void> IndexDecoder::finish() {
  if (!header_)
    return fail(ErrorKind::truncated, fmt::format("no index: {} bytes, the head alone has {}", pending_.size(), kIndexHeadBytes));
  const std::uint64_t offset = kIndexHeadBytes + kIndexEntryBytes * entry_count_;
  if (pending_.size() != kIndexTailBytes)
    return fail(ErrorKind::truncated,
                fmt::format("index ends at offset {} within an entry, without a tail", offset + pending_.size()));
  Cursor in(pending_);
  if (in.u64_le() != 0 || in.u64_le() != 0)
    return fail(ErrorKind::truncated, fmt::format("index ends at offset {} without a tail", offset + pending_.size()));
  if (Result<void> ok = check_field(in.u64_le(), kIndexRecordBytes, "the tail's offset of the head", offset + 16); !ok) return ok;
  if (Result<void> ok = check_field(in.u64_le(), table_size(entry_count_), "the tail's size of the table", offset + 24); !ok)
    return ok;
  return check_field(in.u64_le(), kTailMagic, "the tail's magic", offset + 32);
}

std::size_t Index::chunk_at(std::uint64_t offset) const {
  const auto found = std::ranges::upper_bound(entries, offset, {}, &IndexEntry::end);
  GODWIT_CHECK(found != entries.end());
  return static_cast<std::size_t>(found - entries.begin());
}

Result<Index> decode_index(ConstBytes file) {
  Index index;
  IndexDecoder decoder;
  if (Result<void> fed = decoder.feed(file, index.entries); !fed) return fail(fed.error());
  if (Result<void> finished = decoder.finish(); !finished) return fail(finished.error());
  index.header = *decoder.header();
  return index;
}

Bytes encode_index(const Index& index) {
  Bytes out;
  out.reserve(kIndexHeadBytes + kIndexEntryBytes * index.entries.size() + kIndexTailBytes);
  encode_index_head(index.header, out);
  for (const IndexEntry& entry : index.entries) encode_index_entry(entry, out);
  encode_index_tail(index.entries.size(), out);
  return out;
}

}  // namespace godwit::chunks
