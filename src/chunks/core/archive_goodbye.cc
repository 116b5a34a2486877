#include "chunks/core/archive_goodbye.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks {
namespace {

constexpr std::uint64_t kKeyLow = 0x8574442b0f1d84b3;
constexpr std::uint64_t kKeyHigh = 0x2736ed30d1c22ec1;

struct SipState {
  std::uint64_t a = kKeyLow ^ 0x736f6d6570736575;
  std::uint64_t b = kKeyHigh ^ 0x646f72616e646f6d;
  std::uint64_t c = kKeyLow ^ 0x6c7967656e657261;
  std::uint64_t d = kKeyHigh ^ 0x7465646279746573;

  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }
  void mix(std::uint64_t word) {
    d ^= word;
    round();
    round();
    a ^= word;
  }
};

// How many of `count` sorted items lie left of the root, when the tree's last level is filled from the left.
std::size_t left_count(std::size_t count) {
  const std::size_t last_level = std::bit_floor(count);  // places in the last level
  const std::size_t above = last_level - 1;
  const std::size_t in_last = count - above;
  return last_level / 2 - 1 + std::min(in_last, last_level / 2);
}

// Puts sorted items into their places of the tree below `place`. The depth is the logarithm of the count.
void arrange(std::span<const ArchiveChild> sorted, std::size_t place, std::span<const ArchiveChild*> tree) {
  if (sorted.empty()) return;
  const std::size_t left = sorted.size() == 1 ? 0 : left_count(sorted.size());
  tree[place] = &sorted[left];
  arrange(sorted.first(left), 2 * place + 1, tree);
  arrange(sorted.subspan(left + 1), 2 * place + 2, tree);
}

}  // namespace

std::uint64_t hash_of_file_name(std::string_view name) {
  SipState state;
  Cursor cursor(as_bytes(name));
  while (cursor.remaining() >= 8) state.mix(cursor.u64_le());
  std::uint64_t last = static_cast<std::uint64_t>(name.size()) << 56;
  for (unsigned shift = 0; cursor.remaining() > 0; shift += 8) last |= static_cast<std::uint64_t>(cursor.u8()) << shift;
  state.mix(last);
  state.c ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

void append_goodbye(Bytes& out, std::span<ArchiveChild> children, std::uint64_t entry_offset, std::uint64_t offset) {
  std::sort(children.begin(), children.end(), [](const ArchiveChild& x, const ArchiveChild& y) {
    return x.name_hash != y.name_hash ? x.name_hash < y.name_hash : x.start < y.start;
  });
  std::vector<const ArchiveChild*> tree(children.size());
  arrange(children, 0, tree);
  Writer writer(out);
  const std::uint64_t size = goodbye_size(children.size());
  out.reserve(out.size() + size);
  writer.u64_le(size);
  writer.u64_le(static_cast<std::uint64_t>(RecordType::goodbye));
  for (const ArchiveChild* child : tree) {
    writer.u64_le(offset - child->start);
    writer.u64_le(child->end - child->start);
    writer.u64_le(child->name_hash);
  }
  writer.u64_le(offset - entry_offset);
  writer.u64_le(size);
  writer.u64_le(kGoodbyeTailMarker);
}

Result<GoodbyeTail> decode_goodbye_tail(ConstBytes bytes) {
  GODWIT_CHECK(bytes.size() == kGoodbyeItemSize);
  Cursor cursor(bytes);
  GoodbyeTail tail;
  tail.entry_distance = cursor.u64_le();
  tail.size = cursor.u64_le();
  if (const std::uint64_t marker = cursor.u64_le(); marker != kGoodbyeTailMarker)
    return fail(ErrorKind::invalid, fmt::format("no folder ends here: {:#018x} stands where its marker should", marker));
  if (tail.size < goodbye_size(0) || (tail.size - kRecordHeadSize) % kGoodbyeItemSize != 0)
    return fail(ErrorKind::invalid, fmt::format("a GOODBYE cannot have {} bytes", tail.size));
  return tail;
}

GoodbyeItem decode_goodbye_item(ConstBytes bytes) {
  GODWIT_CHECK(bytes.size() == kGoodbyeItemSize);
  Cursor cursor(bytes);
  GoodbyeItem item;
  item.start_distance = cursor.u64_le();
  item.size = cursor.u64_le();
  item.name_hash = cursor.u64_le();
  return item;
}

}  // namespace godwit::chunks
