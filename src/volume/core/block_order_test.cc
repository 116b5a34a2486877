// In which order blocks travel: the vectors of silo.md 6.1, and a naive model beside random calls.
#include "volume/core/block_order.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::volume {
namespace {

std::vector<std::uint64_t> take_all(BlockOrder& order) {
  std::vector<std::uint64_t> taken;
  while (const std::optional<BlockOrder::Next> next = order.take()) taken.push_back(next->block.value);
  return taken;
}
using Blocks = std::vector<std::uint64_t>;

TEST(BlockOrder, TheSpecificationsVectors) {
  struct {
    const char* name;
    std::vector<int> writes;
    Blocks expected;
  } rows[] = {{"one write each", {1, 1, 1, 1, 1, 1, 1, 1}, {7, 6, 5, 4, 3, 2, 1, 0}},
              {"some hot, most cold", {3, 0, 2, 0, 0, 1, 0, 0}, {1, 3, 4, 6, 7, 5, 2, 0}},
              {"all cold", {0, 0, 0}, {0, 1, 2}}};
  for (const auto& row : rows) {
    VolatilityMonitor monitor({});
    for (std::uint64_t b = 0; b < row.writes.size(); ++b)
      for (int i = 0; i < row.writes[b]; ++i) monitor.note_write(Instant{}, b, b + 1);
    BlockOrder order(row.writes.size(), OrderKind::volatility, &monitor);
    order.add_all();
    EXPECT_EQ(take_all(order), row.expected) << row.name;
  }
}

TEST(BlockOrder, AnyGivesTheLowest) {
  BlockOrder order(5, OrderKind::any, nullptr);
  order.add_all();
  order.remove(1, 3);
  EXPECT_EQ(take_all(order), (Blocks{0, 3, 4}));
}

TEST(BlockOrder, NeededBlocksGoFirstInTheOrderOfTheirFirstRequest) {
  BlockOrder order(8, OrderKind::any, nullptr);
  order.add_all();
  for (const std::uint64_t b : {5, 2, 5, 7, 2}) order.need(BlockIndex{b});
  for (const std::uint64_t b : {5, 2, 7}) {
    const std::optional<BlockOrder::Next> next = order.take();
    EXPECT_EQ(next->block.value, b);
    EXPECT_TRUE(next->urgent);
  }
  EXPECT_FALSE(order.has_urgent());
  EXPECT_FALSE(order.take()->urgent);
}

TEST(BlockOrder, ANeedOfABlockAlreadyTakenOrBeyondTheEndIsIgnored) {
  BlockOrder order(3, OrderKind::any, nullptr);
  order.add_all();
  EXPECT_EQ(order.take()->block.value, 0u);
  order.need(BlockIndex{0});
  order.need(BlockIndex{3});
  EXPECT_FALSE(order.has_urgent());
}

TEST(BlockOrder, ARemovedBlockIsNotUrgentAnyMore) {
  BlockOrder order(4, OrderKind::any, nullptr);
  order.add_all();
  order.need(BlockIndex{2});
  order.remove(2, 3);
  EXPECT_FALSE(order.has_urgent());
  Bitset again(4);
  again.set(2);
  order.add(again);
  order.need(BlockIndex{2});
  EXPECT_TRUE(order.has_urgent());
}

TEST(BlockOrder, ARunEndsWhereABlockIsGone) {
  BlockOrder order(10, OrderKind::any, nullptr);
  order.add_all();
  order.remove(6, 7);
  EXPECT_EQ(order.take()->block.value, 0u);
  EXPECT_EQ(order.take_run(1, 4), 4u);
  EXPECT_EQ(order.take_run(4, 10), 6u);
  EXPECT_EQ(order.count(), 3u);
}

// Against a model that looks at everything each time. Where all that is left is hot, the order among the hot ones may lag behind
// their heat (it is looked at afresh after each eighth); that all of them come once is what is asked then.
TEST(BlockOrder, AgreesWithANaiveModel) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const std::uint64_t blocks = 1 + random.below(40);
    const bool by_heat = random.chance(0.5);
    VolatilityMonitor monitor({});
    BlockOrder order(blocks, by_heat ? OrderKind::volatility : OrderKind::any, &monitor);
    std::vector<bool> unsent(blocks, false);
    std::vector<std::uint64_t> needed;
    const auto left = [&] { return static_cast<std::uint64_t>(std::count(unsent.begin(), unsent.end(), true)); };
    for (int step = 0; step < 200; ++step) {
      const std::uint64_t b = random.below(blocks);
      switch (random.below(6)) {
        case 0: {
          Bitset set(blocks);
          set.set(b);
          order.add(set);
          unsent[b] = true;
          break;
        }
        case 1:
          order.remove(b, b + 1);
          unsent[b] = false;
          std::erase(needed, b);
          break;
        case 2:
          order.need(BlockIndex{b});
          if (unsent[b] && std::find(needed.begin(), needed.end(), b) == needed.end()) needed.push_back(b);
          break;
        case 3: monitor.note_write(Instant{step}, b, b + 1); break;
        default: {
          const std::optional<BlockOrder::Next> next = order.take();
          ASSERT_EQ(next.has_value(), left() > 0) << "seed " << seed;
          if (!next) break;
          ASSERT_TRUE(unsent[next->block.value]) << "seed " << seed;
          if (needed.empty()) {
            ASSERT_FALSE(next->urgent) << "seed " << seed;
            const auto cold = [&](std::uint64_t n) { return unsent[n] && (!by_heat || monitor.count(n) == 0); };
            std::uint64_t first_cold = 0;
            while (first_cold < blocks && !cold(first_cold)) ++first_cold;
            if (first_cold < blocks) {
              ASSERT_EQ(next->block.value, first_cold) << "seed " << seed;
            }
          } else {
            ASSERT_TRUE(next->urgent) << "seed " << seed;
            ASSERT_EQ(next->block.value, needed.front()) << "seed " << seed;
            needed.erase(needed.begin());
          }
          unsent[next->block.value] = false;
        }
      }
      ASSERT_EQ(order.count(), left()) << "seed " << seed;
    }
  }
}

}  // namespace
}  // namespace godwit::volume
