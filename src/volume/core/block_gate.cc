#include "volume/core/block_gate.h"

#include <utility>

#include "base/check.h"

namespace godwit::volume {

static unsigned index_of(BlockGate::Party party) {
  return static_cast<unsigned>(party);
}

// Ranges are a few blocks long but for zeroing and trimming; those walk their blocks too, which is far cheaper than their I/O.
void BlockGate::count(const Hold& hold, bool held, int change) {
  for (std::uint64_t b = hold.first; b < hold.last; ++b) {
    Block& block = blocks_[b];
    std::uint32_t& counter = (held ? block.held : block.awaited)[index_of(hold.party)];
    counter = static_cast<std::uint32_t>(static_cast<int>(counter) + change);
    if (!block.held[0] && !block.held[1] && !block.awaited[0] && !block.awaited[1]) blocks_.erase(b);
  }
}

bool BlockGate::is_blocked(const Hold& hold, bool mind_waiters) const {
  if (blocks_.empty()) return false;
  const unsigned other = 1 - index_of(hold.party);
  for (std::uint64_t b = hold.first; b < hold.last; ++b) {
    const auto it = blocks_.find(b);
    if (it == blocks_.end()) continue;
    if (it->second.held[other] || (mind_waiters && it->second.awaited[other])) return true;
  }
  return false;
}

bool BlockGate::is_free_for(Party party, std::uint64_t first, std::uint64_t last) const {
  return !is_blocked(Hold{party, first, last}, true);
}

void BlockGate::admit(Hold hold, Admitted admitted) {
  const Ticket ticket = next_ticket_++;
  count(hold, true, +1);
  holds_.emplace(ticket, hold);
  admitted(ticket);
}

void BlockGate::enter(Party party, std::uint64_t first, std::uint64_t last, Admitted admitted) {
  const Hold hold{party, first, last};
  if (!is_blocked(hold, true)) return admit(hold, std::move(admitted));
  count(hold, false, +1);
  waiting_.push_back({hold, std::move(admitted)});
}

void BlockGate::leave(Ticket ticket) {
  const auto it = holds_.find(ticket);
  GODWIT_CHECK(it != holds_.end());
  const Hold hold = it->second;
  holds_.erase(it);
  count(hold, true, -1);
  if (!waiting_.empty()) wake();
}

// In the order of arrival; one that still has to wait keeps the other party's later arrivals on its blocks behind it.
void BlockGate::wake() {
  if (std::exchange(waking_, true)) return;
  for (std::size_t i = 0; i < waiting_.size();) {
    bool must_wait = is_blocked(waiting_[i].hold, false);
    for (std::size_t earlier = 0; earlier < i && !must_wait; ++earlier) {
      const Hold& e = waiting_[earlier].hold;
      const Hold& h = waiting_[i].hold;
      must_wait = e.party != h.party && e.first < h.last && h.first < e.last;
    }
    if (must_wait) {
      ++i;
      continue;
    }
    Waiter waiter = std::move(waiting_[i]);
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
    count(waiter.hold, false, -1);
    admit(waiter.hold, std::move(waiter.admitted));
    i = 0;  // what it admitted may have left already and freed others
  }
  waking_ = false;
}

}  // namespace godwit::volume
