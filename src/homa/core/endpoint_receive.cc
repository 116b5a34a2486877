// What a packet that came in means: the table of homa.md 7 and the states of homa.md 8.
#include <algorithm>
#include <utility>

#include "homa/core/acks.h"
#include "homa/core/endpoint.h"

namespace godwit::homa {

RpcIndex Endpoint::find_rpc(const Arrival& in) {
  if (in.peer == kNoPeer) return kNoRpcIndex;
  if (!is_client_id(in.local_id)) {
    const RpcIndex index = rpcs_.find_server(in.peer, in.packet.source, in.local_id);
    return index != kNoRpcIndex && rpcs_.at(index).local_port == in.packet.destination ? index : kNoRpcIndex;
  }
  const RpcIndex index = rpcs_.find_client(in.local_id);
  if (index == kNoRpcIndex) return kNoRpcIndex;
  const Rpc& rpc = rpcs_.at(index);
  if (rpc.peer == in.peer && rpc.remote_port == in.packet.source && rpc.local_port == in.packet.destination) return index;
  ++counters_.dropped_other_names;
  return kNoRpcIndex;
}

Placement Endpoint::handle_packet(Instant now, const PeerAddress& from, ConstBytes head, std::size_t datagram_size) {
  const std::expected<Packet, Malformed> packet = decode_packet(head, datagram_size, config_.max_message_length);
  if (!packet) {
    ++counters_.malformed[static_cast<std::size_t>(packet.error())];
    return {};
  }
  ++counters_.received[index_of(packet->type())];
  trace_.add(now, false, from, head);
  const Arrival in{now, from, peers_.find(from), *packet, other_side(packet->sender_id)};
  const RpcIndex index = find_rpc(in);
  if (index != kNoRpcIndex) Resender::handle_sign_of_life(peers_.at(in.peer));
  switch (packet->type()) {
    case PacketType::data: return handle_data(in, std::get<Data>(packet->body), index);
    case PacketType::grant:
      index == kNoRpcIndex ? void(++counters_.dropped_unknown_rpc) : handle_grant(in, std::get<Grant>(packet->body), index);
      break;
    case PacketType::resend: handle_resend(in, std::get<homa::Resend>(packet->body), index); break;
    case PacketType::unknown: index == kNoRpcIndex ? void(++counters_.dropped_unknown_rpc) : handle_unknown(in, index); break;
    case PacketType::busy: index == kNoRpcIndex ? void(++counters_.dropped_unknown_rpc) : handle_busy(index); break;
    case PacketType::cutoffs: handle_cutoffs(in, std::get<CutoffsUpdate>(packet->body)); break;
    case PacketType::freeze:
      if (config_.allow_freeze) trace_.freeze(now);
      break;
    case PacketType::need_ack: handle_need_ack(in, index); break;
    case PacketType::ack: handle_ack(in, std::get<Ack>(packet->body), index); break;
  }
  return {};
}

void Endpoint::handle_batch_end(Instant now) {
  allocator_.handle_time(now);
  run_grants();
}

Placement Endpoint::handle_data(const Arrival& in, const Data& data, RpcIndex index) {
  // Checked before anything else of the packet counts.
  if (index != kNoRpcIndex && rpcs_.at(index).in.exists() && rpcs_.at(index).in.length() != data.message_length) {
    ++counters_.dropped_length_changed;
    return {};
  }
  if (data.ack.client_id != kNoRpc && in.peer != kNoPeer) honour_ack(in, data.ack);
  if (index == kNoRpcIndex) {
    if (is_client_id(in.local_id)) {
      ++counters_.dropped_unknown_rpc;
      return {};
    }
    index = admit(in, data);
    if (index == kNoRpcIndex) return {};
  }
  Rpc& rpc = rpcs_.at(index);
  tell_cutoffs(in, data, rpc.peer);
  const bool expected = rpc.state == RpcState::incoming || (rpc.is_client() && rpc.state == RpcState::outgoing);
  if (!expected) {
    if (rpc.is_aging) Resender::handle_answer(rpc);  // the other side is there
    ++counters_.dropped_duplicate;
    counters_.redundant_bytes += data.segment_length;
    return {};
  }
  return merge(in, data, index);
}

// A request that nobody here knows: it begins, unless it is over already or one too many.
RpcIndex Endpoint::admit(const Arrival& in, const Data& data) {
  if (retired_.hit(in.now, in.from, in.packet.source, in.local_id)) {
    ++counters_.dropped_retired;
    return kNoRpcIndex;
  }
  const bool is_server_port = in.packet.destination.value < kFirstClientPort.value;
  const std::uint32_t socket = is_server_port ? sockets_.find(in.packet.destination) : SocketTable::kNone;
  if (socket == SocketTable::kNone) {
    ++counters_.dropped_unknown_port;
    return kNoRpcIndex;
  }
  const auto exceeds = [](std::uint64_t used, std::uint64_t more, std::uint64_t limit) {
    return limit != 0 && used + more > limit;
  };
  const Limits& limits = config_.limits;
  const PeerIndex at = peers_.find_or_create(in.from);
  if (at == kNoPeer || exceeds(peers_.at(at).inbound_rpcs, 1, limits.inbound_rpcs_per_peer_max) ||
      exceeds(peers_.at(at).inbound_bytes, data.message_length, limits.inbound_bytes_per_peer_max) ||
      exceeds(inbound_bytes_, data.message_length, limits.inbound_bytes_max)) {
    ++counters_.refused_limit;
    return kNoRpcIndex;
  }
  Peer& peer = peers_.at(at);
  const RpcIndex index = rpcs_.create(in.local_id, at, in.packet.destination, in.packet.source);
  Rpc& rpc = rpcs_.at(index);
  rpc.socket = socket;
  rpc.state = RpcState::incoming;
  rpc.is_admitted = true;
  rpc.admitted_bytes = data.message_length;
  ++peer.inbound_rpcs;
  peer.inbound_bytes += data.message_length;
  inbound_bytes_ += data.message_length;
  ++peer.rpcs;
  peers_.note_use(at);
  // Now it is one that we know. A peer that begins hundreds of calls at once may not have read yet what we ask about the first.
  Resender::handle_sign_of_life(peer);
  start_aging(in.now, index);
  return index;
}

Placement Endpoint::merge(const Arrival& in, const Data& data, RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  const bool is_first = !rpc.in.exists();
  if (is_first) rpc.in.start(data.message_length);
  if (rpc.is_client() && rpc.state == RpcState::outgoing) {
    rpc.state = RpcState::incoming;  // the response says that the request has arrived
    if (rpc.out.length <= config_.max_data) learn_from_answer(in.now, rpc);
    sender_.withdraw(index);
  }
  const InboundMessage::Merged merged =
      rpc.in.merge(data.offset, data.offset + data.segment_length, config_.limits.gaps_per_message_max);
  rpc.in.raise_incoming(data.incoming);
  rpc.in.raise_incoming(data.offset + data.segment_length);
  Resender::handle_answer(rpc);
  if (merged.refused) ++counters_.dropped_gaps;
  if (merged.new_bytes > 0) rpc.timing.unknowns = 0;
  counters_.data_bytes_received += merged.new_bytes;
  counters_.redundant_bytes += data.segment_length - merged.new_bytes;
  if (rpc.in.is_complete()) {
    complete(in.now, index);
  } else if (is_first) {
    grants_.handle_start(index);
  } else {
    grants_.set_stalled(index, false);
    grants_.handle_change(index);
  }
  const ByteRange range = merged.new_bytes > 0 ? merged.covering : ByteRange{};
  return {rpcs_.handle(index), data.message_length, range,
          static_cast<std::uint32_t>(kDataHeaderSize + range.begin - (range.length() > 0 ? data.offset : 0))};
}

void Endpoint::complete(Instant now, RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  grants_.handle_end(index);
  allocator_.handle_message_received(rpc.in.length());
  allocator_.handle_time(now);
  if (rpc.is_client()) {
    ++counters_.calls_completed;
    Peer& peer = peers_.at(rpc.peer);
    if (const std::optional<Ack> overflow = add_ack(peer, {rpc.id, rpc.local_port, rpc.remote_port}))
      send_control(rpc, *overflow);
    peers_.note_use(rpc.peer);
  } else {
    ++counters_.requests_delivered;
  }
  push_ready(index);
}

void Endpoint::tell_cutoffs(const Arrival& in, const Data& data, PeerIndex at) {
  const Cutoffs& own = allocator_.current();
  if (data.cutoff_version == own.version) return;
  Peer& peer = peers_.at(at);
  if (peer.cutoffs_sent && in.now - *peer.cutoffs_sent < config_.cutoffs_interval) return;
  peer.cutoffs_sent = in.now;
  reply(in, CutoffsUpdate{own.longest, own.version});
}

void Endpoint::handle_grant(const Arrival& in, const Grant& grant, RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  Resender::handle_answer(rpc);
  if (rpc.state != RpcState::outgoing) return;
  learn_from_grant(in.now, rpc, std::min(grant.offset, rpc.out.length));
  rpc.out.grant(grant.offset);
  rpc.out.scheduled_priority = std::min<std::uint8_t>(grant.priority, config_.num_priorities - 1);
  sender_.handle_permission(index);
}

void Endpoint::handle_resend(const Arrival& in, const homa::Resend& resend, RpcIndex index) {
  if (index == kNoRpcIndex) {
    const bool is_over = !is_client_id(in.local_id) && retired_.hit(in.now, in.from, in.packet.source, in.local_id);
    // UNKNOWN would make the client send the request again.
    is_over ? void(++counters_.dropped_retired) : reply(in, Unknown{});
    return;
  }
  const Rpc& rpc = rpcs_.at(index);
  if (!rpc.out.exists() || rpc.error != CallError::none) return reply(in, Busy{});
  if (!rpc.is_client() && rpc.state != RpcState::outgoing) return reply(in, Busy{});
  if (rpc.state == RpcState::outgoing && rpc.out.has_permitted_unsent()) return reply(in, Busy{});
  if (resend.offset >= rpc.out.length) ++counters_.ignored_resends;
  if (resend.length == 0 || resend.offset >= rpc.out.length) return reply(in, Busy{});
  resend_range(resend, index);
}

// The first GRANT answers the first packet; those that follow tell how fast the rest arrives.
void Endpoint::learn_from_grant(Instant now, Rpc& rpc, std::uint32_t offset) {
  learn_from_answer(now, rpc);
  WayState& way = rpc.way;
  if (!way.measures_grants || offset < way.from) {
    way = {.since = now, .from = offset, .awaits_answer = false, .measures_grants = true};
    return;
  }
  if (offset - way.from < way_.delivery_bytes_min() || now - way.since < WayEstimate::kDeliveryTimeMin) return;
  way_.handle_delivery(now, offset - way.from, now - way.since);
  way.since = now;
  way.from = offset;
  adapt();
}

void Endpoint::learn_from_answer(Instant now, Rpc& rpc) {
  if (!std::exchange(rpc.way.awaits_answer, false)) return;
  way_.handle_round_trip(now, now - rpc.way.since);
  adapt();
}

void Endpoint::adapt() {
  config_.rtt_bytes = way_.rtt_bytes();
  config_.link_mbps = way_.link_mbps();
}

// The receiver counts on this range: if it never was granted, its GRANT was lost, and this is one.
void Endpoint::resend_range(const homa::Resend& resend, RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  const std::uint32_t end =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(std::uint64_t{resend.offset} + resend.length, rpc.out.length));
  rpc.out.grant(end);
  rpc.way = {};
  if (rpc.state == RpcState::outgoing) sender_.handle_permission(index);
  if (resend.offset > rpc.out.sent) return;
  sender_.handle_resend(index, resend.offset, end, std::min<std::uint8_t>(resend.priority, config_.num_priorities - 1));
}

void Endpoint::handle_unknown(const Arrival& in, RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  if (!rpc.is_client()) {
    end_rpc(in.now, index, Retire::other);
    run_grants();
    return;
  }
  if (rpc.state == RpcState::incoming) {
    // The server sent part of the response and forgot the rest. Asking anew would execute the request twice.
    if (++rpc.timing.unknowns >= config_.timeout_resends) fail_call(index, CallError::server_lost_state);
    return;
  }
  if (rpc.state != RpcState::outgoing || rpc.out.has_permitted_unsent()) return;  // a restart is under way
  rpc.out.restart();
  rpc.way = {};
  rpc.sending.again = {};
  sender_.handle_permission(index);
}

void Endpoint::handle_busy(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  Resender::handle_answer(rpc);
  if (rpc.state == RpcState::incoming) grants_.set_stalled(index, true);
}

void Endpoint::handle_cutoffs(const Arrival& in, const CutoffsUpdate& update) {
  if (in.peer == kNoPeer) return;
  peers_.at(in.peer).cutoffs = received_cutoffs(update, config_.num_priorities);
}

void Endpoint::handle_need_ack(const Arrival& in, RpcIndex index) {
  if (!is_client_id(in.local_id)) return;
  if (index != kNoRpcIndex) {
    const Rpc& rpc = rpcs_.at(index);
    if (rpc.state != RpcState::ready || rpc.error != CallError::none) return;  // the response is not all here
  }
  reply(in, in.peer == kNoPeer ? Ack{} : take_all_acks(peers_.at(in.peer)));
  if (in.peer != kNoPeer) peers_.note_use(in.peer);
}

void Endpoint::handle_ack(const Arrival& in, const Ack& ack, RpcIndex index) {
  if (in.peer == kNoPeer) return;
  if (index != kNoRpcIndex && !is_client_id(in.local_id)) free_acked(in.now, index);
  for (std::size_t i = 0; i < ack.count; ++i) honour_ack(in, ack.more[i]);
}

void Endpoint::honour_ack(const Arrival& in, const AckRecord& record) {
  if (record.client_id == kNoRpc || !is_client_id(record.client_id)) return;
  const RpcIndex index = rpcs_.find_server(in.peer, record.client_port, other_side(record.client_id));
  if (index != kNoRpcIndex && rpcs_.at(index).local_port == record.server_port) free_acked(in.now, index);
}

// Only what is wholly answered: a forged or early acknowledgement must not destroy a request that executes.
void Endpoint::free_acked(Instant now, RpcIndex index) {
  const Rpc& rpc = rpcs_.at(index);
  if (rpc.state != RpcState::outgoing || !rpc.out.is_sent()) {
    ++counters_.ignored_acks;
    return;
  }
  ++counters_.replies_acked;
  end_rpc(now, index, Retire::acked);
}

}  // namespace godwit::homa
