// Fields with a tag and a length: `u16 tag, u32 length, value`, the shape of control messages and ownership records
// (docs/formats/control-frames.md, docs/formats/ownership-record.md). What a tag means is its user's to say.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "volume/core/ids.h"

namespace godwit::volume {

class FieldWriter {
 public:
  explicit FieldWriter(Bytes& out) : out_(out) {}

  void bytes(std::uint16_t tag, ConstBytes value);
  void u8(std::uint16_t tag, std::uint8_t value);
  void u32(std::uint16_t tag, std::uint32_t value);
  void u64(std::uint16_t tag, std::uint64_t value);

  // For a value of several parts: append them between the two calls; its length is filled in at the end.
  void begin(std::uint16_t tag);
  void end();

 private:
  Bytes& out_;
  std::size_t open_value_at_ = 0;
};

struct TaggedField {
  std::uint16_t tag = 0;
  ConstBytes value;  // borrowed from the bytes it was read from
};

// All fields, in their order. Errors: truncated (a field's end is past the end), invalid (a tag twice).
Result<std::vector<TaggedField>> read_fields(ConstBytes bytes);

}  // namespace godwit::volume
