#include "homa/core/cutoffs.h"

#include <gtest/gtest.h>

namespace godwit::homa {
namespace {

constexpr std::uint32_t kInf = kCutoffInfinite;
using Levels = std::array<std::uint32_t, kPriorityCount>;

TEST(HomaCutoffs, ALengthUsesTheHighestLevelThatTakesIt) {
  const Cutoffs cutoffs = own_cutoffs(Config{});
  struct Row {
    std::uint32_t length;
    std::uint8_t priority;
  };
  for (const Row row :
       {Row{1, 7}, {200, 7}, {201, 6}, {2800, 6}, {2801, 5}, {15'000, 5}, {15'001, 4}, {1'000'000, 4}, {30'000'000, 4}})
    EXPECT_EQ(unscheduled_priority(cutoffs, row.length, 8), row.priority) << row.length;
  EXPECT_EQ(max_scheduled_priority(cutoffs), 3);
}

TEST(HomaCutoffs, UntilAPeerSaysOtherwiseEverythingUsesTheLevelBelowTheTop) {
  EXPECT_EQ(assumed_cutoffs(8).version, 0);
  EXPECT_EQ(unscheduled_priority(assumed_cutoffs(8), 1, 8), 6);
  EXPECT_EQ(unscheduled_priority(assumed_cutoffs(8), 1'000'000, 8), 6);
  EXPECT_EQ(unscheduled_priority(assumed_cutoffs(1), 100, 1), 0);
}

TEST(HomaCutoffs, ReceivedOnesAlwaysHaveALevelForEveryLength) {
  const Cutoffs cutoffs = received_cutoffs({{0, 0, 0, 0, 0, 0, 0, 5}, 9}, 4);
  EXPECT_EQ(cutoffs.version, 9);
  EXPECT_EQ(unscheduled_priority(cutoffs, 1, 4), 0);
  EXPECT_EQ(unscheduled_priority(cutoffs, 0xffff'ffff, 4), 0);
}

TEST(HomaCutoffs, LevelsAboveTheConfiguredOnesTakeNothing) {
  Config config;
  config.num_priorities = 5;
  EXPECT_EQ(own_cutoffs(config).longest, (Levels{0, 0, 0, 0, kInf, 0, 0, 0}));
}

// homa.md 6.3, the worked example.
TEST(HomaCutoffs, TheWorkedExampleOfTheAllocatorComesOut) {
  const LengthBucket buckets[] = {{64, 640'000, 640'000},
                                  {512, 512'000, 512'000},
                                  {1500, 1'500'000, 1'500'000},
                                  {10'000, 1'000'000, 1'000'000},
                                  {50'000, 500'000, 160'000}};
  const Levels levels = allocate_levels(buckets, 4'152'000, 3'812'000, 8);
  EXPECT_EQ(levels, (Levels{kInf, kInf, kInf, kInf, kInf, 10'000, 1500, 64}));
  EXPECT_EQ(max_scheduled_priority({levels, 1}), 3);
}

TEST(HomaCutoffs, FewUnscheduledBytesGetOneLevel) {
  const LengthBucket buckets[] = {{100, 1000, 1000}, {1000, 100'000, 2000}};
  EXPECT_EQ(allocate_levels(buckets, 101'000, 3000, 8), (Levels{kInf, kInf, kInf, kInf, kInf, kInf, kInf, kInf}));
  EXPECT_EQ(allocate_levels(buckets, 101'000, 3000, 8, 7), (Levels{kInf, kInf, kInf, kInf, kInf, kInf, kInf, 100}));
  EXPECT_EQ(allocate_levels({}, 0, 0, 2), (Levels{kInf, kInf, 0, 0, 0, 0, 0, 0}));
}

TEST(HomaCutoffs, TheHistogramEstimatesCountsFromBytes) {
  LengthHistogram histogram;
  for (int i = 0; i < 100; ++i) histogram.add(64);
  histogram.add(4096);
  histogram.add(4097);
  histogram.add(131'072);
  for (int i = 0; i < 3; ++i) histogram.add(1'000'000);
  EXPECT_EQ(histogram.messages(), 106u);
  const std::vector<LengthBucket> buckets = histogram.buckets(10'000);
  ASSERT_EQ(buckets.size(), 64u + 124u);
  EXPECT_EQ(buckets[0].upper, 64u);
  EXPECT_EQ(buckets[0].bytes, 6400u);
  EXPECT_EQ(buckets[63].upper, 4096u);
  EXPECT_EQ(buckets[63].bytes, 4096u);
  EXPECT_EQ(buckets[64].upper, 5120u);
  EXPECT_EQ(buckets[64].unscheduled_bytes, 4097u);
  EXPECT_EQ(buckets.back().upper, 131'072u);
  EXPECT_EQ(buckets.back().unscheduled_bytes, 10'000u);  // 2*131072/(131072+130048) = 1 message
  EXPECT_EQ(histogram.unscheduled_total(10'000), 6400u + 4096 + 4097 + 10'000 + 3 * 10'000);
}

Config allocating() {
  Config config;
  config.allocate_messages_min = 1000;
  return config;
}

TEST(HomaCutoffs, TheAllocatorWaitsForEnoughMessagesAndForChange) {
  const Config config = allocating();
  CutoffAllocator allocator(config);
  Instant now;
  const auto second_of = [&](std::uint32_t length, int messages) {
    for (int i = 0; i < messages; ++i) allocator.handle_message_received(length);
    now = now + Duration::seconds(1);
    return allocator.handle_time(now);
  };
  EXPECT_FALSE(allocator.handle_time(now));  // the first period begins
  EXPECT_FALSE(second_of(100, 999)) << "too few messages";
  EXPECT_TRUE(second_of(100, 1000));
  EXPECT_EQ(allocator.current().version, 2);
  EXPECT_FALSE(second_of(100, 5000)) << "the same lengths as before";
  EXPECT_EQ(allocator.current().version, 2);
  EXPECT_TRUE(second_of(10'000, 5000));
  EXPECT_EQ(allocator.current().version, 3);
}

TEST(HomaCutoffs, VersionZeroIsSkippedWhenItWraps) {
  Config config;
  config.allocate_messages_min = 10;
  CutoffAllocator allocator(config);
  Instant now;
  allocator.handle_time(now);
  for (int round = 0; round < 65'535; ++round) {
    for (std::uint64_t i = 0; i < config.allocate_messages_min; ++i)
      allocator.handle_message_received(round % 2 == 0 ? 50 : 100'000);
    now = now + Duration::seconds(1);
    ASSERT_TRUE(allocator.handle_time(now));
    ASSERT_NE(allocator.current().version, 0);
  }
  EXPECT_EQ(allocator.current().version, 1);
}

}  // namespace
}  // namespace godwit::homa
