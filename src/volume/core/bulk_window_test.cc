// How much bulk may be on its way.
#include "volume/core/bulk_window.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

constexpr Instant at(std::int64_t ms) {
  return Instant{} + Duration::milliseconds(ms);
}
const BulkWindow::Limits kLimits{.bytes_min = 1000, .bytes_max = 1'000'000, .memory = Duration::seconds(10)};

TEST(BulkWindow, StaysWithinItsBounds) {
  BulkWindow window(kLimits);
  window.handle_answer(at(1), at(0), 1);
  EXPECT_EQ(window.bytes(), 1000u);
  window.handle_answer(at(101), at(1), 1'000'000'000);
  EXPECT_EQ(window.bytes(), 1'000'000u * 1) << "the shortest trip is 1 ms, the rate 10 GB/s";
}

TEST(BulkWindow, HoldsHalfAsMuchAgainAsThePathDoes) {
  BulkWindow window(kLimits);
  window.handle_answer(at(10), at(0), 100'000);  // 10 ms at 10 MB/s
  EXPECT_EQ(window.bytes(), 150'000u);
  EXPECT_TRUE(window.has_room(149'999));
  EXPECT_FALSE(window.has_room(150'000));
}

TEST(BulkWindow, RemembersTheShortestTripAndTheHighestRateForAWhileOnly) {
  BulkWindow window(kLimits);
  window.handle_answer(at(10), at(0), 100'000);
  window.handle_answer(at(60), at(10), 100'000);  // queued: five times as long, a fifth of the rate
  EXPECT_EQ(window.bytes(), 150'000u);
  window.handle_answer(at(20'060), at(20'010), 100'000);
  EXPECT_EQ(window.bytes(), 150'000u) << "50 ms at 2 MB/s hold the same";
  window.handle_answer(at(40'100), at(40'000), 100'000);
  EXPECT_EQ(window.bytes(), 150'000u);
}

TEST(BulkWindow, AnAnswerThatTookNoTimeSaysNothing) {
  BulkWindow window(kLimits);
  window.handle_answer(at(5), at(5), 100'000);
  EXPECT_EQ(window.bytes(), 2000u);
}

}  // namespace
}  // namespace godwit::volume
