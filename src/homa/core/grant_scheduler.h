// The receiver's side of scheduling: which messages are granted how far, and at which priority. Short messages first, a bounded
// number of senders at a time (overcommitment), the lowest scheduled levels in use, and now and then a pity grant for the oldest.
// Source: homa.md 6.2.
#pragma once

#include <cstdint>
#include <vector>

#include "homa/core/peer_ranking.h"
#include "homa/core/rpc_table.h"

namespace godwit::homa {

class GrantScheduler {
 public:
  GrantScheduler(const Config& config, RpcTable& rpcs, PeerTable& peers);

  // An inbound message was created; its DATA has been merged.
  void handle_start(RpcIndex index);
  // Bytes came, or the sender claimed more, or the message became or ceased to be stalled.
  void handle_change(RpcIndex index);
  // The message is complete or its RPC over.
  void handle_end(RpcIndex index);
  // A RESEND was sent for it or BUSY came for it (until its next DATA).
  void set_stalled(RpcIndex index, bool stalled);

  struct Granted {
    RpcIndex rpc;
    std::uint32_t offset = 0;
    std::uint8_t priority = 0;
  };
  // One run of the algorithm: the grants to send, in order. Messages have then been raised to them. Valid until the next call.
  const std::vector<Granted>& run(std::uint8_t max_scheduled_priority);

  bool any_grantable() const { return !grantable_.empty(); }
  // Peers with grantable messages that are not stalled (or, if all are, with any).
  std::size_t grantable_peers() const { return using_stalled_ ? stalled_ranking_.count() : ranking_.count(); }
  // Bytes that may be sent without more grants, unscheduled ones too, and have not come: of all messages that have begun to.
  std::uint64_t bytes_granted_unused() const { return on_the_way_; }
  std::uint64_t pity_grants() const { return pity_grants_; }

 private:
  // Expected from messages that are not grantable: bounded, so that a lying sender costs others little.
  std::uint64_t capped_on_the_way(const InboundMessage& in) const;
  void join(RpcIndex index);
  void leave(RpcIndex index);
  void rank(PeerIndex peer);
  void refresh_contribution(Rpc& rpc);
  void count_on_the_way(Rpc& rpc, std::uint32_t now);
  void grant(RpcIndex index, std::uint32_t offset, std::uint8_t priority);
  void run_ranks(const PeerRanking& ranking, std::uint8_t top);
  void run_pity(std::size_t peers, std::uint8_t top);

  static constexpr std::size_t kGrantsPerRun = 10;

  const Config& config_;
  RpcTable& rpcs_;
  PeerTable& peers_;
  const std::int64_t pity_after_;               // bytes granted normally between two pity grants; 0: none
  PeerRanking ranking_;                         // peers by their best message that is not stalled
  PeerRanking stalled_ranking_;                 // by their best stalled one
  HeapPositions positions_;                     // in Peer::grantable and stalled_
  std::vector<IndexedHeap<GrantKey>> stalled_;  // by peer
  std::vector<RpcIndex> grantable_;             // all, in no order
  std::uint64_t extra_ = 0;                     // expected by messages that are not grantable
  std::uint64_t on_the_way_ = 0;                // of all messages
  std::uint64_t births_ = 0;
  std::int64_t until_pity_ = 0;
  std::uint64_t pity_grants_ = 0;
  bool using_stalled_ = false;
  std::vector<Granted> granted_;
  std::vector<PeerRanking::Entry> ranks_;  // those at the start of the run
};

}  // namespace godwit::homa
