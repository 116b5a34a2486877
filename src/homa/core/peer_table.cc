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
    if (first_idle_ == kNoPeer) return kNoPeer;
    forget(first_idle_);
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
  Peer& peer = at(index);
  peer.is_idle = true;
  peer.previous_idle = last_idle_;
  peer.next_idle = kNoPeer;
  (last_idle_ == kNoPeer ? first_idle_ : at(last_idle_).next_idle) = index;
  last_idle_ = index;
}

void PeerTable::unlink_idle(PeerIndex index) {
  Peer& peer = at(index);
  peer.is_idle = false;
  (peer.previous_idle == kNoPeer ? first_idle_ : at(peer.previous_idle).next_idle) = peer.next_idle;
  (peer.next_idle == kNoPeer ? last_idle_ : at(peer.next_idle).previous_idle) = peer.previous_idle;
}

}  // namespace godwit::homa
