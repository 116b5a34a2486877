#include "chunks/core/archive_seek.h"

#include <array>
#include <vector>

#include <fmt/format.h>

#include "base/cursor.h"
#include "chunks/core/archive_attribute.h"

namespace godwit::chunks {
namespace {

// Different names of one hash do not happen by chance; more than this are an attack on our time.
constexpr std::size_t kEqualHashesMax = 64;

struct Span {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
};

Error wrong(std::uint64_t offset, const std::string& what) {
  return Error(ErrorKind::invalid, fmt::format("archive, offset {}: {}", offset, what));
}

// A folder's table of contents, found from the folder's end.
struct Table {
  std::uint64_t offset = 0;  // of its record
  std::uint64_t count = 0;
};

Result<Table> find_table(ArchiveBytes& archive, Span folder) {
  if (folder.end - folder.start < kEntrySize + goodbye_size(0))
    return fail(wrong(folder.start, fmt::format("{} bytes are too few for a folder", folder.end - folder.start)));
  std::array<std::byte, kGoodbyeItemSize> bytes;
  const std::uint64_t tail_offset = folder.end - bytes.size();
  if (Result<void> read = archive.read(tail_offset, bytes); !read) return fail(std::move(read).error());
  const Result<GoodbyeTail> tail = decode_goodbye_tail(bytes);
  if (!tail) return fail(wrong(tail_offset, tail.error().message()));
  if (tail->size > folder.end - folder.start - kEntrySize || folder.end - tail->size - folder.start != tail->entry_distance)
    return fail(wrong(tail_offset, "the folder's end does not point to its beginning"));
  return Table{folder.end - tail->size, (tail->size - kRecordHeadSize) / kGoodbyeItemSize - 1};
}

// The child of this name hash at a place of the table, if it is one.
Result<Span> span_of(const GoodbyeItem& item, Span folder, std::uint64_t table_offset) {
  if (item.start_distance > table_offset - folder.start - kEntrySize || item.size > item.start_distance)
    return fail(wrong(table_offset, "the GOODBYE names a child outside of its folder"));
  const std::uint64_t start = table_offset - item.start_distance;
  return Span{start, start + item.size};
}

// The node behind the FILENAME at the span's start, if that has this name; an empty span if it has another.
Result<Span> node_if_named(ArchiveBytes& archive, Span child, std::string_view name) {
  const std::uint64_t record_size = kRecordHeadSize + name.size() + 1;
  if (child.end - child.start < record_size + kEntrySize) return Span{};
  Bytes bytes(record_size);
  if (Result<void> read = archive.read(child.start, bytes); !read) return fail(std::move(read).error());
  Cursor cursor(bytes);
  if (cursor.u64_le() != record_size || cursor.u64_le() != static_cast<std::uint64_t>(RecordType::filename)) return Span{};
  if (as_text(cursor.take(name.size())) != name || cursor.u8() != 0) return Span{};
  return Span{child.start + record_size, child.end};
}

Result<Span> find_child(ArchiveBytes& archive, Span folder, std::string_view name) {
  const Result<Table> table = find_table(archive, folder);
  if (!table) return fail(table.error());
  const std::uint64_t hash = hash_of_file_name(name);
  std::size_t equal_count = 0;
  std::vector<std::uint64_t> places{0};
  while (!places.empty()) {
    const std::uint64_t place = places.back();
    places.pop_back();
    if (place >= table->count) continue;
    std::array<std::byte, kGoodbyeItemSize> bytes;
    if (Result<void> read = archive.read(table->offset + kRecordHeadSize + place * kGoodbyeItemSize, bytes); !read)
      return fail(std::move(read).error());
    const GoodbyeItem item = decode_goodbye_item(bytes);
    if (item.name_hash == hash) {
      if (++equal_count > kEqualHashesMax)
        return fail(ErrorKind::limit, fmt::format("archive, offset {}: too many names of one hash", table->offset));
      const Result<Span> child = span_of(item, folder, table->offset);
      if (!child) return child;
      const Result<Span> node = node_if_named(archive, *child, name);
      if (!node || node->end != 0) return node;
    }
    // Equal hashes may lie on both sides.
    if (hash <= item.name_hash) places.push_back(2 * place + 1);
    if (hash >= item.name_hash) places.push_back(2 * place + 2);
  }
  return Span{};
}

Result<bool> is_folder(ArchiveBytes& archive, Span node) {
  std::array<std::byte, kEntrySize> bytes;
  if (node.end - node.start < bytes.size()) return fail(wrong(node.start, "the archive is too short to have a node"));
  if (Result<void> read = archive.read(node.start, bytes); !read) return fail(std::move(read).error());
  Cursor cursor(bytes);
  if (cursor.u64_le() != kEntrySize || cursor.u64_le() != static_cast<std::uint64_t>(RecordType::entry))
    return fail(wrong(node.start, "no ENTRY stands where one should"));
  const Result<Node> entry = decode_entry(cursor.rest());
  if (!entry) return fail(wrong(node.start, entry.error().message()));
  return entry->is_directory();
}

}  // namespace

Result<ArchiveSubtree> find_subtree(ArchiveBytes& archive, std::string_view path) {
  Span node{0, archive.size()};
  ArchiveSubtree found;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (Result<void> checked = check_file_name(part); !checked) return fail(std::move(checked).error());
    const Result<bool> folder = is_folder(archive, node);
    if (!folder) return fail(folder.error());
    const Result<Span> child = *folder ? find_child(archive, node, part) : Result<Span>(Span{});
    if (!child) return fail(child.error());
    if (!found.path.empty()) found.path += '/';
    found.path += part;
    if (child->end == 0) return fail(ErrorKind::not_found, fmt::format("the archive has no '{}'", escaped(found.path)));
    node = *child;
  }
  found.start = node.start;
  found.end = node.end;
  return found;
}

}  // namespace godwit::chunks
