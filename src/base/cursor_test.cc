#include "base/cursor.h"

#include <gtest/gtest.h>

#include <limits>

namespace godwit {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

TEST(Cursor, EveryFieldIsReadInTheOrderOfBytesItSays) {
  const Bytes bytes = hex("01 0203 04050607 08090a0b0c0d0e0f 0203 04050607 08090a0b0c0d0e0f");
  Cursor in(bytes);
  EXPECT_EQ(in.u8(), 0x01);
  EXPECT_EQ(in.u16_le(), 0x0302);
  EXPECT_EQ(in.u32_le(), 0x07060504U);
  EXPECT_EQ(in.u64_le(), 0x0f0e0d0c0b0a0908U);
  EXPECT_EQ(in.u16_be(), 0x0203);
  EXPECT_EQ(in.u32_be(), 0x04050607U);
  EXPECT_EQ(in.u64_be(), 0x08090a0b0c0d0e0fU);
  EXPECT_TRUE(in.at_end());
}

TEST(Cursor, SignedFieldsAreTwosComplement) {
  const Bytes bytes = hex("ffffffff feffffffffffffff 00000080");
  Cursor in(bytes);
  EXPECT_EQ(in.i32_le(), -1);
  EXPECT_EQ(in.i64_le(), -2);
  EXPECT_EQ(in.i32_le(), std::numeric_limits<std::int32_t>::min());
}

TEST(Cursor, AReadPastTheEndFailsAndSoDoesEverythingAfterIt) {
  const Bytes bytes = hex("01020304");
  Cursor in(bytes);
  EXPECT_EQ(in.u8(), 1);
  EXPECT_EQ(in.u32_le(), 0U);
  EXPECT_FALSE(in.ok());
  EXPECT_FALSE(in.at_end());
  EXPECT_EQ(in.u8(), 0) << "bytes are there, but the cursor has failed";
  EXPECT_TRUE(in.rest().empty());
}

TEST(Cursor, TakeBorrowsAndNeverReachesPastTheEnd) {
  const Bytes bytes = hex("0102030405");
  Cursor in(bytes);
  EXPECT_EQ(in.take(2).data(), bytes.data());
  EXPECT_EQ(in.offset(), 2U);
  EXPECT_EQ(in.remaining(), 3U);
  EXPECT_TRUE(in.take(std::numeric_limits<std::size_t>::max()).empty());
  EXPECT_FALSE(in.ok());
}

TEST(Cursor, NothingCanBeTakenFromNothing) {
  Cursor in(ConstBytes{});
  EXPECT_TRUE(in.at_end());
  EXPECT_TRUE(in.take(0).empty());
  EXPECT_TRUE(in.rest().empty());
  EXPECT_TRUE(in.ok());
  (void)in.u8();
  EXPECT_FALSE(in.ok());
}

TEST(Cursor, CanBeFailedByItsUser) {
  const Bytes bytes = hex("01");
  Cursor in(bytes);
  in.fail();
  EXPECT_FALSE(in.ok());
}

TEST(Writer, WritesWhatACursorReads) {
  Bytes out = hex("ee");  // it appends
  Writer writer(out);
  writer.u8(0x01);
  writer.u16_le(0x0302);
  writer.u32_le(0x07060504);
  writer.u64_le(0x0f0e0d0c0b0a0908);
  writer.u16_be(0x0203);
  writer.u32_be(0x04050607);
  writer.u64_be(0x08090a0b0c0d0e0f);
  writer.i32_le(-1);
  writer.i64_le(-2);
  writer.bytes(hex("aabb"));
  writer.text("hi");
  EXPECT_EQ(to_hex(out),
            "ee0102030405060708090a0b0c0d0e0f02030405060708090a0b0c0d0e0f"
            "fffffffffeffffffffffffffaabb6869");
}

}  // namespace
}  // namespace godwit
