// Two parties and their blocks: never both on one, and everybody's turn comes.
#include "volume/core/block_gate.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"

namespace godwit::volume {
namespace {

using Party = BlockGate::Party;

TEST(BlockGate, MembersOfOnePartyShareABlock) {
  BlockGate gate;
  int inside = 0;
  gate.enter(Party::inside, 0, 4, [&](auto) { ++inside; });
  gate.enter(Party::inside, 2, 6, [&](auto) { ++inside; });
  EXPECT_EQ(inside, 2);
}

TEST(BlockGate, TheOtherPartyWaitsForTheLastToLeave) {
  BlockGate gate;
  BlockGate::Ticket first = 0, second = 0;
  bool outside = false;
  gate.enter(Party::inside, 0, 2, [&](auto t) { first = t; });
  gate.enter(Party::inside, 1, 3, [&](auto t) { second = t; });
  gate.enter(Party::outside, 1, 2, [&](auto) { outside = true; });
  gate.leave(first);
  EXPECT_FALSE(outside);
  gate.leave(second);
  EXPECT_TRUE(outside);
}

TEST(BlockGate, LaterArrivalsQueueBehindOneThatWaits) {
  BlockGate gate;
  BlockGate::Ticket held = 0, waited = 0;
  bool late = false;
  gate.enter(Party::inside, 0, 1, [&](auto t) { held = t; });
  gate.enter(Party::outside, 0, 1, [&](auto t) { waited = t; });
  EXPECT_FALSE(gate.is_free_for(Party::inside, 0, 1));
  gate.enter(Party::inside, 0, 1, [&](auto) { late = true; });
  EXPECT_FALSE(late);
  gate.leave(held);
  EXPECT_NE(waited, 0u);
  EXPECT_FALSE(late);
  gate.leave(waited);
  EXPECT_TRUE(late);
  EXPECT_EQ(gate.waiting(), 0u);
}

TEST(BlockGate, NeverBothPartiesOnABlockAndNobodyStarves) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    BlockGate gate;
    struct In {
      Party party;
      std::uint64_t first, last, entered;
    };
    std::map<BlockGate::Ticket, In> holding;
    std::map<std::uint64_t, std::uint64_t> waiting_since;  // by request
    std::uint64_t asked = 0, left = 0;
    for (int step = 0; step < 400 || !holding.empty(); ++step) {
      if (step < 400 && random.chance(0.55)) {
        const auto party = random.chance(0.5) ? Party::inside : Party::outside;
        const std::uint64_t first = random.below(8), last = first + 1 + random.below(3), request = ++asked;
        waiting_since[request] = left;
        gate.enter(party, first, last, [&, party, first, last, request](BlockGate::Ticket ticket) {
          waiting_since.erase(request);
          for (const auto& [other, in] : holding)
            ASSERT_TRUE(in.party == party || in.last <= first || last <= in.first) << "seed " << seed;
          holding[ticket] = {party, first, last, left};
        });
      } else if (!holding.empty()) {
        auto oldest = holding.begin();
        std::advance(oldest, static_cast<std::ptrdiff_t>(random.below(holding.size())));
        const BlockGate::Ticket ticket = oldest->first;
        holding.erase(oldest);
        ++left;
        gate.leave(ticket);
      }
      ASSERT_FALSE(testing::Test::HasFatalFailure());
    }
    ASSERT_TRUE(waiting_since.empty()) << "seed " << seed << ": a request was never admitted";
    ASSERT_EQ(gate.waiting(), 0u);
  }
}

}  // namespace
}  // namespace godwit::volume
