#include "store/inline_writes.h"

#include <gtest/gtest.h>

namespace godwit::store {
namespace {

constexpr Duration kFast = Duration::microseconds(5);
constexpr Instant kStart{1'000'000'000'000};

Instant after(Duration duration) {
  return kStart + duration;
}

TEST(InlineWrites, ShortWholePagesGoInlineAndNothingElse) {
  const InlineWrites writes;
  const struct {
    const char* name;
    std::uint64_t offset, length;
    bool allowed;
  } rows[] = {
      {"a page", 4096, 4096, true},
      {"the longest", 0, InlineWrites::kBytesMax, true},
      {"a page more", 0, InlineWrites::kBytesMax + 4096, false},
      {"begins within a page", 512, 4096, false},
      {"ends within a page", 4096, 512, false},
  };
  for (const auto& row : rows) EXPECT_EQ(writes.allows(row.offset, row.length, kStart), row.allowed) << row.name;
}

TEST(InlineWrites, ASlowOneLeavesTheNextToWorkersForASecond) {
  InlineWrites writes;
  const Instant slow_end = kStart + InlineWrites::kSlow;
  writes.handle_written(kStart, slow_end);
  EXPECT_FALSE(writes.allows(0, 4096, slow_end));
  EXPECT_FALSE(writes.allows(0, 4096, slow_end + (InlineWrites::kPauseMin - kFast)));
  EXPECT_TRUE(writes.allows(0, 4096, slow_end + InlineWrites::kPauseMin));
}

TEST(InlineWrites, EachSlowTryDoublesThePauseUpToAMinute) {
  InlineWrites writes;
  Instant now = kStart;
  for (const int seconds : {1, 2, 4, 8, 16, 32, 60, 60}) {
    writes.handle_written(now, now + InlineWrites::kSlow);
    now = now + InlineWrites::kSlow;
    EXPECT_FALSE(writes.allows(0, 4096, now + (Duration::seconds(seconds) - kFast))) << seconds;
    now = now + Duration::seconds(seconds);
    EXPECT_TRUE(writes.allows(0, 4096, now)) << seconds;
  }
}

TEST(InlineWrites, AMinuteOfFastOnesMakesThePauseShortAgain) {
  InlineWrites writes;
  writes.handle_written(kStart, after(InlineWrites::kSlow));
  const Instant allowed = after(InlineWrites::kSlow + InlineWrites::kPauseMin);
  writes.handle_written(allowed, allowed + kFast);  // too early to forget the slow one
  const Instant later = allowed + InlineWrites::kPauseMax;
  writes.handle_written(later, later + kFast);
  const Instant slow_again = later + Duration::seconds(1);
  writes.handle_written(slow_again, slow_again + InlineWrites::kSlow);
  EXPECT_TRUE(writes.allows(0, 4096, slow_again + InlineWrites::kSlow + InlineWrites::kPauseMin));
}

}  // namespace
}  // namespace godwit::store
