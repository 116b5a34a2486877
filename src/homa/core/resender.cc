#include "homa/core/resender.h"

#include <algorithm>

namespace godwit::homa {

const Resender::Findings& Resender::handle_tick() {
  findings_.resends.clear();
  findings_.need_acks.clear();
  findings_.over.clear();
  findings_.dead.clear();
  ++tick_;
  for (RpcIndex at = rpcs_.first_aging(); at != kNoRpcIndex; at = rpcs_.at(at).next_aging) check(at);
  return findings_;
}

void Resender::check(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  ++rpc.timing.silent_ticks;
  check_acknowledgement(index, rpc);
  if (is_silence_expected(rpc)) {
    rpc.timing.silent_ticks = 0;
    return;
  }
  if (rpc.timing.silent_ticks < config_.resend_ticks - 1) return;
  Peer& peer = peers_.at(rpc.peer);
  if (peer.outstanding_resends >= config_.timeout_resends) {
    if (peer.death_examined != tick_ && is_peer_dead(rpc, peer)) findings_.dead.push_back(rpc.peer);
    peer.death_examined = tick_;
    return;
  }
  if (peer.candidate.tick != tick_) {
    peer.nominee = peer.candidate.tick + 1 == tick_ ? peer.candidate : ResendTurn{};
    peer.candidate = {};
  }
  if (peer.nominee.rpc == rpcs_.handle(index)) take_turn(index, rpc, peer);
  nominate(index, rpc, peer);
}

void Resender::check_acknowledgement(RpcIndex index, Rpc& rpc) {
  TimerState& timing = rpc.timing;
  if (rpc.is_client() || rpc.state != RpcState::outgoing || !rpc.out.is_sent()) return;
  if (timing.next_need_ack == 0) {
    timing.next_need_ack = tick_ + config_.request_ack_ticks;
    return;
  }
  if (tick_ < timing.next_need_ack) return;
  findings_.need_acks.push_back(index);
  // Two more at once, then ever rarer.
  ++timing.need_acks;
  timing.need_ack_gap = timing.need_acks < 3 ? 1 : std::min(timing.need_ack_gap * 2, kNeedAckGapMax);
  timing.next_need_ack = tick_ + timing.need_ack_gap;
}

bool Resender::is_silence_expected(const Rpc& rpc) const {
  if (rpc.state == RpcState::outgoing) return rpc.out.has_permitted_unsent();  // the ball is in our court
  return rpc.in.received() >= rpc.in.incoming();                               // nothing that was granted is missing
}

// The last RESEND gets as long for its answer as the others; where only server RPCs are left, longer, so that clients give up
// first.
bool Resender::is_peer_dead(const Rpc& rpc, const Peer& peer) const {
  bool any_client = rpc.is_client();
  for (RpcIndex at = rpcs_.first_aging(); at != kNoRpcIndex && !any_client; at = rpcs_.at(at).next_aging)
    any_client = rpcs_.at(at).peer == rpc.peer && rpcs_.at(at).is_client();
  const std::uint64_t patience = std::uint64_t{config_.resend_interval_ticks} * (any_client ? 1 : 2);
  return tick_ - peer.last_resend >= patience;
}

void Resender::take_turn(RpcIndex index, Rpc& rpc, Peer& peer) {
  if (peer.last_resend != 0 && tick_ - peer.last_resend < config_.resend_interval_ticks) return;
  if (rpc.timing.unanswered >= 4 * config_.timeout_resends) {
    findings_.over.push_back(rpcs_.handle(index));
    return;
  }
  ++peer.outstanding_resends;
  peer.last_resend = tick_;
  ++rpc.timing.unanswered;
  rpc.timing.last_resend = tick_;
  findings_.resends.push_back({index, missing(rpc)});
}

// The one that has waited longest since its last RESEND is next.
void Resender::nominate(RpcIndex index, const Rpc& rpc, Peer& peer) {
  const ResendTurn mine{rpcs_.handle(index), rpc.timing.last_resend, rpc.created, tick_};
  const ResendTurn& best = peer.candidate;
  if (best.tick == tick_ &&
      (best.last_resend < mine.last_resend || (best.last_resend == mine.last_resend && best.created < mine.created)))
    return;
  peer.candidate = mine;
}

ByteRange Resender::missing(const Rpc& rpc) const {
  if (!rpc.is_client() && rpc.state == RpcState::outgoing) return {};
  if (rpc.in.received() == 0) return kAnything;
  return rpc.in.first_gap().value_or(kAnything);
}

}  // namespace godwit::homa
