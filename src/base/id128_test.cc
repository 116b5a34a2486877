#include "base/id128.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

using Id = Id128<struct TestTag>;

TEST(Id128, NoneIsAllZerosAndNothingElse) {
  EXPECT_TRUE(Id{}.is_none());
  Random random(1);
  EXPECT_FALSE(Id::random(random).is_none());
}

TEST(Id128, KeepsItsBytesInTheirOrder) {
  const Bytes bytes = from_hex("000102030405060708090a0b0c0d0e0f").value();
  const Id id = Id::from(bytes);
  EXPECT_EQ(id.hex(), "000102030405060708090a0b0c0d0e0f");
  EXPECT_EQ(to_bytes(id.view()), bytes);
}

TEST(Id128, ASeedRepeatsTheSameNames) {
  Random a(2), b(2);
  const Id first = Id::random(a);
  EXPECT_EQ(first, Id::random(b));
  EXPECT_NE(first, Id::random(a));
}

TEST(Id128, OrdersByBytes) {
  Id low, high;
  low.bytes[15] = std::byte{0xff};
  high.bytes[0] = std::byte{1};
  EXPECT_LT(low, high);
}

}  // namespace
}  // namespace godwit
