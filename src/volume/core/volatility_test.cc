// How hot a block is: writes not yet forgotten.
#include "volume/core/volatility.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

constexpr Instant at(std::int64_t seconds) {
  return Instant{} + Duration::seconds(static_cast<double>(seconds));
}

TEST(Volatility, CountsTheWritesOfEachBlock) {
  VolatilityMonitor monitor({});
  monitor.note_write(at(0), 3, 5);
  monitor.note_write(at(1), 4, 5);
  EXPECT_EQ(monitor.count(2), 0u);
  EXPECT_EQ(monitor.count(3), 1u);
  EXPECT_EQ(monitor.count(4), 2u);
  EXPECT_EQ(monitor.counts().size(), 2u);
}

TEST(Volatility, ForgetsAWriteAtItsExpiryNotBefore) {
  VolatilityMonitor monitor({.expiry = Duration::seconds(10), .writes_max = 100});
  monitor.note_write(at(0), 1, 2);
  monitor.note_write(at(5), 1, 2);
  monitor.expire(at(9));
  EXPECT_EQ(monitor.count(1), 2u);
  monitor.expire(at(10));
  EXPECT_EQ(monitor.count(1), 1u);
  monitor.expire(at(15));
  EXPECT_TRUE(monitor.counts().empty());
}

TEST(Volatility, AWriteOverMoreThan64BlocksSaysNothing) {
  VolatilityMonitor monitor({});
  monitor.note_write(at(0), 0, 65);
  EXPECT_TRUE(monitor.counts().empty());
  monitor.note_write(at(0), 0, 64);
  EXPECT_EQ(monitor.counts().size(), 64u);
}

TEST(Volatility, ForgetsTheOldestWhenThereAreTooMany) {
  VolatilityMonitor monitor({.expiry = Duration::seconds(1000), .writes_max = 3});
  for (std::uint64_t block = 0; block < 5; ++block) monitor.note_write(at(0), block, block + 1);
  EXPECT_EQ(monitor.counts(), (std::map<std::uint64_t, std::uint32_t>{{2, 1}, {3, 1}, {4, 1}}));
}

}  // namespace
}  // namespace godwit::volume
