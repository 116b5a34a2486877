// Ids of our own requests on a connection.
#include "volume/core/outstanding.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

TEST(Outstanding, AnAnswerIsMatchedOnDeviceAndIdAndTakenOnce) {
  Outstanding<int> outstanding;
  const TxId tx = outstanding.add(DeviceId{1}, 42);
  EXPECT_EQ(outstanding.find(DeviceId{2}, tx), nullptr);
  EXPECT_FALSE(outstanding.take(DeviceId{2}, tx));
  EXPECT_EQ(*outstanding.find(DeviceId{1}, tx), 42);
  EXPECT_EQ(outstanding.take(DeviceId{1}, tx), 42);
  EXPECT_FALSE(outstanding.take(DeviceId{1}, tx));
  EXPECT_EQ(outstanding.size(), 0u);
}

TEST(Outstanding, AnIdIsNeverZeroNorOneThatIsStillOutstanding) {
  Outstanding<int> outstanding;
  TxId previous{0};
  for (int i = 0; i < 1000; ++i) {
    const TxId tx = i % 2 ? outstanding.next_id() : outstanding.add(DeviceId{1}, i);
    EXPECT_NE(tx.value, 0u);
    EXPECT_NE(tx, previous);
    previous = tx;
  }
  EXPECT_EQ(outstanding.size(), 500u);
}

}  // namespace
}  // namespace godwit::volume
