#include "base/checked.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace godwit {
namespace {

constexpr auto kMax64 = std::numeric_limits<std::uint64_t>::max();
constexpr auto kMaxSigned = std::numeric_limits<std::int64_t>::max();
constexpr auto kMinSigned = std::numeric_limits<std::int64_t>::min();

TEST(Checked, SumsThatFitAreGivenAndOthersAreNot) {
  EXPECT_EQ(checked_add<std::uint64_t>(kMax64 - 1, 1), kMax64);
  EXPECT_FALSE(checked_add<std::uint64_t>(kMax64, 1));
  EXPECT_EQ(checked_add<std::int64_t>(kMaxSigned, kMinSigned), -1);
  EXPECT_FALSE(checked_add<std::int64_t>(kMaxSigned, 1));
  EXPECT_FALSE(checked_add<std::int64_t>(kMinSigned, -1));
  EXPECT_FALSE(checked_add<std::uint8_t>(200, 100));
}

TEST(Checked, ProductsThatFitAreGivenAndOthersAreNot) {
  EXPECT_EQ(checked_multiply<std::uint64_t>(1ULL << 32, (1ULL << 32) - 1), kMax64 - (1ULL << 32) + 1);
  EXPECT_FALSE(checked_multiply<std::uint64_t>(1ULL << 32, 1ULL << 32));
  EXPECT_FALSE(checked_multiply<std::int64_t>(kMinSigned, -1));
  EXPECT_EQ(checked_multiply<std::uint64_t>(0, kMax64), 0U);
}

TEST(Within, RangesAreJudgedWithoutWrapping) {
  EXPECT_TRUE(within(0, 0, 0));
  EXPECT_TRUE(within(10, 0, 10));
  EXPECT_TRUE(within(4, 6, 10));
  EXPECT_FALSE(within(4, 7, 10));
  EXPECT_FALSE(within(11, 0, 10));
  EXPECT_FALSE(within(1, kMax64, 10));
  EXPECT_FALSE(within(kMax64, 1, kMax64));
  EXPECT_TRUE(within(kMax64, 0, kMax64));
}

TEST(DivideUp, CountsThePartialOneAndDoesNotWrap) {
  EXPECT_EQ(divide_up(0U, 4U), 0U);
  EXPECT_EQ(divide_up(1U, 4U), 1U);
  EXPECT_EQ(divide_up(4U, 4U), 1U);
  EXPECT_EQ(divide_up(5U, 4U), 2U);
  EXPECT_EQ(divide_up(kMax64, std::uint64_t{2}), 1ULL << 63);
}

}  // namespace
}  // namespace godwit
