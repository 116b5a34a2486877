// Any bytes as the payload of a compressed write, and as a block to be compressed. The first byte says which form, the next three
// how many bytes a zeroes write says it has.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/cursor.h"
#include "volume/core/block_form.h"

using namespace godwit;
using namespace godwit::volume;

namespace {

constexpr std::uint64_t kBound = 64 * 1024;
constexpr WriteForm kForms[] = {WriteForm::raw, WriteForm::rle, WriteForm::gzip, WriteForm::zeroes};

// Measuring and decoding agree about what is malformed and about every byte.
void check_decoders(const WriteData& write) {
  const Result<std::uint64_t> length = decoded_length(write, kBound);
  Bytes largest(kBound);
  const Result<std::uint64_t> within = decode_form_within(write, largest);
  GODWIT_CHECK(length.has_value() == within.has_value());
  if (!length) return;
  GODWIT_CHECK(*length == *within && *length <= kBound);
  Bytes exact(*length);
  GODWIT_CHECK(decode_form(write, exact).has_value());
  GODWIT_CHECK(std::equal(exact.begin(), exact.end(), largest.begin()));
  if (is_all_zeroes(write)) GODWIT_CHECK(is_zero(exact));
}

void check_round_trip(WriteForm form, ConstBytes block) {
  Bytes payload;
  switch (form) {
    case WriteForm::rle: encode_rle(block, payload); break;
    case WriteForm::gzip: encode_gzip(block, payload); break;
    case WriteForm::zeroes: encode_zeroes(block, payload); break;
    default: append(payload, block);
  }
  const WriteData write{.form = form, .offset = 0, .zeroes_length = block.size(), .payload = payload};
  Bytes back(block.size());
  GODWIT_CHECK(decode_form(write, back).has_value());
  GODWIT_CHECK(std::equal(back.begin(), back.end(), block.begin(), block.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Cursor in(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  const WriteForm form = kForms[in.u8() % std::size(kForms)];
  const std::uint64_t zeroes_length = in.u16_le() | std::uint64_t{in.u8()} << 16;
  if (!in.ok()) return 0;
  const ConstBytes bytes = in.rest();
  check_decoders({.form = form, .offset = 0, .zeroes_length = zeroes_length, .payload = bytes});
  check_round_trip(form, bytes);
  return 0;
}
