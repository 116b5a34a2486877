// homa.md 4 and 5: segmentation, unscheduled bytes, the order of sending, the link's pace.
#include "homa/core/sender.h"

#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

Data data_of(const Packet& packet) {
  const Data* data = std::get_if<Data>(&packet.body);
  EXPECT_NE(data, nullptr) << describe(packet);
  return data == nullptr ? Data{} : *data;
}

TEST(HomaSender, EveryPacketButTheLastIsFull) {
  Scene scene;
  scene.call(3000);
  const std::vector<Packet> packets = scene.sent();
  ASSERT_EQ(packets.size(), 3u);
  EXPECT_EQ(data_of(packets[0]).segment_length, 1412u);
  EXPECT_EQ(data_of(packets[1]).offset, 1412u);
  EXPECT_EQ(data_of(packets[2]).segment_length, 176u);
}

TEST(HomaSender, TheUnscheduledPartIsRoundedUpToAPacket) {
  struct Row {
    std::uint32_t rtt_bytes, incoming;
  };
  for (const Row row : {Row{10'000, 11'296}, Row{60'000, 60'716}, Row{1412, 1412}, Row{1413, 2824}}) {
    Config config = Scene::unpaced();
    config.rtt_bytes = row.rtt_bytes;
    Scene scene(config);
    scene.call(500'000);
    const std::vector<Packet> packets = scene.sent();
    EXPECT_EQ(packets.size(), row.incoming / 1412) << row.rtt_bytes;
    for (const Packet& packet : packets) EXPECT_EQ(data_of(packet).incoming, row.incoming);
  }
}

TEST(HomaSender, AShortMessageAnnouncesItsLength) {
  Scene scene;
  scene.call(5);
  EXPECT_EQ(scene.sent_body<Data>().incoming, 5u);
}

TEST(HomaSender, AGrantMovesIncomingUpToAWholePacketAndItNeverFalls) {
  Scene scene;
  const StartedCall call = scene.call(100'000);
  scene.sent();
  scene.give(other_side(call.id), Grant{12'000, 2});
  EXPECT_EQ(scene.sent_body<Data>().incoming, 12'708u);
  scene.give(other_side(call.id), Grant{5000, 2});
  EXPECT_TRUE(scene.sent().empty());
  scene.give(other_side(call.id), Grant{0xffff'ffff, 2});
  const std::vector<Packet> rest = scene.sent();
  EXPECT_EQ(rest.size(), 71u - 9);
  for (const Packet& packet : rest) EXPECT_EQ(data_of(packet).incoming, 100'000u);
}

TEST(HomaSender, APacketGoesIffItsFirstByteIsPermitted) {
  Scene scene;
  const StartedCall call = scene.call(100'000);
  scene.sent();
  scene.give(other_side(call.id), Grant{11'296, 0});
  EXPECT_TRUE(scene.sent().empty());
  scene.give(other_side(call.id), Grant{11'297, 0});
  EXPECT_EQ(scene.sent_body<Data>().offset, 11'296u);
}

TEST(HomaSender, PrioritiesThatWeDoNotHaveAreTakenAsTheHighestThatWeHave) {
  Config config = Scene::unpaced();
  config.num_priorities = 4;
  Scene scene(config);
  const StartedCall call = scene.call(100'000);
  scene.sent();
  struct Row {
    std::uint8_t asked, expected;
  };
  std::uint32_t granted = 11'296;
  for (const Row row : {Row{7, 3}, Row{4, 3}, Row{3, 3}, Row{2, 2}, Row{255, 3}}) {
    scene.give(other_side(call.id), Grant{granted += kMaxData, row.asked});
    const std::vector<Datagram> scheduled = scene.sent_datagrams();
    ASSERT_EQ(scheduled.size(), 1u);
    EXPECT_EQ(scheduled[0].priority, row.expected) << "GRANT at " << int{row.asked};
    scene.give(other_side(call.id), Resend{0, 100, row.asked});
    const std::vector<Datagram> repeated = scene.sent_datagrams();
    ASSERT_EQ(repeated.size(), 1u);
    EXPECT_EQ(repeated[0].priority, row.expected) << "RESEND at " << int{row.asked};
  }
}

TEST(HomaSender, ARestartDropsRepeatsThatWait) {
  Scene scene;
  const StartedCall call = scene.call(8000);
  scene.sent();
  scene.give(other_side(call.id), Resend{2 * kMaxData, 8000, 7});
  scene.give(other_side(call.id), Unknown{});
  const std::vector<Packet> again = scene.sent();
  ASSERT_EQ(again.size(), 6u) << "the message once";
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_EQ(data_of(again[i]).offset, i * kMaxData);
}

TEST(HomaSender, UnscheduledBytesUseTheReceiversCutoffsAndScheduledOnesTheGrantsPriority) {
  Scene scene;
  const auto priority_of_call = [&](std::uint32_t length) {
    scene.call(length);
    return scene.sent_datagrams().front().priority;
  };
  EXPECT_EQ(priority_of_call(100), 6);
  scene.give(RpcId{3}, CutoffsUpdate{{0, 0, 0, 0, 1'000'000, 15'000, 2'800, 200}, 5});
  EXPECT_EQ(priority_of_call(200), 7);
  EXPECT_EQ(priority_of_call(201), 6);
  const StartedCall call = scene.call(15'001);
  for (const Datagram& datagram : scene.sent_datagrams()) {
    EXPECT_EQ(datagram.priority, 4);
    EXPECT_EQ(data_of(datagram.packet()).cutoff_version, 5);
  }
  scene.give(other_side(call.id), Grant{12'000, 2});
  EXPECT_EQ(scene.sent_datagrams().front().priority, 2);
  scene.give(other_side(call.id), Grant{15'001, 200});
  EXPECT_EQ(scene.sent_datagrams().front().priority, 7) << "a level that we do not have is the highest that we have";
}

TEST(HomaSender, TheCutoffVersionIsReadWhenAPacketIsSent) {
  Scene scene;
  const StartedCall call = scene.call(20'000);
  for (const Packet& packet : scene.sent()) EXPECT_EQ(data_of(packet).cutoff_version, 0);
  scene.give(other_side(call.id), CutoffsUpdate{{0, 0, 0, 0, 0, 0, 0, 0}, 8});
  scene.give(other_side(call.id), Grant{20'000, 0});
  for (const Packet& packet : scene.sent()) EXPECT_EQ(data_of(packet).cutoff_version, 8);
}

Config paced() {
  Config config;
  config.link_mbps = 10'000;
  config.pacer_fifo_permille = 0;
  return config;
}

TEST(HomaSender, TheLinksQueueIsBoundedByAtMostOnePacketMore) {
  Scene scene(paced());
  scene.call(100'000);
  // 2000 ns of queue at 1242.7 ns per packet: two packets fit below it, and the third finds 2486 ns ahead.
  EXPECT_EQ(scene.sent().size(), 2u);
  const Instant next = scene.endpoint().next_deadline();
  EXPECT_EQ((next - scene.now).nanoseconds, 2 * 1243 - 2000);
  scene.now = {next.nanoseconds - 1};
  EXPECT_TRUE(scene.sent().empty());
  scene.now = next;
  EXPECT_EQ(scene.sent().size(), 1u);
}

TEST(HomaSender, TheEstimateErrsOnTheSlowSide) {
  const Config config = paced();
  LinkPacer link(config);
  link.charge({0}, 60 + 1412, true);
  EXPECT_EQ(link.ready_at().nanoseconds + 2000, 1243);  // 1538 bytes at 10 Gb/s are 1230.4 ns, and 1 % more
  LinkPacer small(config);
  small.charge({0}, 28, true);
  EXPECT_EQ(small.ready_at().nanoseconds + 2000, 76);  // 94 bytes
  LinkPacer ipv6(config);
  ipv6.charge({0}, 28, false);
  EXPECT_EQ(ipv6.ready_at().nanoseconds + 2000, 93);  // 114 bytes
}

TEST(HomaSender, ControlPacketsAreNeverHeldBackButCharged) {
  Scene scene(paced());
  scene.call(100'000);
  scene.sent();
  const Instant before = scene.endpoint().next_deadline();
  scene.give(RpcId{77}, Resend{0, 100, 7});
  const std::vector<Datagram> sent = scene.sent_datagrams();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].priority, 7);
  EXPECT_EQ((scene.endpoint().next_deadline() - before).nanoseconds, 76);
}

TEST(HomaSender, TheEndOfAMessageBypassesTheLinksQueue) {
  Scene scene(paced());
  scene.call(100'000);
  scene.sent();
  scene.call(999);
  EXPECT_EQ(data_of(scene.sent_one()).message_length, 999u);
  scene.call(1000);
  EXPECT_TRUE(scene.sent().empty());
  scene.now = scene.endpoint().next_deadline();
  EXPECT_EQ(data_of(scene.sent_one()).message_length, 1000u);
}

TEST(HomaSender, ControlGoesFirstThenWhatBypassesThenTheShortest) {
  Scene scene(paced());
  scene.call(5000);
  scene.call(500);
  scene.give(RpcId{77}, Resend{0, 100, 7});
  const std::vector<Packet> sent = scene.sent();
  ASSERT_EQ(sent.size(), 4u);
  EXPECT_EQ(sent[0].type(), PacketType::unknown);
  EXPECT_EQ(data_of(sent[1]).message_length, 500u);
  EXPECT_EQ(data_of(sent[2]).message_length, 5000u);
}

// Sends one packet after the other, each when the link is ready, and names the lengths of their messages.
std::vector<std::uint32_t> lengths_in_order(Scene& scene, std::size_t most = 1000) {
  std::vector<std::uint32_t> lengths;
  while (lengths.size() < most) {
    for (const Packet& packet : scene.sent()) lengths.push_back(data_of(packet).message_length);
    if (scene.endpoint().next_transmit() == Instant::never()) break;
    scene.now = scene.endpoint().next_transmit();
  }
  return lengths;
}

TEST(HomaSender, TheMessageWithTheFewestBytesLeftIsNext) {
  Config config = paced();
  config.max_nic_queue = {};
  Scene scene(config);
  scene.call(9000);
  scene.call(4000);
  scene.call(6000);
  const std::vector<std::uint32_t> order = lengths_in_order(scene);
  EXPECT_EQ(order, (std::vector<std::uint32_t>{4000, 4000, 4000, 6000, 6000, 6000, 6000, 6000, 9000, 9000, 9000, 9000, 9000, 9000,
                                               9000}));
}

TEST(HomaSender, ANewcomerWithFewerBytesPreempts) {
  Config config = paced();
  config.max_nic_queue = {};
  config.throttle_min_bytes = 0;
  Scene scene(config);
  scene.call(9000);
  EXPECT_EQ(data_of(scene.sent_one()).message_length, 9000u);
  scene.call(2000);
  scene.now = scene.endpoint().next_transmit();
  EXPECT_EQ(data_of(scene.sent_one()).message_length, 2000u);
}

TEST(HomaSender, EqualMessagesGoInTheOrderOfTheirArrival) {
  Config config = paced();
  config.max_nic_queue = {};
  Scene scene(config);
  const RpcId first = scene.call(1400).id, second = scene.call(1400).id;
  EXPECT_EQ(scene.sent_one().sender_id, first);
  scene.now = scene.endpoint().next_transmit();
  EXPECT_EQ(scene.sent_one().sender_id, second);
}

TEST(HomaSender, EveryTwentiethPacedPacketIsTheOldestMessages) {
  Config config = paced();
  config.max_nic_queue = {};
  config.pacer_fifo_permille = 50;
  config.rtt_bytes = 1'000'000;
  Scene scene(config);
  scene.call(900'000);
  for (int i = 0; i < 100; ++i) scene.call(1400);
  const std::vector<std::uint32_t> order = lengths_in_order(scene, 80);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_EQ(order[i], i % 20 == 0 ? 900'000u : 1400u) << i;
}

TEST(HomaSender, WithoutSrptMessagesGoInTheOrderOfCreation) {
  Config config = paced();
  config.max_nic_queue = {};
  config.srpt = false;
  Scene scene(config);
  scene.call(4000);
  scene.call(1400);
  EXPECT_EQ(lengths_in_order(scene), (std::vector<std::uint32_t>{4000, 4000, 4000, 1400}));
}

TEST(HomaSender, AnAbortedMessageLeavesTheLineAtOnce) {
  Scene scene(paced());
  const StartedCall call = scene.call(100'000);
  scene.sent();
  EXPECT_TRUE(scene.endpoint().handle_abort(scene.now, call.rpc));
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
  scene.now = scene.now + Duration::seconds(1);
  EXPECT_TRUE(scene.sent().empty());
  scene.host.free_released();
  EXPECT_EQ(scene.host.buffers(), 0u);
}

TEST(HomaSender, LengthsThatCanNotBeSentAreRefused) {
  Scene scene;
  for (const std::uint32_t length : {0u, 1'000'001u, 0xffff'ffffu}) {
    const Result<StartedCall> call =
        scene.endpoint().handle_call(scene.now, {scene.host.client_port(), scene.peer, kEchoPort, length, BufferId{1}, 0});
    ASSERT_FALSE(call);
    EXPECT_EQ(call.error().kind(), ErrorKind::invalid);
  }
  EXPECT_EQ(scene.call(1'000'000).id, RpcId{2});
}

}  // namespace
}  // namespace godwit::homa
