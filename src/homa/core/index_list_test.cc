#include "homa/core/index_list.h"

#include <vector>

#include <gtest/gtest.h>

namespace godwit::homa {
namespace {

constexpr int kNone = -1;
struct Node {
  int previous = kNone, next = kNone;
};

struct Table {
  Node& at(int index) { return nodes.at(static_cast<std::size_t>(index)); }
  std::vector<Node> nodes = std::vector<Node>(4);
};

struct Scene {
  void put(const std::vector<int>& indices) {
    for (const int index : indices) list.append(table, index);
  }
  // From the first to the last, and checked on the way: every link is told by both its ends.
  std::vector<int> order() {
    std::vector<int> seen;
    for (int at = list.first(), before = kNone; at != kNone; before = at, at = table.at(at).next) {
      EXPECT_EQ(table.at(at).previous, before);
      seen.push_back(at);
    }
    return seen;
  }
  Table table;
  IndexList<Node, int, kNone, &Node::previous, &Node::next> list;
};

TEST(HomaIndexList, KeepsTheOrderInWhichItemsCame) {
  Scene scene;
  EXPECT_TRUE(scene.list.is_empty());
  scene.put({2, 0, 3});
  EXPECT_FALSE(scene.list.is_empty());
  EXPECT_EQ(scene.order(), (std::vector<int>{2, 0, 3}));
}

TEST(HomaIndexList, GivesUpTheFirstAMiddleAndTheLastAndTakesThemAgainAtItsEnd) {
  for (const int gone : {2, 0, 3}) {
    Scene scene;
    scene.put({2, 0, 3});
    std::vector<int> left = {2, 0, 3};
    std::erase(left, gone);
    scene.list.remove(scene.table, gone);
    EXPECT_EQ(scene.order(), left) << gone;
    scene.put({gone});
    left.push_back(gone);
    EXPECT_EQ(scene.order(), left) << gone;
  }
}

TEST(HomaIndexList, IsEmptyAgainAfterItsOnlyItem) {
  Scene scene;
  scene.put({1});
  scene.list.remove(scene.table, 1);
  EXPECT_TRUE(scene.list.is_empty());
  scene.put({3});
  EXPECT_EQ(scene.order(), (std::vector<int>{3}));
}

}  // namespace
}  // namespace godwit::homa
