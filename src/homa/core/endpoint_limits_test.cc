// homa.md 16 and 3.5: what a peer may cost us, FREEZE, and configurations that can not work.
#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

TEST(HomaLimits, DeclaredLengthsAreCappedPerPeerAndInAll) {
  Config config = Scene::unpaced();
  config.limits.inbound_bytes_per_peer_max = 2'000'000;
  config.limits.inbound_bytes_max = 3'000'000;
  Scene scene(config);
  const auto begin = [&](std::uint32_t peer, std::uint64_t id) {
    const std::uint64_t before = scene.endpoint().counters().refused_limit;
    scene.give_from(ipv4_address(0x0a000100 + peer, 1), RpcId{id}, Scene::data(1'000'000));
    return scene.endpoint().counters().refused_limit == before;
  };
  EXPECT_TRUE(begin(1, 2));
  EXPECT_TRUE(begin(1, 4));
  EXPECT_FALSE(begin(1, 6)) << "the peer's two million";
  EXPECT_TRUE(begin(2, 2));
  EXPECT_FALSE(begin(2, 4)) << "three million in all";
  EXPECT_EQ(scene.endpoint().inbound_bytes(), 3'000'000u);
  EXPECT_FALSE(begin(3, 2));
  EXPECT_EQ(scene.endpoint().rpc_count(), 3u) << "a refused request creates nothing";
}

TEST(HomaLimits, RequestsCountUntilTheApplicationTakesThem) {
  Config config = Scene::unpaced();
  config.limits.inbound_rpcs_per_peer_max = 3;
  Scene scene(config);
  for (const std::uint64_t id : {2u, 4u, 6u, 8u}) scene.give(RpcId{id}, Scene::data(100));
  EXPECT_EQ(scene.endpoint().counters().refused_limit, 1u);
  EXPECT_TRUE(scene.host.take(kEchoPort));
  scene.give(RpcId{8}, Scene::data(100));
  EXPECT_EQ(scene.endpoint().counters().refused_limit, 1u);
  while (scene.host.take(kEchoPort)) continue;
  EXPECT_EQ(scene.endpoint().inbound_bytes(), 0u);
}

TEST(HomaLimits, WhatWasAdmittedMayComplete) {
  Config config = Scene::unpaced();
  config.limits.inbound_bytes_per_peer_max = 100'000;
  Scene scene(config);
  scene.take_request(2, 100'000);
}

TEST(HomaLimits, AResponseToOurOwnCallIsAlwaysAdmitted) {
  Config config = Scene::unpaced();
  config.limits.inbound_bytes_max = 1;
  Scene scene(config);
  const RpcId id = scene.call(10).id;
  scene.give(other_side(id), Scene::data(1'000'000));
  EXPECT_EQ(scene.endpoint().counters().data_bytes_received, kMaxData);
}

TEST(HomaLimits, CallsAndPeersAreBounded) {
  Config config = Scene::unpaced();
  config.limits.client_rpcs_max = 2;
  Scene scene(config);
  scene.call(10);
  const StartedCall second = scene.call(10);
  const Call third{scene.host.client_port(), scene.peer, kEchoPort, 10, BufferId{99}, 0};
  EXPECT_EQ(scene.endpoint().handle_call(scene.now, third).error().kind(), ErrorKind::limit);
  scene.endpoint().handle_abort(scene.now, second.rpc);
  EXPECT_TRUE(scene.endpoint().handle_call(scene.now, third));
}

TEST(HomaLimits, IdlePeersAreForgottenInTheOrderTheyBecameIdle) {
  Config config = Scene::unpaced();
  config.limits.peers_max = 3;
  Scene scene(config);
  const auto hear_from = [&](std::uint32_t peer, std::uint64_t id) {
    scene.give_from(ipv4_address(0x0a000100 + peer, 1), RpcId{id}, Scene::data(100));
    return scene.host.take(kEchoPort);
  };
  const std::optional<Taken> busy = hear_from(1, 2);
  for (std::uint32_t peer = 2; peer <= 50; ++peer) {
    const std::optional<Taken> request = hear_from(peer, 2);
    ASSERT_TRUE(request);
    EXPECT_TRUE(scene.endpoint().handle_discard(scene.now, request->event.rpc));
  }
  EXPECT_EQ(scene.endpoint().peer_count(), 3u);
  EXPECT_TRUE(scene.host.reply(scene.now, busy->event.rpc, pattern(1, 10))) << "one with an RPC stays";
  ASSERT_TRUE(hear_from(51, 2));
  ASSERT_TRUE(hear_from(52, 2));
  EXPECT_FALSE(hear_from(53, 2)) << "every peer has an RPC";
  EXPECT_EQ(scene.endpoint().counters().refused_limit, 1u);
}

TEST(HomaLimits, TenThousandCallsToTenThousandPeersAreUnderWayAtOnce) {
  Scene scene;
  constexpr std::uint32_t kCalls = 10'000;
  std::vector<RpcId> ids;
  for (std::uint32_t i = 0; i < kCalls; ++i) {
    scene.peer = ipv4_address(0x0b000000 + i, 9160);
    ids.push_back(scene.call(2000).id);
  }
  EXPECT_EQ(scene.sent().size(), 2 * kCalls);
  EXPECT_EQ(scene.endpoint().peer_count(), kCalls);
  scene.ticks(14);
  EXPECT_TRUE(scene.sent().empty());
  for (std::uint32_t i = 0; i < kCalls; ++i) {
    scene.peer = ipv4_address(0x0b000000 + (i * 7919) % kCalls, 9160);
    scene.give(other_side(ids[(i * 7919) % kCalls]), Scene::data(10));
  }
  std::uint32_t answered = 0;
  while (const std::optional<Taken> taken = scene.host.take(scene.host.client_port()))
    answered += taken->event.kind == Event::Kind::response;
  EXPECT_EQ(answered, kCalls);
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never()) << "ten thousand idle peers want nothing";
}

TEST(HomaLimits, RequestsThatEndBeforeTheyAreTakenLeaveNothingInTheQueue) {
  Scene scene;
  for (const std::uint64_t kept : {2u, 4u}) scene.give(RpcId{kept}, Scene::data(100));
  for (std::uint64_t id = 6; id < 6000; id += 2) {
    scene.give(RpcId{id}, Scene::data(100));
    scene.give(RpcId{id}, Unknown{});
  }
  EXPECT_EQ(scene.endpoint().rpc_count(), 2u);
  EXPECT_LT(scene.endpoint().waiting_handles(kEchoPort), 100u);
  EXPECT_EQ(scene.host.take(kEchoPort)->event.id, RpcId{3});
  EXPECT_EQ(scene.host.take(kEchoPort)->event.id, RpcId{5});
  EXPECT_FALSE(scene.host.take(kEchoPort));
  EXPECT_EQ(scene.endpoint().waiting_handles(kEchoPort), 0u);
}

TEST(HomaLimits, SegmentsOfOneByteCostNoMoreThanTheLimitOfHoles) {
  Config config = Scene::unpaced();
  config.limits.gaps_per_message_max = 10;
  Scene scene(config);
  for (std::uint32_t offset = 1; offset < 2000; offset += 2)
    scene.give(RpcId{2}, Data{100'000, 100'000, 1, false, offset, 1, {}});
  EXPECT_EQ(scene.endpoint().counters().dropped_gaps, 990u);
  EXPECT_EQ(scene.endpoint().counters().data_bytes_received, 10u);
}

TEST(HomaLimits, StrangersNeverGetLongerAnswersThanTheirQuestions) {
  Scene scene;
  for (const std::uint64_t id : {2u, 1001u})
    for (const PacketBody& body : {PacketBody{Resend{0, 100, 7}}, PacketBody{Grant{}}, PacketBody{Busy{}}, PacketBody{Unknown{}},
                                   PacketBody{Ack{}}, PacketBody{CutoffsUpdate{}}, PacketBody{Freeze{}}}) {
      scene.give(RpcId{id}, body);
      for (const Datagram& datagram : scene.sent_datagrams()) EXPECT_LE(datagram.bytes.size(), kCommonHeaderSize);
    }
  EXPECT_EQ(scene.endpoint().peer_count(), 0u) << "and leave nothing behind";
}

// The wire has but one length of ACK, and a server that waits for one would ask for ever.
TEST(HomaLimits, NeedAckIsTheOneQuestionOfAStrangerWithALongerAnswer) {
  Scene scene;
  const RpcId id = scene.call(10).id;
  scene.sent();
  scene.give(other_side(id), Scene::data(10));
  EXPECT_TRUE(scene.host.take(scene.host.client_port())) << "an acknowledgement waits for that peer";
  const std::uint32_t peers = scene.endpoint().peer_count();
  const PeerAddress stranger = ipv4_address(0x0a0000ee, 9160);
  scene.give_from(stranger, RpcId{1001}, NeedAck{});
  const std::vector<Datagram> answers = scene.sent_datagrams();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].to, stranger);
  EXPECT_EQ(answers[0].bytes.size(), 90u);
  EXPECT_EQ(answers[0].packet(), (Packet{scene.host.client_port(), kEchoPort, RpcId{1000}, Ack{}})) << "and nobody else's";
  scene.give_from(stranger, RpcId{2}, NeedAck{});
  EXPECT_TRUE(scene.sent().empty()) << "a server is not asked";
  EXPECT_EQ(scene.endpoint().peer_count(), peers) << "and leaves nothing behind";
}

TEST(HomaFreeze, KeepsTheTraceOnlyWhereItIsAllowedAndOncePerSecond) {
  for (const bool allowed : {false, true}) {
    Config config = Scene::unpaced();
    config.allow_freeze = allowed;
    config.trace_packets = 3;
    Scene scene(config);
    const StartedCall call = scene.call(10'000);
    EXPECT_EQ(scene.sent().size(), 8u);
    scene.give(other_side(call.id), Freeze{});
    EXPECT_TRUE(scene.sent().empty());
    const auto frozen = scene.endpoint().poll_frozen_trace();
    ASSERT_EQ(frozen.has_value(), allowed);
    EXPECT_EQ(scene.endpoint().rpc_count(), 1u) << "it never touches an RPC";
    if (!allowed) continue;
    ASSERT_EQ(frozen->size(), 3u);
    EXPECT_TRUE((*frozen)[0].outgoing);
    EXPECT_FALSE((*frozen)[2].outgoing);
    EXPECT_EQ((*frozen)[2].header_size, 28);
    scene.give(other_side(call.id), Freeze{});
    EXPECT_FALSE(scene.endpoint().poll_frozen_trace());
    scene.now = scene.now + Duration::seconds(1);
    scene.give(other_side(call.id), Freeze{});
    EXPECT_TRUE(scene.endpoint().poll_frozen_trace());
  }
}

TEST(HomaConfig, ValuesThatCanNotWorkTogetherAreRefused) {
  EXPECT_TRUE(check(Config{}));
  const auto refused = [](auto change) {
    Config config;
    change(config);
    return !check(config);
  };
  EXPECT_TRUE(refused([](Config& c) { c.max_overcommit = 0; }));
  EXPECT_TRUE(refused([](Config& c) { c.duty_cycle_permille = 0; }));
  EXPECT_TRUE(refused([](Config& c) { c.duty_cycle_permille = 1001; }));
  EXPECT_TRUE(refused([](Config& c) { c.grant_increment = c.rtt_bytes + 1; }));
  EXPECT_TRUE(refused([](Config& c) { c.grant_fifo_permille = 501; }));
  EXPECT_TRUE(refused([](Config& c) { c.num_priorities = 9; }));
  EXPECT_TRUE(refused([](Config& c) { c.max_data = 0; }));
}

}  // namespace
}  // namespace godwit::homa
