#include "homa/core/link_pacer.h"

#include <gtest/gtest.h>

namespace godwit::homa {
namespace {

constexpr Instant kNow{1'000'000};
constexpr std::uint32_t kFull =
    1438 - LinkPacer::kWireOverheadIpv4;  // of UDP payload, so that a packet is 1438 bytes on the wire

// How many full packets go out at once.
int packets_at_once(const Config& config) {
  LinkPacer pacer(config);
  int packets = 0;
  for (; packets < 1000 && pacer.may_send(kNow); ++packets) pacer.charge(kNow, kFull, true);
  return packets;
}

Config with_link(std::uint32_t mbps) {
  Config config;
  config.link_mbps = mbps;
  config.max_data = kFull;
  config.max_nic_queue = Duration::microseconds(20);
  return config;
}

// Spec homa.md 5: allowed iff the card is idle by now + max_nic_queue. A packet takes 1.162 us at 10 Gb/s with the margin of 1 %.
TEST(LinkPacer, PacketsMayWaitAtTheCardForMaxNicQueueAndOneMoreOvershoots) {
  EXPECT_EQ(packets_at_once(with_link(10'000)), 18);
  EXPECT_EQ(packets_at_once(with_link(1'000)), 2);
}

TEST(LinkPacer, OnASlowLinkThatManyFullPacketsMayWait) {
  Config config = with_link(1'000);
  config.nic_queue_packets = 5;
  EXPECT_EQ(packets_at_once(config), 6);
  config.link_mbps = 10'000;  // five packets are less than the time there
  EXPECT_EQ(packets_at_once(config), 18);
}

TEST(LinkPacer, ReadyWhenAllButWhatMayWaitHasLeft) {
  Config config = with_link(1'000);
  config.nic_queue_packets = 5;
  LinkPacer pacer(config);
  while (pacer.may_send(kNow)) pacer.charge(kNow, kFull, true);
  const Instant ready = pacer.ready_at();
  EXPECT_GT(ready, kNow);
  EXPECT_FALSE(pacer.may_send({ready.nanoseconds - 1}));
  EXPECT_TRUE(pacer.may_send(ready));
}

TEST(LinkPacer, WithoutALinkSpeedNothingIsPaced) {
  Config config = with_link(0);
  config.nic_queue_packets = 5;
  EXPECT_EQ(packets_at_once(config), 1000);
}

}  // namespace
}  // namespace godwit::homa
