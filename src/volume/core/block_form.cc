// Compressed forms to blocks. Each form has one walk over its payload, which checks everything; measuring and decoding differ in
// what they do with what it finds.
#include "volume/core/block_form.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "base/checked.h"
#include "base/varint.h"

namespace godwit::volume {
namespace {

std::unexpected<Error> over_bound(std::uint64_t bound) {
  return fail(ErrorKind::limit, "decodes to more than " + std::to_string(bound) + " bytes");
}

// Calls literal(at, bytes) and repeat(at, byte, count) for what the stream says, never beyond `bound`; gives the decoded length.
template <class Literal, class Repeat>
Result<std::uint64_t> walk_rle(ConstBytes payload, std::uint64_t bound, Literal literal, Repeat repeat) {
  Cursor in(payload);
  std::uint64_t at = 0;
  while (!in.at_end()) {
    const std::uint64_t token = read_varint(in);
    if (!in.ok()) return fail(ErrorKind::truncated, "a run's length cut off or too long");
    const std::uint64_t length = token >> 1;
    if (length > bound - at) return over_bound(bound);
    if ((token & 1) != 0) {
      const auto value = static_cast<std::byte>(in.u8());
      if (in.ok()) repeat(at, value, length);
    } else {
      const ConstBytes bytes = in.take(length);
      if (in.ok()) literal(at, bytes);
    }
    if (!in.ok()) return fail(ErrorKind::truncated, "a run cut off");
    at += length;
  }
  return at;
}

// Calls range(at, bytes) for each range, all within `length`.
template <class Range>
Result<void> walk_zeroes(ConstBytes payload, std::uint64_t length, Range range) {
  Cursor in(payload);
  while (!in.at_end()) {
    const std::int64_t start = unzigzag(read_varint(in));
    const std::int64_t count = unzigzag(read_varint(in));
    if (!in.ok()) return fail(ErrorKind::truncated, "a range cut off");
    if (start < 0 || count < 0 || !within(static_cast<std::uint64_t>(start), static_cast<std::uint64_t>(count), length))
      return fail(ErrorKind::invalid, "a range outside the bytes it belongs to");
    const ConstBytes bytes = in.take(static_cast<std::size_t>(count));
    if (!in.ok()) return fail(ErrorKind::truncated, "a range cut off");
    range(static_cast<std::uint64_t>(start), bytes);
  }
  return {};
}

class Inflater {
 public:
  explicit Inflater(ConstBytes payload) {
    constexpr int kGzipOnly = 15 + 16;
    GODWIT_CHECK(payload.size() <= std::numeric_limits<uInt>::max());                    // a body's length has 32 bits
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(payload.data()));  // zlib reads only
    stream_.avail_in = static_cast<uInt>(payload.size());
    GODWIT_CHECK(inflateInit2(&stream_, kGzipOnly) == Z_OK);
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool finished() const { return finished_; }

  // Decodes on into `into`, which is not empty; how many bytes came. None and not finished does not happen.
  Result<std::size_t> next(MutableBytes into) {
    const std::size_t room = std::min<std::size_t>(into.size(), std::numeric_limits<uInt>::max());
    stream_.next_out = reinterpret_cast<Bytef*>(into.data());
    stream_.avail_out = static_cast<uInt>(room);
    while (stream_.avail_out == room && !finished_) {
      const int status = inflate(&stream_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        // Another member may follow; its output continues this one's.
        finished_ = stream_.avail_in == 0;
        if (!finished_) GODWIT_CHECK(inflateReset(&stream_) == Z_OK);
      } else if (status == Z_BUF_ERROR || (status == Z_OK && stream_.avail_in == 0 && stream_.avail_out == room)) {
        return fail(ErrorKind::truncated, "compressed bytes cut off");
      } else if (status != Z_OK) {
        return fail(ErrorKind::invalid, "compressed bytes that can not be read");
      }
    }
    return room - stream_.avail_out;
  }

 private:
  z_stream stream_{};
  bool finished_ = false;
};

Result<std::uint64_t> measure_gzip(ConstBytes payload, std::uint64_t bound) {
  std::byte scratch[32 * 1024];
  Inflater inflater(payload);
  std::uint64_t length = 0;
  while (!inflater.finished()) {
    const Result<std::size_t> got = inflater.next(scratch);
    if (!got) return fail(got.error());
    length += *got;
    if (length > bound) return over_bound(bound);
  }
  return length;
}

Result<std::uint64_t> decode_gzip(ConstBytes payload, MutableBytes into) {
  Inflater inflater(payload);
  std::size_t length = 0;
  while (!inflater.finished()) {
    std::byte beyond;  // what is full may still have an end to read, but no byte more
    const bool full = length == into.size();
    const Result<std::size_t> got = inflater.next(full ? MutableBytes(&beyond, 1) : into.subspan(length));
    if (!got) return fail(got.error());
    if (full && *got != 0) return over_bound(into.size());
    length += *got;
  }
  return length;
}

Result<std::uint64_t> decode_rle(ConstBytes payload, MutableBytes into) {
  return walk_rle(
      payload, into.size(),
      [&](std::uint64_t at, ConstBytes bytes) {
        std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(at));
      },
      [&](std::uint64_t at, std::byte value, std::uint64_t count) {
        std::fill_n(into.begin() + static_cast<std::ptrdiff_t>(at), count, value);
      });
}

Result<std::uint64_t> decode_zeroes(const WriteData& write, MutableBytes into) {
  if (write.zeroes_length > into.size()) return over_bound(into.size());
  std::fill_n(into.begin(), write.zeroes_length, std::byte{0});
  const Result<void> walked = walk_zeroes(write.payload, write.zeroes_length, [&](std::uint64_t at, ConstBytes bytes) {
    std::copy(bytes.begin(), bytes.end(), into.begin() + static_cast<std::ptrdiff_t>(at));
  });
  if (!walked) return fail(walked.error());
  return write.zeroes_length;
}

Result<std::uint64_t> no_bytes_form() {
  return fail(ErrorKind::invalid, "a form that has no bytes");
}

}  // namespace

Result<std::uint64_t> decoded_length(const WriteData& write, std::uint64_t bound) {
  switch (write.form) {
    case WriteForm::raw:
      if (write.payload.size() > bound) return over_bound(bound);
      return write.payload.size();
    case WriteForm::rle:
      return walk_rle(write.payload, bound, [](std::uint64_t, ConstBytes) {}, [](std::uint64_t, std::byte, std::uint64_t) {});
    case WriteForm::gzip: return measure_gzip(write.payload, bound);
    case WriteForm::zeroes: {
      if (write.zeroes_length > bound) return over_bound(bound);
      const Result<void> walked = walk_zeroes(write.payload, write.zeroes_length, [](std::uint64_t, ConstBytes) {});
      if (!walked) return fail(walked.error());
      return write.zeroes_length;
    }
    case WriteForm::by_hash:
    case WriteForm::already_have: break;
  }
  return no_bytes_form();
}

std::uint64_t hinted_gzip_length(ConstBytes payload, std::uint64_t bound) {
  constexpr std::size_t kHeaderAndTrailerBytes = 18;
  constexpr std::uint64_t kRatioMax = 1032;  // deflate's, at its very best
  if (payload.size() < kHeaderAndTrailerBytes) return 0;
  const std::uint64_t said = Cursor(payload.last(4)).u32_le();
  return std::min({said, bound, payload.size() * kRatioMax});
}

Result<std::uint64_t> decode_form_within(const WriteData& write, MutableBytes into) {
  switch (write.form) {
    case WriteForm::raw:
      if (write.payload.size() > into.size()) return over_bound(into.size());
      std::copy(write.payload.begin(), write.payload.end(), into.begin());
      return write.payload.size();
    case WriteForm::rle: return decode_rle(write.payload, into);
    case WriteForm::gzip: return decode_gzip(write.payload, into);
    case WriteForm::zeroes: return decode_zeroes(write, into);
    case WriteForm::by_hash:
    case WriteForm::already_have: break;
  }
  return no_bytes_form();
}

Result<void> decode_form(const WriteData& write, MutableBytes into) {
  const Result<std::uint64_t> length = decode_form_within(write, into);
  if (!length) return fail(length.error());
  if (*length != into.size())
    return fail(ErrorKind::invalid, "decodes to " + std::to_string(*length) + " bytes, not " + std::to_string(into.size()));
  return {};
}

}  // namespace godwit::volume
