#include "homa/core/peer_ranking.h"

#include <algorithm>

namespace godwit::homa {

void PeerRanking::set(PeerIndex peer, RpcIndex best, const GrantKey& key) {
  const Entry entry{key, peer, best};
  if (positions_.of(peer.value) != HeapPositions::kOutside) {
    if (!(key < first_.back().key)) return rest_.update(positions_, peer.value, {key, best});
    rest_.erase(positions_, peer.value);
    return insert_sorted(entry);
  }
  const std::size_t at = find(peer);
  if (at == first_.size()) return insert_sorted(entry);
  const bool keeps_place = (at == 0 || first_[at - 1].key < key) && (at + 1 == first_.size() || key < first_[at + 1].key) &&
                           (rest_.empty() || key < rest_.front().key.key);
  if (keeps_place) {
    first_[at] = entry;
    return;
  }
  first_.erase(first_.begin() + static_cast<std::ptrdiff_t>(at));
  refill();
  insert_sorted(entry);
}

void PeerRanking::erase(PeerIndex peer) {
  if (positions_.of(peer.value) != HeapPositions::kOutside) return rest_.erase(positions_, peer.value);
  const std::size_t at = find(peer);
  if (at == first_.size()) return;
  first_.erase(first_.begin() + static_cast<std::ptrdiff_t>(at));
  refill();
}

std::size_t PeerRanking::find(PeerIndex peer) const {
  std::size_t at = 0;
  while (at < first_.size() && first_[at].peer != peer) ++at;
  return at;
}

void PeerRanking::insert_sorted(const Entry& entry) {
  if (first_.size() == ranks_ && !(entry.key < first_.back().key))
    return rest_.push(positions_, entry.peer.value, {entry.key, entry.best});
  const auto at =
      std::lower_bound(first_.begin(), first_.end(), entry, [](const Entry& a, const Entry& b) { return a.key < b.key; });
  first_.insert(at, entry);
  if (first_.size() <= ranks_) return;
  const Entry last = first_.back();
  first_.pop_back();
  rest_.push(positions_, last.peer.value, {last.key, last.best});
}

void PeerRanking::refill() {
  if (first_.size() == ranks_ || rest_.empty()) return;
  const auto next = rest_.front();
  rest_.erase(positions_, next.index);
  first_.push_back({next.key.key, PeerIndex{next.index}, next.key.best});
}

}  // namespace godwit::homa
