#include "homa/core/acks.h"

namespace godwit::homa {

std::optional<Ack> add_ack(Peer& peer, const AckRecord& record) {
  if (peer.ack_count == kAcksPerPacket) return take_all_acks(peer);
  peer.acks[peer.ack_count++] = record;
  return std::nullopt;
}

AckRecord take_newest_ack(Peer& peer) {
  return peer.ack_count == 0 ? AckRecord{} : peer.acks[--peer.ack_count];
}

Ack take_all_acks(Peer& peer) {
  Ack ack;
  for (; ack.count < peer.ack_count; ++ack.count) ack.more[ack.count] = peer.acks[ack.count];
  peer.ack_count = 0;
  return ack;
}

}  // namespace godwit::homa
