#include "base/bytes.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Bytes, HexRoundTripsAndSkipsWhatASpecificationPutsBetween) {
  Result<Bytes> bytes = from_hex("00 01|ff\nAb");
  ASSERT_TRUE(bytes);
  EXPECT_EQ(to_hex(*bytes), "0001ffab");
  EXPECT_FALSE(from_hex("0"));
  EXPECT_FALSE(from_hex("0g"));
}

TEST(Bytes, ZeroIsFoundAtEveryLengthAndPosition) {
  for (std::size_t size = 0; size < 70; ++size) {
    Bytes bytes(size);
    EXPECT_TRUE(is_zero(bytes)) << size;
    for (std::size_t at = 0; at < size; ++at) {
      bytes[at] = std::byte{1};
      EXPECT_FALSE(is_zero(bytes)) << size << " at " << at;
      bytes[at] = std::byte{0};
    }
  }
}

}  // namespace
}  // namespace godwit
