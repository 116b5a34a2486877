// The GOODBYE record, a folder's table of contents: an item per child, found by the hash of its name in a binary tree laid out
// as an array, and a tail by which it is found from its own end. All offsets are distances back from the record's start.
// Source: casync.md 6.4.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/archive_format.h"

namespace godwit::chunks {

// SipHash-2-4 of a file name under the format's key.
std::uint64_t hash_of_file_name(std::string_view name);

// A child, as the folder's writer and reader keep it: offsets from the archive's start.
struct ArchiveChild {
  std::uint64_t start = 0;  // of its FILENAME record
  std::uint64_t end = 0;    // behind its node
  std::uint64_t name_hash = 0;

  friend bool operator==(const ArchiveChild&, const ArchiveChild&) = default;
};

constexpr std::uint64_t goodbye_size(std::uint64_t child_count) {
  return kRecordHeadSize + kGoodbyeItemSize * (child_count + 1);
}

// The record of the folder whose ENTRY lies at `entry_offset`, itself at `offset`. Sorts `children`.
void append_goodbye(Bytes& out, std::span<ArchiveChild> children, std::uint64_t entry_offset, std::uint64_t offset);

// The last 24 bytes of a folder: where its ENTRY and its GOODBYE begin.
struct GoodbyeTail {
  std::uint64_t entry_distance = 0;  // from the record's start back to ENTRY
  std::uint64_t size = 0;            // of the record
};
// ErrorKind::invalid when they are no such tail; `bytes` has 24.
Result<GoodbyeTail> decode_goodbye_tail(ConstBytes bytes);

// An item as it stands: distances back from the record's start.
struct GoodbyeItem {
  std::uint64_t start_distance = 0;
  std::uint64_t size = 0;
  std::uint64_t name_hash = 0;
};
// `bytes` has 24.
GoodbyeItem decode_goodbye_item(ConstBytes bytes);

}  // namespace godwit::chunks
