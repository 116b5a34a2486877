// Which writes make a block dirty, by silo.md 6.2.
#include "volume/core/dirty_tracker.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace godwit::volume {
namespace {

std::set<std::uint64_t> members(const Bitset& blocks) {
  std::set<std::uint64_t> all;
  for (std::uint64_t b = blocks.next_set(0); b < blocks.size(); b = blocks.next_set(b + 1)) all.insert(b);
  return all;
}

TEST(DirtyTracker, ABlockNeverReadIsNeverDirty) {
  DirtyTracker tracker(8);
  tracker.note_write(0, 8);
  EXPECT_EQ(tracker.dirty_count(), 0u);
  EXPECT_TRUE(tracker.take().none());
}

TEST(DirtyTracker, AWriteBehindTheReadMakesDirtyOnce) {
  DirtyTracker tracker(8);
  tracker.track(2, 5);
  tracker.note_write(0, 4);
  tracker.note_write(3, 8);
  EXPECT_EQ(tracker.dirty_count(), 3u);
  EXPECT_EQ(members(tracker.take()), (std::set<std::uint64_t>{2, 3, 4}));
  EXPECT_EQ(tracker.dirty_count(), 0u);
}

TEST(DirtyTracker, WhatWasTakenIsDirtyAgainOnlyOnceItIsReadAgain) {
  DirtyTracker tracker(4);
  tracker.track(0, 4);
  tracker.note_write(1, 2);
  tracker.take();
  tracker.note_write(1, 3);
  EXPECT_EQ(members(tracker.take()), (std::set<std::uint64_t>{2})) << "block 1 will be read after this write anyway";
  tracker.track(1, 2);
  tracker.note_write(1, 2);
  EXPECT_EQ(members(tracker.take()), (std::set<std::uint64_t>{1}));
}

TEST(DirtyTracker, ResetForgetsWhatAnEarlierMigrationRead) {
  DirtyTracker tracker(4);
  tracker.track(0, 4);
  tracker.note_write(0, 1);
  tracker.reset();
  tracker.note_write(0, 4);
  EXPECT_TRUE(tracker.take().none());
}

// Whatever the order of reads, writes and takes: a migrator that reads what it is given ends with the newest version of each
// block.
TEST(DirtyTracker, NoWriteIsLostWhateverTheOrder) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    constexpr std::uint64_t kBlocks = 10;
    DirtyTracker tracker(kBlocks);
    std::uint64_t volume[kBlocks] = {}, copy[kBlocks] = {};
    std::set<std::uint64_t> to_send;
    for (std::uint64_t b = 0; b < kBlocks; ++b) to_send.insert(b);
    const auto send = [&](std::uint64_t b) {
      tracker.track(b, b + 1);
      copy[b] = volume[b];
      to_send.erase(b);
    };
    for (int step = 0; step < 200; ++step) {
      const std::uint64_t b = random.below(kBlocks);
      if (random.chance(0.5)) {
        ++volume[b];
        tracker.note_write(b, b + 1);
      } else if (!to_send.empty()) {
        send(*to_send.begin());
      } else {
        to_send = members(tracker.take());
      }
    }
    while (!to_send.empty() || tracker.dirty_count() > 0) {
      if (to_send.empty()) to_send = members(tracker.take());
      send(*to_send.begin());
    }
    for (std::uint64_t b = 0; b < kBlocks; ++b) ASSERT_EQ(copy[b], volume[b]) << "seed " << seed << ", block " << b;
  }
}

}  // namespace
}  // namespace godwit::volume
