#include "homa/driver/spin_gauge.h"

#include <gtest/gtest.h>

namespace godwit::homa {
namespace {

constexpr Instant kStart{1'000'000'000};

// How many waits pass until a look is wanted.
int waits_until_look(SpinGauge& gauge, Instant at = kStart) {
  for (int waits = 1; waits <= 10'000; ++waits)
    if (gauge.wants_look(at)) return waits;
  return -1;
}

void make_pay(SpinGauge& gauge, Instant at = kStart) {
  ASSERT_GT(waits_until_look(gauge, at), 0);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(gauge.wants_look(at));
    gauge.note_look(true);
  }
}

TEST(SpinGauge, TriesALookAfterSoManyWaits) {
  SpinGauge gauge;
  EXPECT_EQ(waits_until_look(gauge), 64);
}

TEST(SpinGauge, ALookInVainDoublesTheGapToABound) {
  SpinGauge gauge;
  for (const int gap : {64, 128, 256, 512, 1024, 2048, 4096, 4096}) {
    EXPECT_EQ(waits_until_look(gauge), gap);
    gauge.note_look(false);
  }
}

TEST(SpinGauge, FourFindsInARowMakeItPay) {
  SpinGauge gauge;
  ASSERT_EQ(waits_until_look(gauge), 64);
  for (int i = 0; i < 3; ++i) gauge.note_look(true);
  gauge.note_look(false);
  EXPECT_EQ(waits_until_look(gauge), 128);  // three were not enough
  for (int i = 0; i < 4; ++i) gauge.note_look(true);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(gauge.wants_look(kStart));
    gauge.note_look(true);
  }
}

TEST(SpinGauge, PaysAsLongAsItFindsMoreOftenThanNot) {
  SpinGauge gauge;
  make_pay(gauge);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(gauge.wants_look(kStart));
    gauge.note_look(i % 2 == 0);
  }
}

TEST(SpinGauge, EightMoreMissesThanFindsEndIt) {
  SpinGauge gauge;
  make_pay(gauge);
  for (int i = 0; i < 7; ++i) gauge.note_look(false);
  EXPECT_TRUE(gauge.wants_look(kStart));
  gauge.note_look(false);
  EXPECT_EQ(waits_until_look(gauge), 64);
}

TEST(SpinGauge, LosingTheProcessorTwiceHoldsItForAPauseThatDoubles) {
  SpinGauge gauge;
  Instant at = kStart;
  std::uint64_t losses = 0;
  gauge.note_losses(at, losses);
  for (const std::int64_t pause_ms : {10, 20, 40, 80, 160, 320, 640, 1000, 1000}) {
    at = at + Duration::milliseconds(10);
    ASSERT_TRUE(gauge.is_loss_wanted(at));
    gauge.note_losses(at, losses += 2);
    EXPECT_EQ(waits_until_look(gauge, at + Duration::milliseconds(pause_ms) + Duration{-1}), -1);
    EXPECT_EQ(waits_until_look(gauge, at + Duration::milliseconds(pause_ms)), 64);
  }
}

TEST(SpinGauge, OneLossHoldsNothingAndHalvesTheNextPause) {
  SpinGauge gauge;
  Instant at = kStart;
  gauge.note_losses(at, 0);
  const auto after_10_ms = [&](std::uint64_t losses) { gauge.note_losses(at = at + Duration::milliseconds(10), losses); };
  after_10_ms(2);  // held for 10 ms, the next time for 20
  after_10_ms(3);
  make_pay(gauge, at);
  EXPECT_FALSE(gauge.is_loss_wanted(at));
  after_10_ms(5);  // 10 again
  EXPECT_FALSE(gauge.wants_look(at + Duration::milliseconds(10) + Duration{-1}));
  EXPECT_EQ(waits_until_look(gauge, at + Duration::milliseconds(10)), 64);
}

TEST(SpinGauge, LossesOfALongTimeSayNothing) {
  SpinGauge gauge;
  gauge.note_losses(kStart, 0);
  make_pay(gauge);
  gauge.note_losses(kStart + Duration::milliseconds(500), 100);
  EXPECT_TRUE(gauge.wants_look(kStart + Duration::milliseconds(500)));
}

}  // namespace
}  // namespace godwit::homa
