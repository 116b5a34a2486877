// Peers in the order of their best grantable message. Only the first few ranks are ever asked for: those stand sorted, the others
// in a heap, so that a packet costs a few comparisons however many peers there are. Source: homa.md 6.2.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "homa/core/indexed_heap.h"
#include "homa/core/peer_table.h"

namespace godwit::homa {

class PeerRanking {
 public:
  struct Entry {
    GrantKey key;
    PeerIndex peer;
    RpcIndex best;
  };

  // `ranks`: how many of the first are kept sorted.
  explicit PeerRanking(std::size_t ranks) : ranks_(ranks) {}

  // The peer's best message is now this one.
  void set(PeerIndex peer, RpcIndex best, const GrantKey& key);
  // The peer has none.
  void erase(PeerIndex peer);

  std::size_t count() const { return first_.size() + rest_.size(); }
  // Rank 1 first; at most as many as the constructor was told.
  std::span<const Entry> first() const { return first_; }

 private:
  std::size_t find(PeerIndex peer) const;
  void insert_sorted(const Entry& entry);
  void refill();

  struct RestKey {
    GrantKey key;
    RpcIndex best;
    friend bool operator<(const RestKey& a, const RestKey& b) { return a.key < b.key; }
  };

  const std::size_t ranks_;
  std::vector<Entry> first_;
  IndexedHeap<RestKey> rest_;  // by peer
  HeapPositions positions_;
};

}  // namespace godwit::homa
