// Blocks to their compressed forms. Scans look at eight bytes at a time: these run for every block of a volume that is on its
// way.
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "base/check.h"
#include "base/varint.h"
#include "volume/core/block_form.h"

namespace godwit::volume {
namespace {

using Word = std::uint64_t;
constexpr std::size_t kWord = sizeof(Word);
constexpr Word kLowBits = 0x0101010101010101;
constexpr Word kHighBits = 0x8080808080808080;

Word load(const std::byte* at) {
  Word word;
  std::memcpy(&word, at, kWord);
  return word;
}

// Which byte of a word that is not zero is the first (the last) that is not.
std::size_t first_set_byte(Word word) {
  return static_cast<std::size_t>(std::countr_zero(word)) / 8;
}
std::size_t last_set_byte(Word word) {
  return kWord - 1 - static_cast<std::size_t>(std::countl_zero(word)) / 8;
}

// Not zero where the word has a zero byte; its lowest bit stands in the first of them.
Word zero_bytes(Word word) {
  return (word - kLowBits) & ~word & kHighBits;
}

// The first position in [from, end) whose byte is not `value`; end when all are.
std::size_t run_end(const std::byte* data, std::size_t from, std::size_t end, std::byte value) {
  const Word pattern = std::to_integer<Word>(value) * kLowBits;
  std::size_t at = from;
  while (at + 4 * kWord <= end) {
    const std::byte* p = data + at;
    if (((load(p) ^ pattern) | (load(p + 8) ^ pattern) | (load(p + 16) ^ pattern) | (load(p + 24) ^ pattern)) != 0) break;
    at += 4 * kWord;
  }
  for (; at + kWord <= end; at += kWord)
    if (const Word other = load(data + at) ^ pattern; other != 0) return at + first_set_byte(other);
  while (at < end && data[at] == value) ++at;
  return at;
}

// The original's threshold: fewer equal bytes than these are cheaper as they are.
constexpr std::size_t kRunMin = 4;

// The first position at or after `from` where kRunMin equal bytes begin; the size when there is none.
std::size_t next_run(ConstBytes data, std::size_t from) {
  const std::byte* p = data.data();
  std::size_t at = from;
  for (; at + kWord + kRunMin - 1 <= data.size(); at += kWord) {
    const Word a = load(p + at), b = load(p + at + 1), c = load(p + at + 2), d = load(p + at + 3);
    const Word differs = (a ^ b) | (b ^ c) | (c ^ d);  // a zero byte where four in a row are equal
    if (const Word found = zero_bytes(differs); found != 0) return at + first_set_byte(found);
  }
  for (; at + kRunMin <= data.size(); ++at)
    if (p[at] == p[at + 1] && p[at] == p[at + 2] && p[at] == p[at + 3]) return at;
  return data.size();
}

void put_literal(ConstBytes bytes, Bytes& out) {
  if (bytes.empty()) return;
  write_varint(out, std::uint64_t{bytes.size()} << 1);
  append(out, bytes);
}

// Where the zeros at the end begin.
std::size_t size_without_zero_tail(ConstBytes data) {
  std::size_t end = data.size();
  while (end >= kWord) {
    if (const Word word = load(data.data() + end - kWord); word != 0) return end - kWord + last_set_byte(word) + 1;
    end -= kWord;
  }
  while (end > 0 && data[end - 1] == std::byte{0}) --end;
  return end;
}

// The original's threshold: a range goes on over fewer zeros than these.
constexpr std::size_t kGapMin = 12;

// Where the range that begins at `start` ends: at the next kGapMin zeros, else at the end of `data`, whose last byte is not zero.
// Looks at four bytes out of eight, since twelve zeros hold four such at any alignment.
std::size_t range_end(ConstBytes data, std::size_t start) {
  std::size_t at = start;
  while (at + 4 <= data.size()) {
    std::uint32_t probe;
    std::memcpy(&probe, data.data() + at, sizeof probe);
    if (probe != 0) {
      at += 8;
      continue;
    }
    std::size_t gap = at;
    while (data[gap - 1] == std::byte{0}) --gap;  // the byte at `start` is not zero
    const std::size_t gap_end = run_end(data.data(), at, data.size(), std::byte{0});
    if (gap_end - gap >= kGapMin) return gap;
    at = gap_end;
  }
  return data.size();
}

}  // namespace

void encode_rle(ConstBytes data, Bytes& out) {
  std::size_t literal = 0;
  std::size_t at = next_run(data, 0);
  while (at < data.size()) {
    const std::size_t end = run_end(data.data(), at, data.size(), data[at]);
    if (end == data.size() && end - at == kRunMin) break;  // so does the original
    put_literal(data.subspan(literal, at - literal), out);
    write_varint(out, (std::uint64_t{end - at} << 1) | 1);
    out.push_back(data[at]);
    literal = end;
    at = next_run(data, end);
  }
  put_literal(data.subspan(literal), out);
}

void encode_zeroes(ConstBytes data, Bytes& out) {
  data = data.first(size_without_zero_tail(data));
  std::size_t start = run_end(data.data(), 0, data.size(), std::byte{0});
  while (start < data.size()) {
    const std::size_t end = range_end(data, start);
    write_varint(out, zigzag(static_cast<std::int64_t>(start)));
    write_varint(out, zigzag(static_cast<std::int64_t>(end - start)));
    append(out, data.subspan(start, end - start));
    start = run_end(data.data(), end, data.size(), std::byte{0});
  }
}

void encode_gzip(ConstBytes data, Bytes& out) {
  constexpr int kGzipWindow = 15 + 16;
  constexpr int kMemoryLevel = 8;
  GODWIT_CHECK(data.size() <= std::numeric_limits<uInt>::max());
  z_stream stream{};
  GODWIT_CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) == Z_OK);
  const std::size_t start = out.size();
  const std::size_t bound = deflateBound(&stream, static_cast<uLong>(data.size()));
  GODWIT_CHECK(bound <= std::numeric_limits<uInt>::max());
  out.resize(start + bound);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(data.data()));  // zlib reads only
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data() + start);
  stream.avail_out = static_cast<uInt>(bound);
  GODWIT_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(start + bound - stream.avail_out);
  deflateEnd(&stream);
}

}  // namespace godwit::volume
