// Which blocks are here and who waits for which: silo.md 7.3 rule by rule.
#include "volume/core/waiting_cache.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

constexpr std::uint64_t kB = 100;
const Geometry kGeometry{3 * kB + 10, kB};  // blocks 0 1 2, and a short one, 3

std::vector<std::uint64_t> needs_of(WaitingCache& cache) {
  std::vector<std::uint64_t> needs;
  while (const std::optional<BlockIndex> block = cache.poll_need()) needs.push_back(block->value);
  return needs;
}
using Blocks = std::vector<std::uint64_t>;

TEST(WaitingCache, AReadWaitsForEveryBlockItTouches) {
  WaitingCache cache(kGeometry);
  EXPECT_FALSE(cache.want_read(1, 50, 100));
  EXPECT_EQ(needs_of(cache), (Blocks{0, 1}));
  cache.note_remote_write(0, kB);
  EXPECT_FALSE(cache.poll_ready());
  cache.note_remote_write(kB, kB);
  EXPECT_EQ(cache.poll_ready(), 1u);
  EXPECT_TRUE(cache.want_read(2, 0, 2 * kB));
}

TEST(WaitingCache, ABlockIsAskedForOnceHoweverManyWait) {
  WaitingCache cache(kGeometry);
  EXPECT_FALSE(cache.want_read(1, 0, kB));
  EXPECT_FALSE(cache.want_read(2, 0, 2 * kB));
  EXPECT_EQ(needs_of(cache), (Blocks{0, 1}));
  EXPECT_TRUE(needs_of(cache).empty());
  cache.note_remote_write(0, 2 * kB);
  EXPECT_EQ(cache.poll_ready(), 1u);
  EXPECT_EQ(cache.poll_ready(), 2u);
}

TEST(WaitingCache, ABlockThatCameBeforeItWasAskedForIsNotAskedFor) {
  WaitingCache cache(kGeometry);
  EXPECT_FALSE(cache.want_read(1, 0, kB));
  cache.note_remote_write(0, kB);
  EXPECT_TRUE(needs_of(cache).empty());
}

TEST(WaitingCache, AWriteWaitsForItsPartlyCoveredEdgesOnlyAndAsksForThem) {
  struct {
    const char* name;
    std::uint64_t offset, length;
    Blocks needs;
  } rows[] = {{"whole blocks", 0, 2 * kB, {}},
              {"a part of one", 10, 20, {0}},
              {"both edges", 50, 2 * kB, {0, 2}},
              {"the first edge", 50, 150, {0}},
              {"the short last block whole", 3 * kB, 10, {}},
              {"the short last block in part", 3 * kB, 5, {3}}};
  for (const auto& row : rows) {
    WaitingCache cache(kGeometry);
    EXPECT_EQ(cache.want_write(1, row.offset, row.length), row.needs.empty()) << row.name;
    EXPECT_EQ(needs_of(cache), row.needs) << row.name;
  }
}

TEST(WaitingCache, ALocalWriteKeepsTheBlockAndTellsTheSourceOnce) {
  WaitingCache cache(kGeometry);
  cache.note_local_write(0, 2 * kB);
  EXPECT_TRUE(cache.is_local(BlockIndex{0}));
  EXPECT_EQ(cache.local_count(), 2u);
  const std::optional<WaitingCache::Run> run = cache.poll_dont_need();
  ASSERT_TRUE(run);
  EXPECT_EQ(run->first.value, 0u);
  EXPECT_EQ(run->count, 2u);
  cache.note_local_write(0, 2 * kB);
  EXPECT_FALSE(cache.poll_dont_need()) << "nothing of it was absent";
  cache.note_dirty(BlockIndex{0});
  EXPECT_TRUE(cache.is_present(BlockIndex{0})) << "L stays";
}

TEST(WaitingCache, APartlyCoveredBlockIsNotMarkedByAnyWrite) {
  WaitingCache cache(kGeometry);
  cache.note_remote_write(50, kB);
  cache.note_local_write(10, kB);
  EXPECT_EQ(cache.present_count(), 0u);
}

TEST(WaitingCache, TheShortLastBlockIsWholeWhenAWriteReachesTheEnd) {
  WaitingCache cache(kGeometry);
  cache.note_remote_write(0, kGeometry.size_bytes);
  EXPECT_TRUE(cache.is_whole());
}

TEST(WaitingCache, ADirtyBlockIsAbsentAgainAndIsAskedForAgain) {
  WaitingCache cache(kGeometry);
  cache.note_already_have(BlockIndex{1});
  EXPECT_TRUE(cache.want_read(1, kB, kB));
  cache.note_dirty(BlockIndex{1});
  EXPECT_EQ(cache.present_count(), 0u);
  EXPECT_FALSE(cache.want_read(2, kB, kB));
  EXPECT_EQ(needs_of(cache), (Blocks{1}));
}

TEST(WaitingCache, OnANewConnectionWhatIsWaitedForIsAskedForAgain) {
  WaitingCache cache(kGeometry);
  cache.want_read(1, 0, 2 * kB);
  needs_of(cache);
  cache.note_remote_write(0, kB);
  cache.ask_again();
  EXPECT_EQ(needs_of(cache), (Blocks{1}));
}

TEST(WaitingCache, AForgottenWaiterIsNotNamed) {
  WaitingCache cache(kGeometry);
  cache.want_read(1, 0, kB);
  cache.want_read(2, 0, kB);
  cache.forget(1);
  cache.note_remote_write(0, kB);
  EXPECT_EQ(cache.poll_ready(), 2u);
  EXPECT_FALSE(cache.poll_ready());
}

TEST(WaitingCache, ResetMakesEverythingAbsent) {
  WaitingCache cache(kGeometry);
  cache.note_remote_write(0, kGeometry.size_bytes);
  cache.reset();
  EXPECT_EQ(cache.present_count(), 0u);
  EXPECT_FALSE(cache.want_read(1, 0, 1));
}

}  // namespace
}  // namespace godwit::volume
