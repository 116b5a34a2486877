#include "host/quantity.h"

#include <gtest/gtest.h>

namespace godwit::host {
namespace {

TEST(Quantity, SizesAreReadAsPeopleWriteThem) {
  const struct {
    std::string_view text;
    std::uint64_t bytes;
  } rows[] = {
      {"1", 1},
      {"4096", 4096},
      {"512B", 512},
      {"64KiB", 65536},
      {"64K", 65536},
      {"64k", 65536},
      {"1MiB", 1 << 20},
      {"10G", 10ull << 30},
      {"2 GiB", 2ull << 30},
      {"1.5TiB", 3ull << 39},
      {"0.5K", 512},
      {"20MB", 20'000'000},
      {"9223372036854775807", INT64_MAX},
  };
  for (const auto& row : rows) {
    const Result<std::uint64_t> bytes = parse_byte_count(row.text);
    ASSERT_TRUE(bytes) << row.text;
    EXPECT_EQ(*bytes, row.bytes) << row.text;
  }
}

TEST(Quantity, WhatIsNoSizeIsWrongUsage) {
  for (const std::string_view text :
       {"", "0", "-1", "many", "1X", "1KiBs", "1.5", "0.1K", "1e3", "9223372036854775808", "8388608T", "nan", "inf", "K"}) {
    const Result<std::uint64_t> bytes = parse_byte_count(text);
    ASSERT_FALSE(bytes) << text;
    EXPECT_EQ(bytes.error().kind(), ErrorKind::usage) << text;
  }
}

TEST(Quantity, BlockSizesArePowersOfTwoWithinTheirLimits) {
  EXPECT_EQ(parse_block_size("4KiB").value(), 4096u);
  EXPECT_EQ(parse_block_size("4MiB").value(), 4u << 20);
  for (const std::string_view text : {"2KiB", "8MiB", "5000", "65537", "x"}) EXPECT_FALSE(parse_block_size(text)) << text;
}

TEST(Quantity, SizesAreShownInTheUnitThatFits) {
  EXPECT_EQ(text_of_bytes(0), "0 B");
  EXPECT_EQ(text_of_bytes(1023), "1023 B");
  EXPECT_EQ(text_of_bytes(1536), "1.5 KiB");
  EXPECT_EQ(text_of_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(text_of_bytes(3ull << 40), "3.0 TiB");
}

}  // namespace
}  // namespace godwit::host
