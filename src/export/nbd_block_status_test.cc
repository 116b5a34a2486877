#include "export/nbd_block_status.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::exports {
namespace {

using nbd::Descriptor;
using store::Extent;

constexpr std::uint32_t kHole = nbd::kStateHole | nbd::kStateZero;
constexpr std::uint32_t kZero = nbd::kStateZero;

TEST(NbdBlockStatus, ExtentsBecomeDescriptors) {
  struct Row {
    const char* name;
    std::vector<Extent> extents;
    std::uint64_t offset;
    std::uint32_t length;
    DescriptorLimits limits;
    std::vector<Descriptor> row;
  };
  const Row rows[] = {
      {"one", {{0, 100, false, false}}, 0, 100, {1, 10}, {{100, 0}}},
      {"a hole reads as zeros", {{0, 100, true, false}}, 0, 100, {1, 10}, {{100, kHole}}},
      {"allocated zeros", {{0, 100, false, true}}, 0, 100, {1, 10}, {{100, kZero}}},
      {"neighbours of one state",
       {{0, 10, false, false}, {10, 10, false, false}, {20, 5, true, true}},
       0,
       25,
       {1, 10},
       {{20, 0}, {5, kHole}}},
      {"cut at both ends", {{0, 50, false, false}, {50, 50, true, true}}, 40, 20, {1, 10}, {{10, 0}, {10, kHole}}},
      {"ends early as the device does", {{0, 50, false, false}}, 10, 1000, {1, 10}, {{40, 0}}},
      {"ends early at the limit",
       {{0, 1, false, false}, {1, 1, true, true}, {2, 1, false, false}},
       0,
       3,
       {1, 2},
       {{1, 0}, {1, kHole}}},
      {"only one was asked for", {{0, 1, false, false}, {1, 1, false, false}, {2, 1, true, true}}, 0, 3, {1, 1}, {{2, 0}}},
      {"nothing known", {}, 0, 3, {1, 10}, {}},
      {"a mixed block is data", {{0, 700, true, true}, {700, 324, false, false}}, 0, 1024, {512, 10}, {{512, kHole}, {512, 0}}},
      {"a mixed block of zeros is zeros",
       {{0, 700, true, true}, {700, 324, false, true}},
       0,
       1024,
       {512, 10},
       {{512, kHole}, {512, kZero}}},
      {"three extents in one block",
       {{0, 1, true, true}, {1, 1, false, false}, {2, 1022, true, true}},
       0,
       1024,
       {512, 10},
       {{512, 0}, {512, kHole}}},
      {"the device's end within a block", {{0, 700, true, true}}, 0, 1024, {512, 10}, {{512, kHole}, {512, 0}}},
      {"the last block is whole", {{0, 600, false, false}, {600, 424, true, true}}, 0, 1024, {512, 10}, {{1024, 0}}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(describe(row.extents, row.offset, row.length, row.limits), row.row);
  }
}

// Byte by byte: a block is what all of its bytes have in common.
TEST(NbdBlockStatus, EveryBlockIsWhatItsBytesHaveInCommon) {
  Random random(7);
  for (int round = 0; round < 2000; ++round) {
    const std::uint32_t block = 1U << random.below(4);
    const std::uint64_t size = block * (1 + random.below(20));
    std::vector<Extent> extents;
    std::vector<std::uint32_t> state;
    for (std::uint64_t at = 0; at < size;) {
      std::uint64_t length = std::min<std::uint64_t>(1 + random.below(12), size - at);
      bool hole = random.chance(0.4);
      bool zero = hole || random.chance(0.3);
      extents.push_back({at, length, hole, zero});
      state.insert(state.end(), length, (hole ? nbd::kStateHole : 0) | (zero ? nbd::kStateZero : 0));
      at += length;
    }
    const std::uint64_t offset = block * random.below(size / block);
    std::vector<std::uint32_t> expected;
    for (std::uint64_t at = offset; at < size; at += block) {
      std::uint32_t common = kHole;
      for (std::uint64_t i = at; i < at + block; ++i) common &= state[i];
      expected.insert(expected.end(), block, common);
    }
    std::vector<std::uint32_t> told;
    for (Descriptor d : describe(extents, offset, static_cast<std::uint32_t>(size - offset), {block, 1000}))
      told.insert(told.end(), d.length, d.state);
    ASSERT_EQ(told, expected) << "round " << round;
  }
}

}  // namespace
}  // namespace godwit::exports
