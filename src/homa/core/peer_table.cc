#include "homa/core/peer_table.h"

#include <cstring>

namespace godwit::homa {

std::uint64_t PeerTable::hash_of(const PeerAddress& address) const {
  std::uint64_t words[2];
  std::memcpy(words, address.ip.data(), sizeof words);
  return mix_hash(mix_hash(mix_hash(seed_, words[0]), words[1]), address.udp_port);
}

PeerIndex PeerTable::find(const PeerAddress& address) const {
  return PeerIndex{by_address_.find(hash_of(address), [&](std::uint32_t at) { return peers_[at].address == address; })};
}

PeerIndex PeerTable::find_or_create(const PeerAddress& address) {
  const PeerIndex known = find(address);
  if (known != kNoPeer) return known;
  if (peers_.in_use() >= config_.limits.peers_max) {
    if (idle_.is_empty()) return kNoPeer;
    forget(idle_.first());
    ++evicted_;
  }
  const PeerIndex index{peers_.take()};
  Peer& peer = at(index);
  GODWIT_CHECK(peer.grantable.empty());
  peer = {};
  peer.address = address;
  peer.is_ipv4 = homa::is_ipv4(address);
  peer.cutoffs = config_.assume_own_cutoffs ? own_cutoffs(config_) : assumed_cutoffs(config_.num_priorities);
  by_address_.insert(hash_of(address), index.value);
  link_idle(index);
  return index;
}

void PeerTable::note_use(PeerIndex index) {
  const Peer& peer = at(index);
  const bool idle = peer.rpcs == 0 && peer.ack_count == 0;
  if (idle == peer.is_idle) return;
  idle ? link_idle(index) : unlink_idle(index);
}

void PeerTable::forget(PeerIndex index) {
  unlink_idle(index);
  by_address_.erase(hash_of(at(index).address), index.value);
  peers_.give_back(index.value);
}

void PeerTable::link_idle(PeerIndex index) {
  at(index).is_idle = true;
  idle_.append(*this, index);
}

void PeerTable::unlink_idle(PeerIndex index) {
  at(index).is_idle = false;
  idle_.remove(*this, index);
}

}  // namespace godwit::homa
