// homa.md 7 and 10: silence, RESEND, BUSY, UNKNOWN, and peers that are dead.
#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

// Runs `count` ticks and gives the ticks (from 1) in which a packet of that type went out.
std::vector<int> ticks_of(Scene& scene, PacketType type, int count) {
  std::vector<int> at;
  for (int i = 1; i <= count && scene.endpoint().next_tick() != Instant::never(); ++i) {
    scene.tick();
    for (const Packet& packet : scene.sent())
      if (packet.type() == type) at.push_back(i);
  }
  return at;
}

std::optional<Taken> take_failure(Scene& scene) {
  std::optional<Taken> taken = scene.host.take(scene.host.client_port());
  EXPECT_TRUE(taken && taken->event.kind == Event::Kind::failed);
  return taken;
}

TEST(HomaTimers, ASilentServerIsAskedFiveTimesAndThenDead) {
  Scene scene;
  scene.call(100);
  scene.sent();
  EXPECT_EQ(ticks_of(scene, PacketType::resend, 64), (std::vector<int>{15, 25, 35, 45, 55}));
  EXPECT_FALSE(scene.host.take(scene.host.client_port()));
  scene.tick();
  EXPECT_EQ(take_failure(scene)->event.error, CallError::timed_out);
  EXPECT_EQ(scene.endpoint().counters().peers_dead, 1u);
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  EXPECT_EQ(scene.host.buffers(), 0u);
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
}

TEST(HomaTimers, ASilentClientsRequestIsForgottenLaterThanTheClientWouldGiveUp) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(3000));
  scene.sent();
  EXPECT_EQ(ticks_of(scene, PacketType::resend, 74), (std::vector<int>{15, 25, 35, 45, 55}));
  EXPECT_EQ(scene.endpoint().rpc_count(), 1u);
  scene.tick();
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  scene.host.free_released();
  EXPECT_EQ(scene.host.buffers(), 0u);
  scene.give(RpcId{2}, Scene::data(3000));
  EXPECT_EQ(scene.endpoint().counters().dropped_retired, 1u) << "it is not begun again";
}

TEST(HomaTimers, ADeadPeersCallsAllFailAndItsRequestsAllGo) {
  Scene scene;
  scene.take_request(2);
  scene.give(RpcId{4}, Scene::data(3000));
  scene.call(100);
  scene.call(200);
  scene.sent();
  ticks_of(scene, PacketType::resend, 65);
  EXPECT_EQ(take_failure(scene)->event.error, CallError::timed_out);
  EXPECT_EQ(take_failure(scene)->event.error, CallError::timed_out);
  EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  scene.host.free_released();
  EXPECT_EQ(scene.host.buffers(), 0u);
}

TEST(HomaTimers, WhatIsMissingIsNamed) {
  struct Row {
    const char* name;
    std::vector<std::uint32_t> offsets;  // that have come, of a request of 20000 bytes with 11296 announced
    Resend expected;
  };
  const Row rows[] = {
      {"the first gap", {0, 2824}, {1412, 1412, 7}},
      {"everything but the first", {0}, {1412, 11'412 - 1412, 7}},
      {"the start", {1412}, {0, 1412, 7}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Scene scene;
    for (const std::uint32_t offset : row.offsets) scene.give_from(scene.peer, RpcId{2}, Scene::data(20'000, offset), false);
    scene.endpoint().handle_batch_end(scene.now);
    scene.sent();
    scene.ticks(15);
    const Resend resend = scene.sent_body<Resend>();
    EXPECT_EQ(resend.offset, row.expected.offset);
    EXPECT_EQ(resend.priority, 7);
    EXPECT_EQ(resend.length, row.expected.length);
  }
}

TEST(HomaTimers, ACallOfWhichNothingCameBackAsksForAnything) {
  Scene scene;
  scene.call(100);
  scene.sent();
  scene.ticks(15);
  EXPECT_EQ(scene.sent_body<Resend>(), (Resend{0, 100, 7}));
}

TEST(HomaTimers, AServerThatWaitsForAGrantAsksWhetherTheClientIsStillThere) {
  Scene scene;
  scene.answer_request(2, 100'000);
  std::vector<Resend> asked;
  for (int i = 0; i < 15; ++i) {
    scene.tick();
    for (const Packet& packet : scene.sent())
      if (const Resend* resend = std::get_if<Resend>(&packet.body)) asked.push_back(*resend);
  }
  EXPECT_EQ(asked, (std::vector<Resend>{{0, 0, 7}}));
}

TEST(HomaTimers, DataGrantAndBusyBreakTheSilenceOtherPacketsDoNot) {
  struct Row {
    const char* name;
    PacketBody body;
    bool breaks;
  };
  const Row rows[] = {{"BUSY", Busy{}, true},
                      {"GRANT", Grant{100, 0}, true},
                      {"DATA", Scene::data(3000), true},
                      {"RESEND", Resend{0, 0, 0}, false},
                      {"NEED_ACK", NeedAck{}, false},
                      {"CUTOFFS", CutoffsUpdate{{}, 3}, false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Scene scene;
    const StartedCall call = scene.call(100);
    scene.sent();
    scene.ticks(10);
    scene.give(other_side(call.id), row.body);
    scene.sent();
    const std::vector<int> at = ticks_of(scene, PacketType::resend, 20);
    ASSERT_FALSE(at.empty());
    EXPECT_EQ(at.front(), row.breaks ? 15 : 5);
  }
}

TEST(HomaTimers, ADuplicateOfARequestShowsThatItsClientIsThere) {
  Scene scene;
  scene.answer_request(2, 100'000);
  scene.ticks(10);
  scene.give(RpcId{2}, Scene::data(100));
  scene.sent();
  EXPECT_EQ(ticks_of(scene, PacketType::resend, 20), (std::vector<int>{15}));
}

TEST(HomaTimers, AnyPacketForAKnownRpcShowsThatThePeerLives) {
  for (const PacketBody& body : {PacketBody{Busy{}}, PacketBody{Resend{0, 0, 0}}, PacketBody{NeedAck{}}, PacketBody{Unknown{}}}) {
    Scene scene;
    const StartedCall call = scene.call(100);
    scene.sent();
    for (int i = 0; i < 60; ++i) {
      scene.tick();
      scene.sent();
      if (i == 50) scene.give(other_side(call.id), body);
    }
    scene.ticks(5);
    EXPECT_EQ(scene.endpoint().counters().peers_dead, 0u) << body.index();
  }
}

TEST(HomaTimers, ARequestThatBeginsShowsThatThePeerLives) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(20'000));
  for (std::uint64_t id = 4; id < 20; id += 2) {
    scene.ticks(10);
    scene.give(RpcId{id}, Scene::data(100));
  }
  EXPECT_EQ(scene.endpoint().counters().peers_dead, 0u) << "after 80 ticks in which it answered none of our RESENDs";
  EXPECT_EQ(scene.endpoint().rpc_count(), 9u);
}

TEST(HomaTimers, OneRpcOfAPeerAsksAtATimeInTurn) {
  Scene scene;
  const RpcId first = scene.call(100).id, second = scene.call(100).id, third = scene.call(100).id;
  scene.sent();
  std::vector<RpcId> asked;
  for (int i = 0; i < 54; ++i) {
    scene.tick();
    for (const Packet& packet : scene.sent())
      if (packet.type() == PacketType::resend) asked.push_back(packet.sender_id);
    if (i == 30) scene.give(other_side(third), NeedAck{});  // the peer lives, the RPCs stay silent
  }
  EXPECT_EQ(asked, (std::vector<RpcId>{first, second, third, first}));
}

TEST(HomaTimers, RpcsOfDifferentPeersAskIndependently) {
  Scene scene;
  scene.call(100);
  scene.peer = ipv4_address(0x0a000003, 9160);
  scene.call(100);
  scene.sent();
  scene.ticks(14);
  EXPECT_TRUE(scene.sent().empty());
  scene.tick();
  EXPECT_EQ(scene.count_sent(PacketType::resend), 2u);
}

TEST(HomaTimers, TheBallInOurCourtIsNoSilence) {
  Config config;
  config.link_mbps = 1;  // a packet takes 12 ms
  Scene scene(config);
  scene.call(100'000);
  scene.sent();
  EXPECT_TRUE(ticks_of(scene, PacketType::resend, 40).empty());
}

TEST(HomaTimers, ReceivedAllThatWasGrantedIsNoSilence) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  Scene scene(config);
  // Rank 1 is another's; this one has all that was announced.
  scene.give_from(ipv4_address(0x0a000009, 9160), RpcId{2}, Scene::data(20'000), false);
  for (std::uint32_t offset = 0; offset < 11'296; offset += kMaxData)
    scene.give_from(scene.peer, RpcId{4}, Scene::data(900'000, offset), false);
  scene.endpoint().handle_batch_end(scene.now);
  scene.sent();
  for (int i = 0; i < 40; ++i) {
    scene.tick();
    scene.give_from(ipv4_address(0x0a000009, 9160), RpcId{2}, Scene::data(20'000));  // a duplicate: it lives
    for (const Packet& packet : scene.sent()) EXPECT_NE(packet.sender_id, RpcId{5});
  }
}

TEST(HomaTimers, IdleTimeAgesNobody) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  scene.ticks(3);
  scene.give(other_side(call.id), Scene::data(50));
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never()) << "READY does not age";
  scene.host.take(scene.host.client_port());
  scene.now = scene.now + Duration::seconds(3600);
  scene.call(100);
  EXPECT_EQ((scene.endpoint().next_tick() - scene.now).nanoseconds, 1'000'000);
  scene.sent();
  EXPECT_EQ(ticks_of(scene, PacketType::resend, 20), (std::vector<int>{15}));
}

TEST(HomaTimers, MissedTicksAreSkippedAndCounted) {
  Scene scene;
  scene.call(100);
  scene.sent();
  scene.now = scene.now + Duration::milliseconds(200);
  scene.endpoint().handle_timeout(scene.now);
  EXPECT_TRUE(scene.sent().empty()) << "one tick, not two hundred";
  EXPECT_EQ(scene.endpoint().counters().ticks_skipped, 199u);
  EXPECT_GT(scene.endpoint().next_tick(), scene.now);
}

TEST(HomaTimers, AnRpcThatThePeerDoesNotKnowEndsAloneByItsOwnBudget) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  int asked = 0, ticks = 0;
  for (; ticks < 1000 && scene.endpoint().next_tick() != Instant::never(); ++ticks) {
    scene.tick();
    for (const Packet& packet : scene.sent()) {
      if (packet.type() != PacketType::resend) continue;
      ++asked;
      scene.give(other_side(call.id), Unknown{});
      scene.sent();
    }
  }
  EXPECT_EQ(asked, 20);
  EXPECT_EQ(take_failure(scene)->event.error, CallError::timed_out);
  EXPECT_EQ(scene.endpoint().counters().peers_dead, 0u);
}

// The table of homa.md 7, "Receiving RESEND".
TEST(HomaResends, AnUnknownRpcIsAnsweredUnknown) {
  Scene scene;
  scene.give(RpcId{2}, Resend{0, 100, 7});
  const Packet to_client = scene.sent_one();
  EXPECT_EQ(to_client, (Packet{kEchoPort, Port{40'000}, RpcId{3}, Unknown{}}));
  scene.give(RpcId{1001}, Resend{0, 100, 7});
  EXPECT_EQ(scene.sent_one(), (Packet{scene.host.client_port(), kEchoPort, RpcId{1000}, Unknown{}}));
}

TEST(HomaResends, ARetiredRpcIsAnsweredNothing) {
  Scene scene;
  scene.answer_request(2);
  scene.give(RpcId{2}, Ack{});
  scene.give(RpcId{2}, Resend{0, 100, 7});
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_EQ(scene.endpoint().counters().dropped_retired, 1u);
}

TEST(HomaResends, AServerThatDoesNotYetAnswerIsBusy) {
  Scene scene;
  scene.give(RpcId{2}, Scene::data(3000));
  scene.sent();
  scene.give(RpcId{2}, Resend{0, 100, 7});
  scene.sent_body<Busy>();  // still receiving
  scene.give(RpcId{2}, Scene::data(3000, 1412));
  scene.give(RpcId{2}, Scene::data(3000, 2824));
  scene.give(RpcId{2}, Resend{0, 100, 7});
  scene.sent_body<Busy>();  // queued
  EXPECT_TRUE(scene.host.take(kEchoPort));
  scene.give(RpcId{2}, Resend{0, 100, 7});
  scene.sent_body<Busy>();  // executing
}

TEST(HomaResends, GrantedUnsentPacketsMakeBusy) {
  Config config;
  config.link_mbps = 10;
  Scene scene(config);
  const StartedCall call = scene.call(8000);
  EXPECT_EQ(scene.sent().size(), 1u);
  scene.give(other_side(call.id), Resend{0, 100, 7});
  scene.sent_body<Busy>();
}

TEST(HomaResends, LengthZeroAndRangesBehindTheEndMakeBusy) {
  Scene scene;
  const StartedCall call = scene.call(8000);
  scene.sent();
  scene.give(other_side(call.id), Resend{0, 0, 7});
  scene.sent_body<Busy>();
  scene.give(other_side(call.id), Resend{8000, 100, 7});
  scene.sent_body<Busy>();
  EXPECT_EQ(scene.endpoint().counters().ignored_resends, 1u);
}

TEST(HomaResends, EveryPacketThatOverlapsTheRangeGoesAgainAtItsPriority) {
  Scene scene;
  const StartedCall call = scene.call(8000);
  scene.sent();
  scene.give(other_side(call.id), Resend{2000, 2000, 3});
  const std::vector<Datagram> sent = scene.sent_datagrams();
  ASSERT_EQ(sent.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const Packet packet = sent[i].packet();
    const Data& data = std::get<Data>(packet.body);
    EXPECT_EQ(data.offset, 1412 * (i + 1));
    EXPECT_TRUE(data.retransmit);
    EXPECT_EQ(data.incoming, 8000u);
    EXPECT_EQ(sent[i].priority, 3);
  }
}

TEST(HomaResends, ARangePastTheEndIsCutThere) {
  Scene scene;
  const StartedCall call = scene.call(3000);
  scene.sent();
  scene.give(other_side(call.id), Resend{2824, 0xffff'ffff, 7});
  EXPECT_EQ(scene.sent_body<Data>().segment_length, 176u);
}

TEST(HomaResends, AResendIsAGrant) {
  Scene scene;
  const StartedCall call = scene.call(50'000);
  scene.sent();
  // Nobody granted [11296, 14120): the GRANT was lost.
  scene.give(other_side(call.id), Resend{11'296, 2824, 7});
  const std::vector<Packet> sent = scene.sent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(std::get<Data>(sent[1].body).offset, 12'708u);
  EXPECT_EQ(std::get<Data>(sent[1].body).incoming, 14'120u);
  scene.give(other_side(call.id), Grant{14'121, 0});
  EXPECT_EQ(scene.sent_body<Data>().offset, 14'120u) << "what went out is not sent twice";
}

TEST(HomaResends, ARangeAheadOfWhatWasSentOnlyRaisesTheGrant) {
  Scene scene;
  const StartedCall call = scene.call(50'000);
  scene.sent();
  scene.give(other_side(call.id), Resend{14'120, 1412, 7});
  const std::vector<Packet> sent = scene.sent();
  ASSERT_EQ(sent.size(), 3u);
  for (const Packet& packet : sent) EXPECT_FALSE(std::get<Data>(packet.body).retransmit);
}

TEST(HomaResends, OneResendRepeatsAtMostRttBytes) {
  Scene scene;
  const StartedCall call = scene.call(100'000);
  scene.sent();
  scene.give(other_side(call.id), Grant{100'000, 0});
  EXPECT_EQ(scene.sent().size(), 71u - 8);
  scene.give(other_side(call.id), Resend{0, 100'000, 7});
  EXPECT_EQ(scene.sent().size(), 8u);
}

TEST(HomaResends, RepeatsBypassTheLinksPaceButAreCharged) {
  Config config;
  config.link_mbps = 100;
  Scene scene(config);
  const StartedCall call = scene.call(1400);
  scene.sent();
  const Instant before = scene.endpoint().next_transmit();
  EXPECT_EQ(before, Instant::never());
  scene.give(other_side(call.id), Resend{0, 100, 7});
  EXPECT_EQ(scene.sent().size(), 1u);
  scene.call(1400);
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_GE((scene.endpoint().next_transmit() - scene.now).nanoseconds, 2 * 122'000 - 2000);
}

TEST(HomaResends, ACallThatReceivesOrIsReadyStillRepeatsItsRequest) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  scene.give(other_side(call.id), Scene::data(3000));
  scene.sent();
  scene.give(other_side(call.id), Resend{0, 100, 7});
  EXPECT_TRUE(scene.sent_body<Data>().retransmit);
  scene.give(other_side(call.id), Scene::data(3000, 1412));
  scene.give(other_side(call.id), Scene::data(3000, 2824));
  scene.give(other_side(call.id), Resend{0, 100, 7});
  EXPECT_TRUE(scene.sent_body<Data>().retransmit);
}

TEST(HomaUnknown, ACallWhoseServerKnowsNothingBeginsAgain) {
  Scene scene;
  const StartedCall call = scene.call(20'000);
  scene.sent();
  scene.give(other_side(call.id), Grant{20'000, 1});
  scene.sent();
  scene.give(other_side(call.id), Unknown{});
  const std::vector<Packet> again = scene.sent();
  ASSERT_EQ(again.size(), 8u) << "the unscheduled part";
  for (const Packet& packet : again) {
    EXPECT_TRUE(std::get<Data>(packet.body).retransmit);
    EXPECT_EQ(std::get<Data>(packet.body).incoming, 11'296u);
  }
  scene.give(other_side(call.id), Grant{20'000, 1});
  EXPECT_EQ(scene.sent().size(), 7u);
}

TEST(HomaUnknown, IsIgnoredWhileARestartIsUnderWay) {
  Config config;
  config.link_mbps = 10;
  Scene scene(config);
  const StartedCall call = scene.call(8000);
  std::size_t sent = scene.sent().size();
  scene.give(other_side(call.id), Unknown{});
  EXPECT_TRUE(scene.sent().empty());
  while (scene.endpoint().next_transmit() != Instant::never()) {
    scene.now = scene.endpoint().next_transmit();
    sent += scene.sent().size();
  }
  EXPECT_EQ(sent, 6u);
}

TEST(HomaUnknown, AServerThatLostItsStateFailsTheCallAtTheFifth) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  scene.give(other_side(call.id), Scene::data(8000));
  for (int i = 0; i < 4; ++i) scene.give(other_side(call.id), Unknown{});
  scene.give(other_side(call.id), Scene::data(8000, 1412));  // new bytes: those were stale
  for (int i = 0; i < 4; ++i) scene.give(other_side(call.id), Unknown{});
  EXPECT_FALSE(scene.host.take(scene.host.client_port()));
  scene.give(other_side(call.id), Unknown{});
  EXPECT_EQ(take_failure(scene)->event.error, CallError::server_lost_state);
  EXPECT_EQ(scene.host.buffers(), 0u);
}

TEST(HomaUnknown, IsIgnoredByAReadyCall) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  scene.give(other_side(call.id), Scene::data(100));
  for (int i = 0; i < 10; ++i) scene.give(other_side(call.id), Unknown{});
  EXPECT_EQ(scene.host.take(scene.host.client_port())->event.kind, Event::Kind::response);
}

TEST(HomaStrays, GrantBusyAndUnknownForNobodyAreDropped) {
  for (const PacketBody& body : {PacketBody{Grant{100, 0}}, PacketBody{Busy{}}, PacketBody{Unknown{}}}) {
    Scene scene;
    scene.give(RpcId{2}, body);
    scene.give(RpcId{1001}, body);
    EXPECT_TRUE(scene.sent().empty());
    EXPECT_EQ(scene.endpoint().counters().dropped_unknown_rpc, 2u);
    EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  }
}

TEST(HomaStrays, DataForACallThatIsOverIsDropped) {
  Scene scene;
  scene.give(RpcId{1001}, Scene::data(100));
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_EQ(scene.endpoint().counters().dropped_unknown_rpc, 1u);
}

TEST(HomaStrays, APortThatNobodyOpenedAnswersOnlyResends) {
  Scene scene;
  scene.endpoint().close_port(scene.now, kEchoPort);
  scene.give(RpcId{2}, Scene::data(100));
  EXPECT_TRUE(scene.sent().empty());
  EXPECT_EQ(scene.endpoint().counters().dropped_unknown_port, 1u);
  scene.give(RpcId{2}, Resend{0, 100, 7});
  scene.sent_body<Unknown>();
}

TEST(HomaStrays, AnUnreachablePeersCallsFailByItsReason) {
  for (const CallError error : {CallError::refused, CallError::unreachable}) {
    Scene scene;
    scene.call(100);
    scene.take_request(2);
    scene.endpoint().handle_unreachable(scene.now, ipv4_address(0x0a0000ff, 1), error);
    EXPECT_EQ(scene.endpoint().rpc_count(), 2u);
    scene.endpoint().handle_unreachable(scene.now, scene.peer, error);
    EXPECT_EQ(take_failure(scene)->event.error, error);
    EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
  }
}

}  // namespace
}  // namespace godwit::homa
