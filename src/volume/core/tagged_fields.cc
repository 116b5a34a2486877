#include "volume/core/tagged_fields.h"

#include <bitset>
#include <limits>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::volume {

static constexpr std::size_t kLengthSize = 4;

void FieldWriter::bytes(std::uint16_t tag, ConstBytes value) {
  begin(tag);
  append(out_, value);
  end();
}

void FieldWriter::u8(std::uint16_t tag, std::uint8_t value) {
  begin(tag);
  Writer(out_).u8(value);
  end();
}

void FieldWriter::u32(std::uint16_t tag, std::uint32_t value) {
  begin(tag);
  Writer(out_).u32_le(value);
  end();
}

void FieldWriter::u64(std::uint16_t tag, std::uint64_t value) {
  begin(tag);
  Writer(out_).u64_le(value);
  end();
}

void FieldWriter::begin(std::uint16_t tag) {
  GODWIT_CHECK(open_value_at_ == 0);
  Writer writer(out_);
  writer.u16_le(tag);
  writer.u32_le(0);
  open_value_at_ = out_.size();
}

void FieldWriter::end() {
  GODWIT_CHECK(open_value_at_ != 0);
  const std::size_t length = out_.size() - open_value_at_;
  GODWIT_CHECK(length <= std::numeric_limits<std::uint32_t>::max());
  const auto told = static_cast<std::uint32_t>(length);
  std::memcpy(out_.data() + open_value_at_ - kLengthSize, &told, kLengthSize);
  open_value_at_ = 0;
}

Result<std::vector<TaggedField>> read_fields(ConstBytes bytes) {
  std::vector<TaggedField> fields;
  std::bitset<std::numeric_limits<std::uint16_t>::max() + 1> seen;
  Cursor cursor(bytes);
  while (!cursor.at_end()) {
    TaggedField field;
    field.tag = cursor.u16_le();
    field.value = cursor.take(cursor.u32_le());
    if (!cursor.ok()) return fail(ErrorKind::truncated, "field " + std::to_string(field.tag) + " reaches past the end");
    if (seen[field.tag]) return fail(ErrorKind::invalid, "field " + std::to_string(field.tag) + " comes twice");
    seen[field.tag] = true;
    fields.push_back(field);
  }
  return fields;
}

}  // namespace godwit::volume
