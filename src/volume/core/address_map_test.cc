#include "volume/core/address_map.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

using Entries = std::vector<WriteAtWithMap::Entry>;

TEST(AddressMap, GivesTheIdsOfABlockBySlot) {
  AddressMap map(1024);
  map.put(0x7000, 1);
  map.put(0x9000, 0);
  map.put(5, 3);
  map.put(6, 4);
  EXPECT_EQ(map.within(0, 4096), (Entries{{0x9000, 0}, {0x7000, 1}, {5, 3}}));
  EXPECT_EQ(map.within(4096, 4096), (Entries{{6, 4}}));
  EXPECT_EQ(map.within(8192, 4096), Entries{});
  EXPECT_EQ(map.within(4096, 10), (Entries{{6, 4}})) << "a short last block";
}

TEST(AddressMap, ASlotLargerThanABlockBelongsToTheBlockInWhichItBegins) {
  AddressMap map(8192);
  map.put(1, 0);
  map.put(2, 1);
  EXPECT_EQ(map.within(0, 4096), (Entries{{1, 0}}));
  EXPECT_EQ(map.within(4096, 4096), Entries{});
  EXPECT_EQ(map.within(8192, 4096), (Entries{{2, 1}}));
}

TEST(AddressMap, AnIdHasOneSlotAndASlotOneId) {
  AddressMap map(1024);
  map.put(1, 0);
  map.put(1, 2);
  EXPECT_EQ(map.within(0, 4096), (Entries{{1, 2}}));
  map.put(9, 2);
  EXPECT_EQ(map.within(0, 4096), (Entries{{9, 2}}));
  EXPECT_FALSE(map.contains(1));
  EXPECT_FALSE(map.remove(1));
  EXPECT_TRUE(map.remove(9));
  EXPECT_EQ(map.size(), 0u);
}

}  // namespace
}  // namespace godwit::volume
