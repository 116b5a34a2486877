#include "base/random.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/bytes.h"

namespace godwit {
namespace {

TEST(Random, SeedOneGivesTheBytesItGivesEverywhere) {
  Random random(1);
  const std::uint64_t first = random.next();
  std::byte bytes[8];
  std::memcpy(bytes, &first, sizeof first);
  EXPECT_EQ(to_hex(bytes), "c15c0289ec2d0a91");
}

TEST(Random, ASeedRepeatsARunAndAnotherDoesNot) {
  Random a(7), b(7), c(8);
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t value = a.next();
    EXPECT_EQ(value, b.next());
    EXPECT_NE(value, c.next());
  }
}

TEST(Random, BelowStaysBelowAndReachesEverything) {
  Random random(3);
  int seen[7] = {};
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = random.below(7);
    ASSERT_LT(value, 7U);
    ++seen[value];
  }
  for (const int count : seen) EXPECT_GT(count, 0);
}

TEST(Random, ChancesOfNothingAndOfEverythingAreExact) {
  Random random(4);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(random.chance(0.0));
    EXPECT_TRUE(random.chance(1.0));
  }
}

TEST(Random, AForkGoesItsOwnWayAndRepeatsWithItsParent) {
  Random a(5), b(5);
  Random fork_a = a.fork(), fork_b = b.fork();
  EXPECT_EQ(fork_a.next(), fork_b.next());
  EXPECT_NE(fork_a.next(), a.next());
}

}  // namespace
}  // namespace godwit
