#include "volume/core/tagged_fields.h"

#include <gtest/gtest.h>

#include "base/cursor.h"

namespace godwit::volume {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

TEST(TaggedFields, AreWrittenOneBehindTheOther) {
  Bytes out = hex("ee");
  FieldWriter fields(out);
  fields.u8(1, 7);
  fields.u32(2, 8);
  fields.u64(0x1234, 9);
  fields.bytes(3, hex("aabb"));
  fields.begin(4);
  Writer(out).u16_le(1);
  Writer(out).u16_le(2);
  fields.end();
  EXPECT_EQ(to_hex(out),
            to_hex(hex("ee 0100 01000000 07  0200 04000000 08000000  3412 08000000 0900000000000000  0300 02000000 aabb"
                       "0400 04000000 01000200")));
}

TEST(TaggedFields, AreReadInTheirOrderAndBorrowed) {
  const Bytes bytes = hex("0200 01000000 aa  0100 00000000  ffff 02000000 bbcc");
  const auto fields = read_fields(bytes);
  ASSERT_TRUE(fields);
  ASSERT_EQ(fields->size(), 3U);
  EXPECT_EQ((*fields)[0].tag, 2);
  EXPECT_EQ((*fields)[0].value.data(), bytes.data() + 6);
  EXPECT_TRUE((*fields)[1].value.empty());
  EXPECT_EQ((*fields)[2].tag, 0xffff);
  EXPECT_EQ(to_hex((*fields)[2].value), "bbcc");
  EXPECT_TRUE(read_fields({})->empty());
}

TEST(TaggedFields, CutOffOrTwiceIsAnError) {
  struct Row {
    std::string name, bytes;
    ErrorKind kind;
  };
  const Row rows[] = {
      {"half a tag", "01", ErrorKind::truncated},
      {"half a length", "0100 0100", ErrorKind::truncated},
      {"a length past the end", "0100 02000000 aa", ErrorKind::truncated},
      {"a length past everything", "0100 ffffffff aa", ErrorKind::truncated},
      {"one byte behind", "0100 01000000 aa 02", ErrorKind::truncated},
      {"a tag twice", "0100 00000000 0200 00000000 0100 00000000", ErrorKind::invalid},
  };
  for (const Row& row : rows) {
    const auto fields = read_fields(hex(row.bytes));
    ASSERT_FALSE(fields) << row.name;
    EXPECT_EQ(fields.error().kind(), row.kind) << row.name;
  }
}

}  // namespace
}  // namespace godwit::volume
