// homa.md 2, 8 and 9: the life of RPCs, acknowledgements and tombstones.
#include <set>

#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

TEST(HomaEndpoint, ACallAndItsAnswerTravelBetweenTwoEndpoints) {
  TestHost client(ipv4_address(1, 9160), Scene::unpaced(), 1), server(ipv4_address(2, 9160), Scene::unpaced(), 2);
  Instant now{1};
  const auto exchange = [&] {
    for (bool moved = true; moved;) {
      moved = false;
      for (auto& datagram : client.transmit_all(now)) server.receive(now, client.address(), datagram.bytes), moved = true;
      for (auto& datagram : server.transmit_all(now)) client.receive(now, server.address(), datagram.bytes), moved = true;
    }
  };
  const StartedCall call = client.call(now, server.address(), pattern(1, 100'000), 77);
  exchange();
  ASSERT_EQ(server.endpoint().poll_readable(), kEchoPort);
  const std::optional<Taken> request = server.take(kEchoPort);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->bytes, pattern(1, 100'000));
  EXPECT_EQ(request->event.peer, client.address());
  EXPECT_EQ(request->event.id, other_side(call.id));
  ASSERT_TRUE(server.reply(now, request->event.rpc, pattern(2, 1'000'000)));
  exchange();
  EXPECT_EQ(client.endpoint().poll_readable(), client.client_port());
  const std::optional<Taken> response = client.take(client.client_port());
  ASSERT_TRUE(response);
  EXPECT_EQ(response->event.kind, Event::Kind::response);
  EXPECT_EQ(response->bytes, pattern(2, 1'000'000));
  EXPECT_EQ(response->event.cookie, 77u);
  EXPECT_EQ(response->event.id, call.id);
  EXPECT_EQ(client.buffers(), 0u);
}

TEST(HomaEndpoint, IdsAreEvenCountUpAndBeginAnywhere) {
  Scene scene;
  EXPECT_EQ(scene.call(1).id, RpcId{2});
  EXPECT_EQ(scene.call(1).id, RpcId{4});
  std::set<std::uint64_t> firsts;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    TestHost host(scene.peer, Scene::unpaced(), seed);
    const std::uint64_t id = host.call(scene.now, scene.peer, pattern(1, 1)).id.value;
    EXPECT_EQ(id % 2, 0u);
    EXPECT_GE(id, 2u);
    EXPECT_LE(id, 1ULL << 62);
    firsts.insert(id);
  }
  EXPECT_EQ(firsts.size(), 100u);
}

TEST(HomaEndpoint, PortsAreGivenOutInTheUpperHalfAndSkipThoseInUse) {
  Scene scene;
  Endpoint& endpoint = scene.endpoint();
  EXPECT_EQ(scene.host.client_port(), Port{32'768});
  EXPECT_EQ(*endpoint.open_port(kNoPort), Port{32'769});
  EXPECT_EQ(endpoint.open_port(kEchoPort).error().kind(), ErrorKind::exists);
  EXPECT_EQ(endpoint.open_port(Port{32'768}).error().kind(), ErrorKind::invalid);
  for (std::uint32_t i = 32'770; i <= 65'535; ++i) ASSERT_EQ(*endpoint.open_port(kNoPort), Port{static_cast<std::uint16_t>(i)});
  EXPECT_EQ(endpoint.open_port(kNoPort).error().kind(), ErrorKind::limit);
  endpoint.close_port(scene.now, Port{40'000});
  EXPECT_EQ(*endpoint.open_port(kNoPort), Port{40'000});
}

TEST(HomaEndpoint, ARequestIsTakenAnsweredOnceAndEndsWithItsAcknowledgement) {
  Scene scene;
  const RpcHandle rpc = scene.take_request(2);
  EXPECT_TRUE(scene.host.reply(scene.now, rpc, pattern(3, 100)));
  EXPECT_FALSE(scene.host.reply(scene.now, rpc, pattern(3, 100))) << "answered already";
  scene.sent();
  scene.give(RpcId{2}, Ack{});
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  EXPECT_FALSE(scene.host.reply(scene.now, rpc, pattern(3, 100))) << "over";
  scene.host.free_released();
  EXPECT_EQ(scene.host.buffers(), 0u);
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
}

TEST(HomaEndpoint, ARequestThatWaitsOrExecutesWantsNoWakeUps) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(3000));
  EXPECT_NE(scene.endpoint().next_deadline(), Instant::never()) << "it may have to ask for the rest";
  scene.give(RpcId{2}, Scene::data(3000, 1412));
  scene.give(RpcId{2}, Scene::data(3000, 2824));
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never()) << "it waits for the application";
  const std::optional<Taken> request = scene.host.take(kEchoPort);
  ASSERT_TRUE(request);
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never()) << "it executes";
  EXPECT_TRUE(scene.host.reply(scene.now, request->event.rpc, pattern(3, 100)));
  scene.sent();
  EXPECT_NE(scene.endpoint().next_deadline(), Instant::never()) << "it waits for the acknowledgement";
}

TEST(HomaEndpoint, AReplyOfAWrongLengthOrToACallIsRefused) {
  Scene scene;
  const RpcHandle rpc = scene.take_request(2);
  EXPECT_EQ(scene.endpoint().handle_reply(scene.now, rpc, 0, BufferId{9}).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(scene.endpoint().handle_reply(scene.now, rpc, 1'000'001, BufferId{9}).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(scene.endpoint().handle_reply(scene.now, scene.call(10).rpc, 10, BufferId{9}).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(scene.endpoint().handle_reply(scene.now, RpcHandle{}, 10, BufferId{9}).error().kind(), ErrorKind::not_found);
}

TEST(HomaEndpoint, AHandleNeverReachesTheSuccessorOfItsRpc) {
  Scene scene;
  const RpcHandle first = scene.take_request(2);
  EXPECT_TRUE(scene.endpoint().handle_discard(scene.now, first));
  const RpcHandle second = scene.take_request(4);
  EXPECT_EQ(first.index, second.index) << "the record is used again";
  EXPECT_FALSE(scene.host.reply(scene.now, first, pattern(3, 10)));
  EXPECT_FALSE(scene.endpoint().handle_discard(scene.now, first));
  EXPECT_TRUE(scene.host.reply(scene.now, second, pattern(3, 10)));
}

TEST(HomaEndpoint, TheFirstDataOfAResponseSaysThatTheRequestArrived) {
  Config config;
  config.link_mbps = 10;
  Scene scene(config);
  const StartedCall call = scene.call(8000);
  scene.sent();
  scene.give(other_side(call.id), Scene::data(3000));
  scene.sent();
  EXPECT_EQ(scene.endpoint().next_transmit(), Instant::never()) << "the rest of the request needs no sending";
}

TEST(HomaEndpoint, DuplicatesOfACompleteRequestAreDropped) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(100));
  scene.give(RpcId{2}, Scene::data(100));
  EXPECT_TRUE(scene.host.take(kEchoPort));
  scene.give(RpcId{2}, Scene::data(100));
  EXPECT_FALSE(scene.host.take(kEchoPort));
  EXPECT_EQ(scene.endpoint().counters().dropped_duplicate, 2u);
  EXPECT_EQ(scene.endpoint().counters().redundant_bytes, 200u);
}

TEST(HomaEndpoint, MessagesAreDeliveredInTheOrderOfTheirCompletion) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(2000));
  scene.give(RpcId{4}, Scene::data(100));
  scene.give(RpcId{2}, Scene::data(2000, 1412));
  EXPECT_EQ(scene.host.take(kEchoPort)->event.id, RpcId{5});
  EXPECT_EQ(scene.host.take(kEchoPort)->event.id, RpcId{3});
}

TEST(HomaEndpoint, AClosedPortFreesItsCallsAndRetiresItsRequests) {
  Scene scene;
  scene.take_request(2);
  scene.give(RpcId{4}, Scene::data(3000));
  const StartedCall call = scene.call(100);
  scene.endpoint().close_port(scene.now, kEchoPort);
  EXPECT_EQ(scene.endpoint().rpc_count(), 1u);
  EXPECT_EQ(scene.endpoint().retired_count(), 2u);
  scene.endpoint().close_port(scene.now, scene.host.client_port());
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  EXPECT_FALSE(scene.endpoint().handle_abort(scene.now, call.rpc));
  scene.host.free_released();
  EXPECT_EQ(scene.host.buffers(), 0u);
  EXPECT_FALSE(scene.endpoint().poll_event(kEchoPort));
}

TEST(HomaEndpoint, PacketsFromAnotherPeerOrPortDoNotTouchACall) {
  Scene scene;
  const StartedCall call = scene.call(100'000);
  scene.sent();
  const PeerAddress stranger = ipv4_address(0x0a0000ee, 9160);
  scene.give_from(stranger, other_side(call.id), Unknown{});
  scene.give_from(stranger, other_side(call.id), Grant{100'000, 0});
  scene.give_from(stranger, other_side(call.id), Scene::data(10));
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_FALSE(scene.host.take(scene.host.client_port()));
  scene.peer.udp_port = 1;
  scene.give(other_side(call.id), Scene::data(10));
  EXPECT_FALSE(scene.host.take(scene.host.client_port()));
}

TEST(HomaEndpoint, ClientsOfOneAddressAreToldApartByPort) {
  Scene scene;
  scene.take_request(2);
  scene.peer.udp_port = 9161;
  scene.take_request(2);
  EXPECT_EQ(scene.endpoint().rpc_count(), 2u);
}

TEST(HomaEndpoint, DataThatChangesItsMessagesLengthIsNoPacketAtAll) {
  Scene scene;
  const RpcHandle answered = scene.answer_request(2);
  scene.give(RpcId{4}, Scene::data(3000));
  Data changed = Scene::data(4000, 1412);
  changed.ack = {RpcId{2}, Port{40'000}, kEchoPort};
  scene.give(RpcId{4}, changed);
  EXPECT_EQ(scene.endpoint().counters().dropped_length_changed, 1u);
  EXPECT_FALSE(scene.host.reply(scene.now, answered, pattern(1, 1)));
  EXPECT_EQ(scene.endpoint().rpc_count(), 2u) << "its acknowledgement does not count either";
}

TEST(HomaCutoffsSent, StaleDataIsAnsweredWithCutoffsOncePerFourMilliseconds) {
  Scene scene;
  Data stale = Scene::data(100);
  stale.cutoff_version = 0;
  scene.give(RpcId{2}, stale);
  EXPECT_EQ(scene.sent_body<CutoffsUpdate>(), (CutoffsUpdate{{0, 0, 0, 0, 1'000'000, 15'000, 2'800, 200}, 1}));
  scene.now = scene.now + Duration::microseconds(3999);
  scene.give(RpcId{4}, stale);
  EXPECT_TRUE(scene.sent().empty());
  scene.now = scene.now + Duration::microseconds(1);
  scene.give(RpcId{6}, Scene::data(100));
  EXPECT_TRUE(scene.sent().empty()) << "it knows our version";
  scene.give(RpcId{8}, stale);
  scene.sent_body<CutoffsUpdate>();
}

// Completes a call of ours and takes the response.
RpcId complete_call(Scene& scene) {
  const RpcId id = scene.call(10).id;
  scene.sent();
  scene.give(other_side(id), Scene::data(10));
  EXPECT_TRUE(scene.host.take(scene.host.client_port()));
  return id;
}

TEST(HomaAcks, DataTakesTheNewestOneAlong) {
  Scene scene;
  complete_call(scene);
  const RpcId second = scene.call(10).id;
  EXPECT_EQ(std::get<Data>(scene.sent_one().body).ack, (AckRecord{RpcId{2}, scene.host.client_port(), kEchoPort}));
  scene.give(other_side(second), Scene::data(10));
  const RpcId third = complete_call(scene);
  scene.call(10);
  EXPECT_EQ(std::get<Data>(scene.sent_one().body).ack.client_id, third);
}

TEST(HomaAcks, ResponsesCarryThemToo) {
  Scene scene;
  const RpcId call = complete_call(scene);
  const RpcHandle request = scene.take_request(2);
  scene.host.reply(scene.now, request, pattern(1, 10));
  EXPECT_EQ(scene.sent_body<Data>().ack.client_id, call);
}

TEST(HomaAcks, TheSixthSendsThemAll) {
  Scene scene;
  std::vector<RpcId> calls;
  for (int i = 0; i < 6; ++i) calls.push_back(scene.call(10).id);
  scene.sent();
  for (const RpcId id : calls) {
    EXPECT_TRUE(scene.sent().empty());
    scene.give(other_side(id), Scene::data(10));
  }
  const Packet packet = scene.sent_one();
  EXPECT_EQ(packet.sender_id, calls[5]);
  const Ack& ack = std::get<Ack>(packet.body);
  EXPECT_EQ(ack.count, 5);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(ack.more[i].client_id, calls[i]);
}

TEST(HomaAcks, NeedAckIsIgnoredWhileTheResponseIsIncompleteElseAnsweredWithAll) {
  Scene scene;
  const RpcId first = complete_call(scene), second = scene.call(10).id;
  scene.give(other_side(second), NeedAck{});
  std::vector<Packet> sent = scene.sent();
  EXPECT_EQ(sent.size(), 1u) << "the request alone";
  scene.give(other_side(second), Scene::data(3000));
  scene.sent();
  scene.give(other_side(second), NeedAck{});
  EXPECT_TRUE(scene.sent().empty());
  complete_call(scene);  // takes none along: the first went with the second
  scene.give(other_side(first), NeedAck{});
  const Packet packet = scene.sent_one();
  EXPECT_EQ(packet.sender_id, first);
  EXPECT_EQ(std::get<Ack>(packet.body).count, 1);
  scene.give(RpcId{1001}, NeedAck{});
  EXPECT_EQ(scene.sent_one().sender_id, RpcId{1000}) << "of a call that is long over";
}

TEST(HomaAcks, NeedAckIsAnsweredWhileTheResponseWaitsForTheApplication) {
  Scene scene;
  const RpcId id = scene.call(10).id;
  scene.sent();
  scene.give(other_side(id), Scene::data(10));
  for (int i = 0; i < 2; ++i) {
    scene.give(other_side(id), NeedAck{});
    const Packet packet = scene.sent_one();
    EXPECT_EQ(packet.type(), PacketType::ack);
    EXPECT_EQ(packet.sender_id, id);
  }
  EXPECT_EQ(scene.host.take(scene.host.client_port())->event.kind, Event::Kind::response);
}

TEST(HomaAcks, NeedAckIsIgnoredByACallThatFailed) {
  Scene scene;
  const RpcId id = scene.call(10).id;
  scene.sent();
  scene.endpoint().handle_unreachable(scene.now, scene.peer, CallError::unreachable);
  scene.give(other_side(id), NeedAck{});
  EXPECT_TRUE(scene.sent().empty()) << "the response is not here";
}

TEST(HomaAcks, RepeatedDataTakesNoneOrANewOne) {
  Scene scene;
  const RpcId first = complete_call(scene), asked = scene.call(10).id;
  EXPECT_EQ(scene.sent_body<Data>().ack.client_id, first);
  scene.give(other_side(asked), Resend{0, 100, 7});
  EXPECT_EQ(scene.sent_body<Data>().ack, AckRecord{});
  const RpcId second = complete_call(scene);
  scene.give(other_side(asked), Resend{0, 100, 7});
  EXPECT_EQ(scene.sent_body<Data>().ack.client_id, second);
}

TEST(HomaAcks, AServerAsksForItEverMoreRarely) {
  Scene scene;
  scene.answer_request(2);
  std::vector<int> asked;
  for (int i = 1; i <= 20; ++i) {
    scene.tick();
    for (const Packet& packet : scene.sent())
      if (packet.type() == PacketType::need_ack) asked.push_back(i);
  }
  ASSERT_GE(asked.size(), 3u);
  EXPECT_EQ(asked[0], 3) << "two ticks after the tick that saw the last packet gone";
  EXPECT_EQ(asked[1], 4);
  EXPECT_EQ(asked[2], 5);
  for (std::size_t i = 3; i < asked.size(); ++i) EXPECT_GE(asked[i] - asked[i - 1], asked[i - 1] - asked[i - 2]);
}

TEST(HomaAcks, OnlyAWhollyAnsweredRequestIsFreed) {
  Scene scene;
  Data carrier = Scene::data(10);
  carrier.ack = {RpcId{2}, Port{40'000}, kEchoPort};
  const auto ack_both_ways = [&](std::uint64_t id) {
    scene.give(RpcId{2}, Ack{});
    scene.give(RpcId{id}, carrier);
    return scene.endpoint().counters().replies_acked;
  };
  scene.give(RpcId{2}, Scene::data(3000));
  EXPECT_EQ(ack_both_ways(100), 0u) << "still receiving";
  scene.give(RpcId{2}, Scene::data(3000, 1412));
  scene.give(RpcId{2}, Scene::data(3000, 2824));
  EXPECT_EQ(ack_both_ways(102), 0u) << "queued";
  std::optional<Taken> taken = scene.host.take(kEchoPort);
  while (taken->event.id != RpcId{3}) taken = scene.host.take(kEchoPort);
  EXPECT_EQ(ack_both_ways(104), 0u) << "executing";
  scene.host.reply(scene.now, taken->event.rpc, pattern(1, 50'000));
  scene.sent();
  EXPECT_EQ(ack_both_ways(106), 0u) << "partly sent";
  EXPECT_EQ(scene.endpoint().counters().ignored_acks, 8u);
  scene.give(RpcId{2}, Grant{50'000, 0});
  scene.sent();
  scene.give(RpcId{108}, carrier);
  EXPECT_EQ(scene.endpoint().counters().replies_acked, 1u);
}

TEST(HomaAcks, AnotherPeersAcknowledgementDoesNotCount) {
  Scene scene;
  scene.answer_request(2);
  const PeerAddress stranger = ipv4_address(0x0a0000ee, 9160);
  scene.give_from(stranger, RpcId{2}, Ack{});
  Data carrier = Scene::data(10);
  carrier.ack = {RpcId{2}, Port{40'000}, kEchoPort};
  scene.give_from(stranger, RpcId{4}, carrier);
  EXPECT_EQ(scene.endpoint().counters().replies_acked, 0u);
  Ack ack{1, {}};
  ack.more[0] = {RpcId{2}, Port{40'000}, kEchoPort};
  scene.give(RpcId{500}, ack);
  EXPECT_EQ(scene.endpoint().counters().replies_acked, 1u) << "the record names the RPC, not the header";
}

TEST(HomaTombstones, ALateDuplicateIsNotExecutedAgain) {
  struct Row {
    const char* name;
    bool acked;
    Duration remembered;
  };
  for (const Row& row : {Row{"acknowledged", true, Duration::seconds(1)}, Row{"discarded", false, Duration::seconds(10)}}) {
    SCOPED_TRACE(row.name);
    Scene scene;
    const RpcHandle rpc = scene.answer_request(2);
    row.acked ? scene.give(RpcId{2}, Ack{}) : void(scene.endpoint().handle_discard(scene.now, rpc));
    scene.now = scene.now + (row.remembered - Duration{1});
    scene.give(RpcId{2}, Scene::data(100));
    EXPECT_FALSE(scene.host.take(kEchoPort));
    EXPECT_TRUE(scene.sent().empty()) << "and nothing is answered";
    EXPECT_EQ(scene.endpoint().counters().dropped_retired, 1u);
    scene.now = scene.now + (row.acked ? Duration{2} : Duration::seconds(9));
    scene.give(RpcId{2}, Scene::data(100));
    EXPECT_EQ(scene.host.take(kEchoPort).has_value(), row.acked) << "a hit on one that was not acknowledged renews it";
  }
}

TEST(HomaTombstones, OtherTypesAreTreatedAsForAnUnknownRpc) {
  Scene scene;
  scene.answer_request(2);
  scene.give(RpcId{2}, Ack{});
  scene.give(RpcId{2}, Grant{100, 0});
  scene.give(RpcId{2}, Ack{});
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_EQ(scene.endpoint().counters().dropped_unknown_rpc, 1u);
}

TEST(HomaTombstones, AreBoundedTheOldestAcknowledgedOneGoesFirstAndIsCounted) {
  Config config = Scene::unpaced();
  config.limits.retired_max = 4;
  Scene scene(config);
  const RpcHandle discarded = scene.take_request(2);
  scene.endpoint().handle_discard(scene.now, discarded);
  for (const std::uint64_t id : {4u, 6u, 8u, 10u}) {
    scene.answer_request(id);
    scene.give(RpcId{id}, Ack{});
  }
  EXPECT_EQ(scene.endpoint().retired_count(), 4u);
  EXPECT_EQ(scene.endpoint().retired_evicted(), 1u);
  scene.give(RpcId{2}, Scene::data(100));
  EXPECT_FALSE(scene.host.take(kEchoPort));
  scene.give(RpcId{4}, Scene::data(100));
  EXPECT_TRUE(scene.host.take(kEchoPort)) << "the guarantee was weakened by load";
}

TEST(HomaTombstones, ARestartedClientWithLowerIdsIsServed) {
  Scene scene;
  scene.take_request(1'000'000);
  EXPECT_TRUE(scene.take_request(2) != RpcHandle{});
}

}  // namespace
}  // namespace godwit::homa
