#include "base/varint.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/random.h"

namespace godwit {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

TEST(Varint, KnownNumbersHaveKnownBytes) {
  const std::pair<std::uint64_t, std::string> rows[] = {
      {0, "00"},
      {1, "01"},
      {127, "7f"},
      {128, "8001"},
      {300, "ac02"},
      {16383, "ff7f"},
      {16384, "808001"},
      {std::numeric_limits<std::uint32_t>::max(), "ffffffff0f"},
      {std::numeric_limits<std::uint64_t>::max(), "ffffffffffffffffff01"},
  };
  for (const auto& [value, text] : rows) {
    Bytes out;
    write_varint(out, value);
    EXPECT_EQ(to_hex(out), text);
    Cursor in(out);
    EXPECT_EQ(read_varint(in), value);
    EXPECT_TRUE(in.at_end());
  }
}

TEST(Varint, NumbersOfEveryLengthRoundTrip) {
  Random random(1);
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t value = random.next() >> random.below(64);
    Bytes out;
    write_varint(out, value);
    Cursor in(out);
    ASSERT_EQ(read_varint(in), value);
    ASSERT_TRUE(in.at_end());
  }
}

TEST(Varint, LongerThanNeededIsAcceptedUpToTenBytes) {
  const Bytes bytes = hex("80808080808080808000");
  Cursor in(bytes);
  EXPECT_EQ(read_varint(in), 0U);
  EXPECT_TRUE(in.at_end());
}

TEST(Varint, WhatIsCutOffOrDoesNotFitFailsTheCursor) {
  const std::pair<std::string, std::string> rows[] = {
      {"nothing", ""},
      {"cut off", "80"},
      {"cut off after nine", "808080808080808080"},
      {"eleven bytes", "8080808080808080808001"},
      {"a 65th bit", "ffffffffffffffffff02"},
      {"ten bytes that go on", "ffffffffffffffffff81"},
  };
  for (const auto& [name, text] : rows) {
    const Bytes bytes = hex(text);
    Cursor in(bytes);
    EXPECT_EQ(read_varint(in), 0U) << name;
    EXPECT_FALSE(in.ok()) << name;
  }
}

TEST(Zigzag, SmallNumbersOfBothSignsAreSmall) {
  const std::pair<std::int64_t, std::uint64_t> rows[] = {
      {0, 0},
      {-1, 1},
      {1, 2},
      {2, 4},
      {40, 0x50},
      {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::uint64_t>::max() - 1},
      {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::uint64_t>::max()},
  };
  for (const auto& [value, coded] : rows) {
    EXPECT_EQ(zigzag(value), coded);
    EXPECT_EQ(unzigzag(coded), value);
  }
}

}  // namespace
}  // namespace godwit
