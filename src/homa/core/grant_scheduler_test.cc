// homa.md 6.2: who is granted how far, at which priority.
#include "homa/core/grant_scheduler.h"

#include "homa/core/scene_test.h"

namespace godwit::homa {
namespace {

struct Seen {
  std::uint64_t id;
  std::uint32_t offset;
  std::uint8_t priority;
  friend bool operator==(const Seen&, const Seen&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Seen& s) {
    return out << s.id << " to " << s.offset << " at " << int{s.priority};
  }
};

class Receiver : public Scene {
 public:
  using Scene::Scene;

  // Grants that go out now, the RPCs by the client's id.
  std::vector<Seen> grants() {
    std::vector<Seen> seen;
    for (const Packet& packet : sent())
      if (const Grant* grant = std::get_if<Grant>(&packet.body))
        seen.push_back({packet.sender_id.value ^ 1, grant->offset, grant->priority});
    return seen;
  }
  // A sender of its own for each number.
  PeerAddress sender(std::uint32_t number) const { return ipv4_address(0x0a000100 + number, 9160); }
  void begin(std::uint32_t number, std::uint32_t length, std::uint32_t offset = 0) {
    give_from(sender(number), RpcId{2 * number}, data(length, offset));
  }
  // Two packets of each of `count` messages, the i-th of i * `unit` bytes and from a sender of its own, in one batch.
  void begin_all(std::uint32_t count, std::uint32_t unit) {
    for (std::uint32_t i = 1; i <= count; ++i)
      for (const std::uint32_t offset : {0u, kMaxData}) give_from(sender(i), RpcId{2 * i}, data(i * unit, offset), false);
    endpoint().handle_batch_end(now);
  }
  // As many packets of a message as give `bytes` bytes, in one batch.
  void give_bytes(std::uint32_t number, std::uint32_t length, std::uint32_t bytes) {
    for (std::uint32_t offset = 0; offset < bytes; offset += kMaxData)
      give_from(sender(number), RpcId{2 * number}, data(length, offset), offset + kMaxData >= bytes);
  }
};

TEST(HomaGrants, AShortMessageNeedsNone) {
  Receiver receiver;
  receiver.begin(1, 10'000);
  EXPECT_TRUE(receiver.grants().empty());
}

// homa.md 3.6, E3: two packets in, rtt_bytes 10000.
TEST(HomaGrants, TheWorkedExampleIsGranted) {
  Receiver receiver;
  receiver.give_bytes(1, 20'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 0}}));
}

TEST(HomaGrants, BytesGrantedAndNotUsedAreThoseOfAllMessages) {
  Receiver receiver;
  const auto unused = [&] { return receiver.endpoint().bytes_granted_unused(); };
  receiver.begin(1, 20'000);  // 11296 come without grants; with the first packet it gets as far as 11412
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 11'412, 0}}));
  EXPECT_EQ(unused(), 11'412u - kMaxData);
  receiver.begin(1, 20'000, kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 0}}));
  EXPECT_EQ(unused(), 10'000u);
  receiver.begin(2, 5000);  // no grant ever
  EXPECT_EQ(unused(), 10'000u + 5000 - kMaxData);
  receiver.begin(2, 5000);  // once more: nothing new
  EXPECT_EQ(unused(), 10'000u + 5000 - kMaxData);
  for (std::uint32_t offset = kMaxData; offset < 5000; offset += kMaxData) receiver.begin(2, 5000, offset);
  EXPECT_EQ(unused(), 10'000u);
  receiver.endpoint().close_port(receiver.now, kEchoPort);
  EXPECT_EQ(unused(), 0u);
}

TEST(HomaGrants, RttBytesStayGrantedUntilTheTail) {
  Receiver receiver;
  constexpr std::uint32_t kLength = 100'000;
  std::uint32_t incoming = 11'296;
  for (std::uint32_t offset = 0; offset < kLength; offset += kMaxData) {
    if (offset >= incoming) break;
    receiver.begin(1, kLength, offset);
    for (const Seen& grant : receiver.grants()) incoming = (grant.offset + kMaxData - 1) / kMaxData * kMaxData;
    const std::uint32_t received = std::min(kLength, offset + kMaxData);
    if (offset > 2 * kMaxData && incoming < kLength) {
      EXPECT_GE(incoming - received, 8000u - kMaxData);
      EXPECT_LE(incoming - received, 11'296u + kMaxData);
    }
  }
  EXPECT_EQ(receiver.host.take(kEchoPort)->event.length, kLength);
}

TEST(HomaGrants, AGrantIncrementIsGivenAtLeast) {
  Config config = Scene::unpaced();
  config.grant_increment = 5000;
  Receiver receiver(config);
  receiver.give_bytes(1, 100'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 11'296 + 5000, 0}}));
}

TEST(HomaGrants, TheDutyCycleHoldsGrantsBackUntilEnoughIsMissing) {
  Config config = Scene::unpaced();
  config.duty_cycle_permille = 500;
  Receiver receiver(config);
  receiver.give_bytes(1, 100'000, 4 * kMaxData);
  EXPECT_TRUE(receiver.grants().empty());
  receiver.begin(1, 100'000, 4 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 5 * 1412 + 10'000, 0}}));
}

TEST(HomaGrants, SeveralMessagesTakeTheLowestScheduledLevelsTheShortestTheHighest) {
  Receiver receiver;
  for (std::uint32_t i = 1; i <= 3; ++i) receiver.give_from(receiver.sender(i), RpcId{2 * i}, Scene::data(i * 100'000), false);
  for (std::uint32_t i = 1; i <= 3; ++i)
    receiver.give_from(receiver.sender(i), RpcId{2 * i}, Scene::data(i * 100'000, kMaxData), false);
  receiver.endpoint().handle_batch_end(receiver.now);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 2}, {4, 12'824, 1}, {6, 12'824, 0}}));
}

TEST(HomaGrants, ExcessMessagesShareTheLowestLevel) {
  Receiver receiver;
  receiver.begin_all(6, 100'000);
  const std::vector<Seen> grants = receiver.grants();
  ASSERT_EQ(grants.size(), 6u);
  const std::uint8_t expected[] = {3, 2, 1, 0, 0, 0};
  for (std::size_t i = 0; i < grants.size(); ++i) EXPECT_EQ(grants[i].priority, expected[i]) << i;
}

TEST(HomaGrants, OnlyTheBestMessageOfAPeerIsGranted) {
  Receiver receiver;
  const PeerAddress peer = receiver.sender(1);
  for (const std::uint32_t offset : {0u, kMaxData}) {
    receiver.give_from(peer, RpcId{2}, Scene::data(200'000, offset), false);
    receiver.give_from(peer, RpcId{4}, Scene::data(100'000, offset), false);
  }
  receiver.endpoint().handle_batch_end(receiver.now);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 0}}));
}

TEST(HomaGrants, AmongEqualsTheEarlierMessageIsFirst) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  Receiver receiver(config);
  for (const std::uint32_t offset : {0u, kMaxData})
    for (const std::uint32_t number : {5u, 3u})
      receiver.give_from(receiver.sender(number), RpcId{2 * number}, Scene::data(100'000, offset), false);
  receiver.endpoint().handle_batch_end(receiver.now);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{10, 12'824, 1}}));
}

TEST(HomaGrants, NoMoreSendersThanTheOvercommitmentAreGranted) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;
  config.byte_bound = false;
  Receiver receiver(config);
  receiver.begin_all(4, 100'000);
  const std::vector<Seen> grants = receiver.grants();
  ASSERT_EQ(grants.size(), 2u);
  EXPECT_EQ(grants[0].id, 2u);
  EXPECT_EQ(grants[1].id, 4u);
}

TEST(HomaGrants, AShortNewcomerIsGrantedAtOnceThoughOthersHoldGrants) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;
  config.byte_bound = false;
  Receiver receiver(config);
  for (std::uint32_t i = 1; i <= 2; ++i) receiver.give_bytes(i, 900'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants().size(), 2u);
  receiver.give_bytes(3, 20'000, 2 * kMaxData);
  const std::vector<Seen> grants = receiver.grants();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].id, 6u);
}

TEST(HomaGrants, TheBytesOnTheWayAreBounded) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;
  Receiver receiver(config);
  // 20000 bytes may be on the way; each message has 8472 announced and unreceived, and wants 1528 more.
  receiver.begin_all(3, 100'000);
  EXPECT_EQ(receiver.grants().size(), 2u);
  // A whole unscheduled message on its way leaves too little for the second.
  Receiver beside(config);
  beside.give_from(beside.sender(9), RpcId{18}, Scene::data(10'000), false);
  beside.begin_all(2, 100'000);
  EXPECT_EQ(beside.grants().size(), 1u);
}

TEST(HomaGrants, ALyingSenderDoesNotStopTheOthers) {
  Config config = Scene::unpaced();
  config.max_overcommit = 4;
  Receiver receiver(config);
  Data lie = Scene::data(1'000'000);
  lie.incoming = 1'000'000;
  receiver.give_from(receiver.sender(9), RpcId{18}, lie);
  receiver.give_bytes(1, 100'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants().size(), 1u);
}

TEST(HomaGrants, ASenderThatSendsMoreThanItWasGrantedIsGrantedOn) {
  Receiver receiver;
  // It rounded our grant of 12824 up to 14120; all of that comes.
  receiver.give_bytes(1, 100'000, 10 * kMaxData);
  receiver.grants();
  receiver.begin(1, 100'000, 10 * kMaxData);
  const std::vector<Seen> grants = receiver.grants();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].offset, 11 * kMaxData + 10'000);
}

TEST(HomaGrants, AMessageIsGrantedToItsEndOnceAndThenLeaves) {
  Receiver receiver;
  receiver.give_bytes(1, 12'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'000, 0}}));
  EXPECT_EQ(receiver.endpoint().grantable_peers(), 0u);
  receiver.begin(1, 12'000, 2 * kMaxData);
  EXPECT_TRUE(receiver.grants().empty());
}

TEST(HomaGrants, ARunGivesTenGrantsAtMost) {
  Config config = Scene::unpaced();
  config.max_overcommit = 20;
  Receiver receiver(config);
  receiver.begin_all(15, 50'000);
  EXPECT_EQ(receiver.grants().size(), 10u);
  receiver.endpoint().handle_batch_end(receiver.now);
  EXPECT_EQ(receiver.grants().size(), 5u);
}

TEST(HomaGrants, AStalledMessageLosesItsRankUntilItsNextData) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  Receiver receiver(config);
  receiver.give_bytes(1, 100'000, 2 * kMaxData);
  receiver.give_bytes(2, 200'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants().size(), 1u) << "only the shorter";
  receiver.give_from(receiver.sender(1), RpcId{2}, Busy{});
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 3 - 3}})) << "the other has the rank now, alone";
  receiver.begin(1, 100'000, 2 * kMaxData);
  const std::vector<Seen> grants = receiver.grants();
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].id, 2u);
}

TEST(HomaGrants, AStalledMessageDoesNotHideItsPeersNext) {
  Receiver receiver;
  const PeerAddress peer = receiver.sender(1);
  for (const std::uint32_t offset : {0u, kMaxData})
    for (const std::uint32_t id : {2u, 4u}) receiver.give_from(peer, RpcId{id}, Scene::data(id * 50'000, offset));
  EXPECT_EQ(receiver.grants().back().id, 2u);
  receiver.give_from(peer, RpcId{2}, Busy{});
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 0}}));
}

TEST(HomaGrants, IfAllAreStalledTheyAreTreatedAsNormal) {
  Receiver receiver;
  receiver.give_from(receiver.sender(1), RpcId{2}, Scene::data(100'000), false);
  receiver.give_from(receiver.sender(1), RpcId{2}, Busy{}, false);
  EXPECT_TRUE(receiver.grants().empty());
  receiver.give_from(receiver.sender(1), RpcId{2}, Scene::data(100'000, kMaxData), false);
  receiver.give_from(receiver.sender(1), RpcId{2}, Busy{});
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 0}}));
}

TEST(HomaGrants, NowAndThenTheOldestIsPitied) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  config.grant_increment = 10'000;
  config.grant_fifo_permille = 500;  // after each 10000 bytes granted normally
  Receiver receiver(config);
  receiver.give_bytes(1, 900'000, 2 * kMaxData);  // the oldest, and the longest
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 21'296, 0}})) << "alone so far";
  receiver.give_bytes(2, 100'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 21'296, 1}, {2, 31'296, 3}}));
  EXPECT_EQ(receiver.endpoint().pity_grants(), 1u);
}

TEST(HomaGrants, WithoutAnIncrementNobodyIsPitied) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  Receiver receiver(config);
  receiver.give_bytes(1, 900'000, 2 * kMaxData);
  receiver.give_bytes(2, 500'000, 300 * kMaxData);
  EXPECT_EQ(receiver.endpoint().pity_grants(), 0u);
}

// All with the rank of one message to give, and nobody ends a batch.
TEST(HomaGrants, TheEndOfAnRpcGivesItsRankToTheNextAtOnce) {
  struct Row {
    const char* name;
    void (*end)(Receiver&);
  };
  const Row rows[] = {
      {"its client forgot it", [](Receiver& r) { r.give_from(r.sender(2), RpcId{4}, Unknown{}, false); }},
      {"its port is closed", [](Receiver& r) { r.endpoint().close_port(r.now, kEchoPort); }},
      {"unreachable", [](Receiver& r) { r.endpoint().handle_unreachable(r.now, r.sender(2), CallError::unreachable); }}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Config config = Scene::unpaced();
    config.max_overcommit = 1;
    config.byte_bound = false;
    Receiver receiver(config);
    const auto begin_response = [&](std::uint32_t number, std::uint32_t length) {
      receiver.peer = receiver.sender(number);
      const StartedCall call = receiver.call(10);
      for (const std::uint32_t offset : {0u, kMaxData})
        receiver.give_from(receiver.peer, other_side(call.id), Scene::data(length, offset), false);
      return call;
    };
    const StartedCall shortest = begin_response(1, 100'000);
    for (const std::uint32_t offset : {0u, kMaxData})
      receiver.give_from(receiver.sender(2), RpcId{4}, Scene::data(150'000, offset), false);
    const StartedCall longest = begin_response(3, 200'000);
    receiver.endpoint().handle_batch_end(receiver.now);
    const auto one_grant = [&](RpcId id, std::uint8_t priority) {
      std::vector<Packet> grants;
      for (const Packet& packet : receiver.sent())
        if (packet.type() == PacketType::grant) grants.push_back(packet);
      ASSERT_EQ(grants.size(), 1u);
      EXPECT_EQ(grants[0].sender_id, id);
      EXPECT_EQ(std::get<Grant>(grants[0].body), (Grant{12'824, priority}));
    };
    one_grant(shortest.id, 2);
    EXPECT_TRUE(receiver.endpoint().handle_abort(receiver.now, shortest.rpc));
    one_grant(RpcId{5}, 1);
    row.end(receiver);
    one_grant(longest.id, 0);
  }
}

TEST(HomaGrants, ATickGivesThoseForWhichARunHadNoRoom) {
  Config config = Scene::unpaced();
  config.max_overcommit = 20;
  Receiver receiver(config);
  receiver.begin_all(25, 50'000);
  EXPECT_EQ(receiver.grants().size(), 10u);
  receiver.tick();
  EXPECT_EQ(receiver.grants().size(), 10u);
  receiver.tick();
  EXPECT_TRUE(receiver.grants().empty()) << "the ranks end at the overcommitment";
}

TEST(HomaGrants, AMessageThatIsAskedForIsStalledUntilItsNextData) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;  // 20000 bytes
  Receiver receiver(config);
  receiver.begin_all(3, 100'000);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 2}, {4, 12'824, 1}}));
  std::vector<Packet> sent;
  for (int i = 1; i <= 15; ++i) {
    EXPECT_TRUE(sent.empty()) << i;
    for (const std::uint32_t alive : {2u, 3u}) receiver.begin(alive, alive * 100'000);  // duplicates
    EXPECT_TRUE(receiver.sent().empty());
    receiver.tick();
    sent = receiver.sent();
  }
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].sender_id, RpcId{3});
  EXPECT_EQ(std::get<Resend>(sent[0].body), (Resend{2 * kMaxData, 10'000, 7})) << "it keeps what it was granted";
  EXPECT_EQ(sent[1].sender_id, RpcId{7}) << "the third has its rank, and its bytes on the way do not count";
  EXPECT_EQ(std::get<Grant>(sent[1].body), (Grant{12'824, 0}));
  receiver.begin(1, 100'000, 2 * kMaxData);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 3 * kMaxData + 10'000, 2}})) << "the first again, of three";
}

TEST(HomaGrants, EachByteOfWhatNeedsNoGrantsLeavesRoomAsItComes) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;  // 20000 bytes: 9176 for the first, 10000 for the second, 824 are left
  Receiver receiver(config);
  receiver.give_from(receiver.sender(9), RpcId{18}, Scene::data(10'000), false);
  for (const std::uint32_t offset : {0u, kMaxData}) {
    receiver.give_from(receiver.sender(1), RpcId{2}, Scene::data(12'000, offset), false);
    receiver.give_from(receiver.sender(2), RpcId{4}, Scene::data(100'000, offset), false);
  }
  receiver.endpoint().handle_batch_end(receiver.now);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'000, 1}}));
  for (std::uint32_t packet = 1; packet <= 5; ++packet) {
    receiver.begin(9, 10'000, packet * kMaxData);
    EXPECT_TRUE(receiver.grants().empty()) << packet;
  }
  receiver.begin(9, 10'000, 6 * kMaxData);  // 116 bytes are still to come
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 0}}));
}

TEST(HomaGrants, WhatIsStalledAndNeedsNoGrantsLeavesItsRoomUntilItsNextData) {
  Config config = Scene::unpaced();
  config.max_overcommit = 2;  // 20000 bytes
  Receiver receiver(config);
  receiver.give_from(receiver.sender(9), RpcId{18}, Scene::data(10'000), false);
  receiver.begin_all(2, 100'000);
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{2, 12'824, 1}}));
  receiver.give_from(receiver.sender(9), RpcId{18}, Busy{});
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 0}}));
  receiver.begin(9, 10'000, kMaxData);
  receiver.begin(2, 200'000, 2 * kMaxData);
  EXPECT_TRUE(receiver.grants().empty()) << "it counts again";
}

TEST(HomaGrants, AGrantBreaksTheSilence) {
  Config config = Scene::unpaced();
  config.max_overcommit = 1;
  config.byte_bound = false;
  Receiver receiver(config);
  receiver.begin_all(2, 100'000);
  EXPECT_EQ(receiver.grants().size(), 1u);
  receiver.ticks(10);
  receiver.give_from(receiver.sender(1), RpcId{2}, Unknown{});
  EXPECT_EQ(receiver.grants(), (std::vector<Seen>{{4, 12'824, 0}}));
  receiver.ticks(14);
  EXPECT_TRUE(receiver.sent().empty()) << "24 ticks without its DATA, 14 since it was granted";
  receiver.tick();
  EXPECT_EQ(receiver.sent_body<Resend>(), (Resend{2 * kMaxData, 10'000, 7}));
}

}  // namespace
}  // namespace godwit::homa
