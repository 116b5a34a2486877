// What silence means: once per tick it looks at every RPC that is outgoing or incoming, and says which missing bytes to ask for,
// whom to ask for an acknowledgement, and which RPCs and peers to give up. Source: homa.md 7, 10.
#pragma once

#include <cstdint>
#include <vector>

#include "homa/core/peer_table.h"
#include "homa/core/rpc_table.h"

namespace godwit::homa {

class Resender {
 public:
  Resender(const Config& config, RpcTable& rpcs, PeerTable& peers) : config_(config), rpcs_(rpcs), peers_(peers) {}

  struct Ask {
    RpcIndex rpc;
    ByteRange range;  // empty: "is the client still interested?"
  };
  // In the order to carry out. RPCs are named by handle: one that is given up may be among a dead peer's.
  struct Findings {
    std::vector<Ask> resends;
    std::vector<RpcIndex> need_acks;
    std::vector<RpcHandle> over;  // its own budget is spent
    std::vector<PeerIndex> dead;
  };
  // One tick. Valid until the next call.
  const Findings& handle_tick();

  std::uint64_t ticks() const { return tick_; }

  // Something that counts as an answer came for the RPC (DATA, GRANT, BUSY).
  static void handle_answer(Rpc& rpc) {
    rpc.timing.silent_ticks = 0;
    rpc.timing.unanswered = 0;
  }
  // Any packet for an RPC that we know shows that its peer lives.
  static void handle_sign_of_life(Peer& peer) { peer.outstanding_resends = 0; }

 private:
  void check(RpcIndex index);
  void check_acknowledgement(RpcIndex index, Rpc& rpc);
  bool is_silence_expected(const Rpc& rpc) const;
  bool is_peer_dead(const Rpc& rpc, const Peer& peer) const;
  void take_turn(RpcIndex index, Rpc& rpc, Peer& peer);
  void nominate(RpcIndex index, const Rpc& rpc, Peer& peer);
  ByteRange missing(const Rpc& rpc) const;

  // What a message of which nothing is here is asked for: the sender answers with a whole packet.
  static constexpr ByteRange kAnything{0, 100};
  static constexpr std::uint32_t kNeedAckGapMax = 64;

  const Config& config_;
  RpcTable& rpcs_;
  PeerTable& peers_;
  std::uint64_t tick_ = 0;
  Findings findings_;
};

}  // namespace godwit::homa
