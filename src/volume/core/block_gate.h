// Keeps two parties out of each other's blocks: at the source the migrator's reads and the application's writes, at the
// destination the application's reads and the source's writes. Members of one party share a block; the other party waits its
// turn, first come first served. So no block is ever sent or read half old and half new.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <unordered_map>
#include <vector>

namespace godwit::volume {

class BlockGate {
 public:
  enum class Party : std::uint8_t { inside, outside };  // inside: the application; outside: the migration
  using Ticket = std::uint64_t;
  using Admitted = std::move_only_function<void(Ticket)>;

  // Asks for blocks [first, last). `admitted` is called as soon as no block of it is held by the other party, at once or later;
  // what it is given goes back to leave().
  void enter(Party party, std::uint64_t first, std::uint64_t last, Admitted admitted);
  void leave(Ticket ticket);

  // Whether enter() would be admitted at once.
  bool is_free_for(Party party, std::uint64_t first, std::uint64_t last) const;
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Hold {
    Party party{};
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  struct Waiter {
    Hold hold;
    Admitted admitted;
  };
  struct Block {
    std::uint32_t held[2] = {0, 0};     // by party
    std::uint32_t awaited[2] = {0, 0};  // by party: later arrivals of the other queue behind them
  };
  bool is_blocked(const Hold& hold, bool mind_waiters) const;
  void admit(Hold hold, Admitted admitted);
  void count(const Hold& hold, bool held, int change);
  void wake();

  std::unordered_map<std::uint64_t, Block> blocks_;  // looked up only, never walked
  std::unordered_map<Ticket, Hold> holds_;           // likewise
  std::deque<Waiter> waiting_;
  Ticket next_ticket_ = 1;
  bool waking_ = false;
};

}  // namespace godwit::volume
