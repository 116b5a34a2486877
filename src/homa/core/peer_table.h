// What an endpoint remembers about each of its peers, however many RPCs there are: cutoffs, acknowledgements that wait for a
// ride, unanswered RESENDs, inbound bytes. At most Limits::peers_max; among those with neither RPCs nor acknowledgements the one
// that has been so for longest goes first. Source: homa.md 2, 9, 10, 16.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/time.h"
#include "homa/core/cutoffs.h"
#include "homa/core/hash_index.h"
#include "homa/core/ids.h"
#include "homa/core/index_list.h"
#include "homa/core/indexed_heap.h"
#include "homa/core/packet.h"
#include "homa/core/stable_slots.h"

namespace godwit::homa {

// Fewest bytes left first; among equals the earlier message.
struct GrantKey {
  std::uint32_t remaining = 0;
  std::uint64_t birth = 0;

  friend auto operator<=>(const GrantKey&, const GrantKey&) = default;
};

// Whose turn it is to ask for missing bytes; see Resender.
struct ResendTurn {
  RpcHandle rpc;
  std::uint64_t last_resend = 0;
  std::uint64_t created = 0;
  std::uint64_t tick = 0;  // in which it was nominated
};

// The first two cache lines hold what each packet needs.
struct alignas(64) Peer {
  PeerAddress address;
  bool is_ipv4 = true;
  bool is_idle = false;  // in the list of those that may be forgotten
  std::uint8_t ack_count = 0;
  std::uint32_t rpcs = 0;          // that are not over
  std::uint32_t inbound_rpcs = 0;  // requests that count towards the limits
  std::uint64_t inbound_bytes = 0;
  PeerIndex next_idle = kNoPeer, previous_idle = kNoPeer;
  std::uint32_t outstanding_resends = 0;
  Cutoffs cutoffs;  // how it wants unscheduled bytes marked
  // The grant scheduler's: grantable messages, the best first.
  IndexedHeap<GrantKey> grantable;

  // Acknowledgements that wait; the newest is last.
  std::array<AckRecord, kAcksPerPacket> acks{};
  std::optional<Instant> cutoffs_sent;
  // The resender's.
  std::uint64_t last_resend = 0;  // tick; 0: never
  ResendTurn candidate, nominee;
  std::uint64_t death_examined = 0;  // tick
};

class PeerTable {
 public:
  PeerTable(const Config& config, std::uint64_t hash_seed) : config_(config), seed_(hash_seed) {}

  Peer& at(PeerIndex index) { return peers_[index.value]; }
  const Peer& at(PeerIndex index) const { return peers_[index.value]; }
  // kNoPeer if it is not known.
  PeerIndex find(const PeerAddress& address) const;
  // kNoPeer if it is not known and there is no room: every known peer has RPCs or acknowledgements.
  PeerIndex find_or_create(const PeerAddress& address);
  // To be called whenever `rpcs` or `ack_count` may have become or left 0.
  void note_use(PeerIndex index);

  std::uint32_t count() const { return peers_.in_use(); }
  std::uint64_t evicted() const { return evicted_; }

 private:
  std::uint64_t hash_of(const PeerAddress& address) const;
  void forget(PeerIndex index);
  void link_idle(PeerIndex index);
  void unlink_idle(PeerIndex index);

  const Config& config_;
  const std::uint64_t seed_;
  StableSlots<Peer> peers_;
  HashIndex by_address_;
  IndexList<Peer, PeerIndex, kNoPeer, &Peer::previous_idle, &Peer::next_idle> idle_;  // the longest idle is first
  std::uint64_t evicted_ = 0;
};

}  // namespace godwit::homa
