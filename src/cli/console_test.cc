#include "cli/console.h"

#include <gtest/gtest.h>

namespace godwit::cli {
namespace {

TEST(Console, ProgressShowsWhatIsLeftAndNeverSays100TooEarly) {
  Progress progress;
  progress.title = "disk";
  progress.bytes_total = 1 << 30;
  progress.bytes_left = 1 << 30;
  EXPECT_EQ(progress_text(progress, 0), "disk    0.0%  1.0 GiB left");
  progress.bytes_left = 1;
  EXPECT_EQ(progress_text(progress, 0), "disk   99.9%  1 B left");
  progress.bytes_left = 0;
  EXPECT_EQ(progress_text(progress, 4), "disk  [====]  100.0%  0 B left");
  progress.bytes_left = 512 << 20;
  progress.bytes_per_second = 64 << 20;
  progress.note = "round 2";
  EXPECT_EQ(progress_text(progress, 4), "disk  [==> ]   50.0%  512.0 MiB left  64.0 MiB/s  ETA 8 s  round 2");
}

TEST(Console, ProgressTowardsNobodyKnowsWhatHasNoShareAndNoEnd) {
  Progress progress;
  progress.title = "tree";
  progress.is_total_known = false;
  progress.bytes_total = 3 << 20;
  progress.bytes_per_second = 1 << 20;
  progress.note = "2.0 MiB new";
  EXPECT_EQ(progress_text(progress, 24), "tree  3.0 MiB so far  1.0 MiB/s  2.0 MiB new");
}

TEST(Console, ProgressOfNothingIsNoDivisionByZero) {
  EXPECT_EQ(progress_text(Progress{}, 2), "  [> ]    0.0%  0 B left");
}

TEST(Console, TheRateFollowsTheLastFewSeconds) {
  RateMeter meter;
  EXPECT_EQ(meter.update(1, 100), 100);
  EXPECT_EQ(meter.update(1.01, 5000), 100);  // too soon to tell
  for (int second = 2; second < 20; ++second) (void)meter.update(second, 100 + 1000 * (second - 1));
  EXPECT_NEAR(meter.update(20, 19100), 1000, 1);
  EXPECT_GE(meter.update(21, 0), 0);  // another move began
}

}  // namespace
}  // namespace godwit::cli
