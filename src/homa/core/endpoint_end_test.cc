// homa.md 7, 8 and 10: how RPCs end before their time, and what they leave to others.
#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

// All packets of [begin, end) of a message, in one batch.
void give_range(Scene& scene, const PeerAddress& from, RpcId id, std::uint32_t length, std::uint32_t begin, std::uint32_t end) {
  for (std::uint32_t offset = begin; offset < end; offset += kMaxData)
    scene.give_from(from, id, Scene::data(length, offset), offset + kMaxData >= end);
}

std::vector<std::pair<RpcId, Grant>> grants_of(const std::vector<Packet>& packets) {
  std::vector<std::pair<RpcId, Grant>> grants;
  for (const Packet& packet : packets)
    if (const Grant* grant = std::get_if<Grant>(&packet.body)) grants.emplace_back(packet.sender_id, *grant);
  return grants;
}

// Has sent part of a long call, received part of a request, and asked in vain for the answer to a short call: the peer dies at
// the 65th tick. Two others send requests, too.
class DyingPeer : public Scene {
 public:
  static Config slow_link_and_one_rank() {
    Config config;
    config.link_mbps = 1;  // a packet takes 12 ms
    config.max_overcommit = 1;
    config.byte_bound = false;
    return config;
  }
  DyingPeer() : Scene(slow_link_and_one_rank()) {
    const StartedCall asked = call(100);
    give(other_side(asked.id), CutoffsUpdate{{0, 0, 0, 0, 0, 1'000'000, 3'000, 0}, 5});
    call(100'000);
    give_range(*this, first, RpcId{2}, 20'000, 0, 2 * kMaxData);  // rank 1
    give_range(*this, peer, RpcId{2}, 100'000, 0, 11'296);        // rank 2, nothing announced is missing
    give_range(*this, last, RpcId{2}, 200'000, 0, 11'296);        // rank 3, likewise
    EXPECT_EQ(grants_of(sent()).size(), 1u);
  }
  // Those that live go on; what went out at each tick.
  std::vector<Packet> live_one_tick() {
    tick();
    std::vector<Packet> packets = sent();
    give_from(last, RpcId{2}, data(200'000));
    if (!first_is_complete) give_from(first, RpcId{2}, data(20'000));
    return packets;
  }
  void complete_first() {
    first_is_complete = true;
    give_range(*this, first, RpcId{2}, 20'000, 2 * kMaxData, 20'000);
  }
  PeerAddress first = ipv4_address(0x0a000011, 9160), last = ipv4_address(0x0a000012, 9160);
  bool first_is_complete = false;
};

TEST(HomaPeerDeath, LeavesItsRankItsPlaceInTheLineAndItsTurnToOthers) {
  DyingPeer scene;
  for (int i = 1; i <= 60; ++i) scene.live_one_tick();
  scene.complete_first();
  const auto now_granted = grants_of(scene.sent());
  ASSERT_EQ(now_granted.size(), 1u);
  EXPECT_EQ(now_granted[0].second, (Grant{21'296, 1})) << "the dying peer's request has the rank";
  for (int i = 61; i <= 64; ++i) EXPECT_TRUE(grants_of(scene.live_one_tick()).empty()) << i;
  EXPECT_NE(scene.endpoint().next_transmit(), Instant::never()) << "its call is in the line";
  EXPECT_EQ(scene.endpoint().counters().peers_dead, 0u);

  const auto at_death = grants_of(scene.live_one_tick());
  EXPECT_EQ(scene.endpoint().counters().peers_dead, 1u);
  ASSERT_EQ(at_death.size(), 1u) << "in the tick of its death";
  EXPECT_EQ(at_death[0].second, (Grant{21'296, 0})) << "alone";
  EXPECT_EQ(scene.endpoint().next_transmit(), Instant::never());
  EXPECT_EQ(scene.endpoint().grantable_peers(), 1u);
  EXPECT_EQ(scene.host.take(scene.host.client_port())->event.error, CallError::timed_out);
  EXPECT_EQ(scene.host.take(scene.host.client_port())->event.error, CallError::timed_out);
  EXPECT_EQ(scene.endpoint().rpc_count(), 2u) << "the others' requests";
}

TEST(HomaPeerDeath, ItsCutoffsAreKeptAndItsBudgetBeginsAnew) {
  DyingPeer scene;
  for (int i = 1; i <= 65; ++i) scene.live_one_tick();
  ASSERT_EQ(scene.endpoint().counters().peers_dead, 1u);
  while (scene.host.take(scene.host.client_port())) continue;
  scene.now = scene.now + Duration::milliseconds(100);
  scene.sent();
  const RpcId id = scene.call(3'000).id;
  std::vector<Datagram> sent = scene.sent_datagrams();
  ASSERT_FALSE(sent.empty());
  EXPECT_EQ(sent[0].priority, 6) << "as its cutoffs have it";
  EXPECT_EQ(std::get<Data>(sent[0].packet().body).cutoff_version, 5);
  std::vector<int> asked;
  for (int i = 1; i <= 120 && scene.endpoint().counters().peers_dead == 1; ++i)
    for (const Packet& packet : scene.live_one_tick())
      if (packet.type() == PacketType::resend && packet.sender_id == id) asked.push_back(i);
  ASSERT_EQ(asked.size(), 5u);
  for (std::size_t i = 1; i < asked.size(); ++i) EXPECT_EQ(asked[i] - asked[i - 1], 10);
}

TEST(HomaPeerDeath, ACallWhoseResponseHasBegunFailsWithoutBytes) {
  Scene scene;
  const StartedCall call = scene.call(100);
  scene.sent();
  scene.give(other_side(call.id), Scene::data(100'000));
  std::vector<int> asked;
  for (int i = 1; i <= 65; ++i) {
    EXPECT_FALSE(scene.host.take(scene.host.client_port())) << i;
    scene.tick();
    for (const Packet& packet : scene.sent())
      if (packet.type() == PacketType::resend) asked.push_back(i);
  }
  EXPECT_EQ(asked, (std::vector<int>{15, 25, 35, 45, 55}));
  EXPECT_EQ(scene.endpoint().grantable_peers(), 0u) << "though the application has not taken it";
  scene.give(other_side(call.id), Scene::data(100'000, kMaxData));
  EXPECT_EQ(scene.endpoint().counters().dropped_duplicate, 1u) << "too late";
  EXPECT_TRUE(scene.sent().empty());
  const std::optional<Taken> failed = scene.host.take(scene.host.client_port());
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->event.kind, Event::Kind::failed);
  EXPECT_EQ(failed->event.error, CallError::timed_out);
  EXPECT_EQ(failed->event.length, 0u);
  EXPECT_EQ(scene.host.buffers(), 0u);
  EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
}

TEST(HomaPeerDeath, ARepeatThatWasAskedForIsNotSentAnyMore) {
  Scene scene;
  const StartedCall call = scene.call(5000);
  scene.sent();
  scene.give(other_side(call.id), Resend{0, 5000, 7});
  scene.endpoint().handle_unreachable(scene.now, scene.peer, CallError::refused);
  EXPECT_TRUE(scene.sent().empty());
}

// homa.md 7, step 7, at a server: the client answers about another RPC, never about this one.
TEST(HomaServerBudget, TwentyQuestionsInVainEndThatRpcAlone) {
  struct Row {
    const char* name;
    bool answers;
    std::uint32_t asked_length;
  };
  for (const Row& row : {Row{"receiving", false, kMaxData}, Row{"answering", true, 0}}) {
    SCOPED_TRACE(row.name);
    Scene scene;
    row.answers ? void(scene.answer_request(2, 100'000)) : scene.give(RpcId{2}, Scene::data(2 * kMaxData));
    scene.take_request(4);
    scene.sent();
    int asked = 0, since_last = 0;
    while (scene.endpoint().next_tick() != Instant::never()) {
      ASSERT_LT(++since_last, 30);
      scene.tick();
      for (const Packet& packet : scene.sent()) {
        const Resend* resend = std::get_if<Resend>(&packet.body);
        if (resend == nullptr) continue;
        EXPECT_EQ(packet.sender_id, RpcId{3});
        EXPECT_EQ(resend->length, row.asked_length);
        ++asked;
        since_last = 0;
        scene.give(RpcId{4}, Scene::data(100));  // a duplicate: the client lives
      }
    }
    EXPECT_EQ(asked, 20);
    EXPECT_EQ(since_last, 10);
    EXPECT_EQ(scene.endpoint().counters().peers_dead, 0u);
    EXPECT_EQ(scene.endpoint().rpc_count(), 1u) << "the other";
    const std::uint64_t dropped = scene.endpoint().counters().dropped_retired;
    scene.give(RpcId{2}, Scene::data(row.answers ? 100 : 2 * kMaxData));
    EXPECT_EQ(scene.endpoint().counters().dropped_retired, dropped + 1) << "it is not begun again";
    EXPECT_FALSE(scene.host.take(kEchoPort));
    EXPECT_EQ(scene.host.buffers(), 0u);
  }
}

TEST(HomaServerBudget, DataGrantAndBusyRenewIt) {
  struct Row {
    const char* name;
    PacketBody body;
    bool answers;
  };
  const Row rows[] = {
      {"DATA", Scene::data(2 * kMaxData), false}, {"BUSY", Busy{}, false}, {"GRANT", Grant{1, 0}, true}, {"BUSY", Busy{}, true}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Scene scene;
    row.answers ? void(scene.answer_request(2, 100'000)) : scene.give(RpcId{2}, Scene::data(2 * kMaxData));
    scene.sent();
    for (int asked = 0; asked < 45;) {
      ASSERT_NE(scene.endpoint().next_tick(), Instant::never()) << asked;
      scene.tick();
      for (const Packet& packet : scene.sent()) {
        if (packet.type() != PacketType::resend) continue;
        ++asked;
        // The 19th and 38th are answered so that they count; all others only show that the peer lives.
        scene.give(RpcId{2}, asked % 19 == 0 ? row.body : PacketBody{CutoffsUpdate{{}, 3}});
      }
    }
    EXPECT_EQ(scene.endpoint().rpc_count(), 1u);
  }
}

TEST(HomaUnknown, AServersRpcIsForgottenInEveryState) {
  struct Row {
    const char* name;
    void (*reach)(Scene&);
  };
  const Row rows[] = {{"incoming",
                       [](Scene& scene) {
                         scene.give(RpcId{2}, Scene::data(30'000));
                         scene.sent();
                       }},
                      {"ready", [](Scene& scene) { scene.give(RpcId{2}, Scene::data(100)); }},
                      {"in service", [](Scene& scene) { scene.take_request(2); }},
                      {"outgoing, to be granted", [](Scene& scene) { scene.answer_request(2, 100'000); }},
                      {"outgoing, to be acknowledged", [](Scene& scene) { scene.answer_request(2); }},
                      {"outgoing, in the line", [](Scene& scene) {
                         const RpcHandle rpc = scene.take_request(2);
                         EXPECT_TRUE(scene.host.reply(scene.now, rpc, pattern(3, 9'000)));
                       }}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Scene scene;
    row.reach(scene);
    EXPECT_EQ(scene.endpoint().rpc_count(), 1u);
    scene.give(RpcId{2}, Unknown{});
    EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
    EXPECT_EQ(scene.endpoint().retired_count(), 1u);
    EXPECT_EQ(scene.endpoint().inbound_bytes(), 0u);
    EXPECT_EQ(scene.endpoint().grantable_peers(), 0u);
    EXPECT_TRUE(scene.sent().empty());
    EXPECT_FALSE(scene.host.take(kEchoPort));
    EXPECT_EQ(scene.host.buffers(), 0u);
    EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
    scene.give(RpcId{2}, Scene::data(100));
    EXPECT_EQ(scene.endpoint().counters().dropped_retired, 1u);
  }
}

TEST(HomaAbort, ACallEndsWithoutAWordInEveryState) {
  struct Row {
    const char* name;
    std::uint32_t response;  // bytes, of which one packet has come; 0: none
  };
  for (const Row& row : {Row{"outgoing", 0}, Row{"incoming", 50'000}, Row{"ready", 1'000}}) {
    SCOPED_TRACE(row.name);
    Scene scene;
    const StartedCall call = scene.call(100'000);
    scene.sent();
    if (row.response > 0) scene.give(other_side(call.id), Scene::data(row.response));
    scene.sent();
    EXPECT_TRUE(scene.endpoint().handle_abort(scene.now, call.rpc));
    EXPECT_FALSE(scene.endpoint().handle_abort(scene.now, call.rpc));
    EXPECT_TRUE(scene.sent().empty()) << "the server is not told";
    EXPECT_FALSE(scene.host.take(scene.host.client_port()));
    EXPECT_EQ(scene.host.buffers(), 0u);
    EXPECT_EQ(scene.endpoint().rpc_count(), 0u);
    EXPECT_EQ(scene.endpoint().grantable_peers(), 0u);
    EXPECT_EQ(scene.endpoint().next_deadline(), Instant::never());
    scene.give(other_side(call.id), Scene::data(50'000));
    EXPECT_EQ(scene.endpoint().counters().dropped_unknown_rpc, 1u);
    EXPECT_EQ(scene.host.buffers(), 0u);
  }
}

}  // namespace
}  // namespace godwit::homa
