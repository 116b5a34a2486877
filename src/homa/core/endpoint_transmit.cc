// What goes out: control packets first, then what the sender chooses; and the making of control packets.
#include <algorithm>

#include "homa/core/acks.h"
#include "homa/core/endpoint.h"

namespace godwit::homa {

bool Endpoint::poll_transmit(Instant now, Transmit& out) {
  if (!outbox_.empty()) return transmit_control(now, out);
  const std::optional<Sender::Choice> choice = sender_.poll(now);
  if (!choice) return false;
  transmit_data(now, *choice, out);
  return true;
}

bool Endpoint::transmit_control(Instant now, Transmit& out) {
  const Outbox::Item item = outbox_.pop();
  out.to = item.to;
  out.priority = static_cast<std::uint8_t>(config_.num_priorities - 1);
  out.header_size = static_cast<std::uint8_t>(encode_packet(item.packet, out.header));
  out.rpc = {};
  out.buffer = {};
  out.offset = out.length = 0;
  count_sent(now, out, item.packet.type(), item.is_ipv4);
  return true;
}

void Endpoint::transmit_data(Instant now, const Sender::Choice& choice, Transmit& out) {
  Rpc& rpc = rpcs_.at(choice.rpc);
  Peer& peer = peers_.at(rpc.peer);
  Data data{.message_length = rpc.out.length,
            .incoming = rpc.out.incoming(choice.offset + choice.length, config_.max_data),
            .cutoff_version = peer.cutoffs.version,
            .retransmit = choice.is_resend || choice.offset < rpc.out.sent_before,
            .offset = choice.offset,
            .segment_length = choice.length,
            .ack = take_newest_ack(peer)};
  if (data.ack.client_id != kNoRpc) peers_.note_use(rpc.peer);
  if (data.retransmit) ++counters_.retransmitted_packets;
  if (choice.offset == 0 && !data.retransmit) rpc.way = {.since = now, .awaits_answer = true};
  out.to = peer.address;
  out.priority = choice.is_resend ? choice.resend_priority
                 : choice.offset < rpc.out.unscheduled
                     ? unscheduled_priority(peer.cutoffs, rpc.out.length, config_.num_priorities)
                     : rpc.out.scheduled_priority;
  out.header_size = static_cast<std::uint8_t>(encode_packet({rpc.local_port, rpc.remote_port, rpc.id, data}, out.header));
  out.rpc = rpcs_.handle(choice.rpc);
  out.buffer = rpc.out.buffer;
  out.offset = choice.offset;
  out.length = choice.length;
  counters_.data_bytes_sent += choice.length;
  count_sent(now, out, PacketType::data, peer.is_ipv4);
}

void Endpoint::count_sent(Instant now, const Transmit& out, PacketType type, bool is_ipv4) {
  const std::uint32_t payload = out.header_size + out.length;
  sender_.link().charge(now, payload, is_ipv4);
  ++counters_.sent[index_of(type)];
  counters_.sent_bytes_by_priority[out.priority] += payload;
  trace_.add(now, true, out.to, ConstBytes(out.header).first(out.header_size));
}

void Endpoint::send_control(const Rpc& rpc, const PacketBody& body) {
  const Peer& peer = peers_.at(rpc.peer);
  outbox_.push(peer.address, peer.is_ipv4, {rpc.local_port, rpc.remote_port, rpc.id, body});
}

void Endpoint::reply(const Arrival& in, const PacketBody& body) {
  outbox_.push(in.from, is_ipv4(in.from), {in.packet.destination, in.packet.source, in.local_id, body});
}

void Endpoint::run_grants() {
  if (!grants_.any_grantable()) return;
  for (const GrantScheduler::Granted& granted : grants_.run(allocator_.max_scheduled_priority()))
    send_control(rpcs_.at(granted.rpc), Grant{granted.offset, granted.priority});
}

}  // namespace godwit::homa
