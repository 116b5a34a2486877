// In which order blocks travel: those a reader at the destination waits for first (priority), then the least volatile, or simply
// the lowest (any). Source: silo.md 6.1. Holds the set of blocks still to be sent; a block leaves it when it is taken or removed.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <vector>

#include "base/bitset.h"
#include "volume/core/ids.h"
#include "volume/core/volatility.h"

namespace godwit::volume {

enum class OrderKind : std::uint8_t { volatility, any };

class BlockOrder {
 public:
  // `monitor` may be null with OrderKind::any; else it outlives the order.
  BlockOrder(std::uint64_t block_count, OrderKind kind, const VolatilityMonitor* monitor);

  // Adds to what is to be sent.
  void add_all();
  void add(const Bitset& blocks);
  // [first, last): never to be sent (the destination has them, or wrote them whole).
  void remove(std::uint64_t first, std::uint64_t last);

  // A reader waits for the block. Ignored when it is not to be sent any more (in flight, or a dirty round will bring it), and
  // when it was asked for before: the first request keeps its place.
  void need(BlockIndex block);
  bool has_urgent() const { return !urgent_.empty(); }  // some needed block is still unsent

  struct Next {
    BlockIndex block;
    bool urgent = false;
  };
  // Takes the next block out.
  std::optional<Next> take();
  // Takes out what follows `first`, as far as it is unsent and below `last`: for runs. Says where the run ends.
  std::uint64_t take_run(std::uint64_t first, std::uint64_t last);

  bool empty() const { return count_ == 0; }
  std::uint64_t count() const { return count_; }
  // No block of the regular order comes before this number (urgent and hot ones may).
  std::uint64_t next_unsent() const { return unsent_.next_set(cursor_); }
  bool contains(BlockIndex block) const { return unsent_.test(block.value); }

 private:
  void drop(std::uint64_t block);
  std::uint64_t coldest();
  void sort_hot();

  OrderKind kind_;
  const VolatilityMonitor* monitor_;
  Bitset unsent_;
  std::uint64_t count_ = 0;
  std::uint64_t cursor_ = 0;        // no unsent block with count zero lies below, as long as nothing is added
  std::vector<std::uint64_t> hot_;  // what is left when all of it is hot, next one last
  std::uint64_t hot_size_ = 0;
  std::uint64_t hot_taken_ = 0;
  std::deque<BlockIndex> urgent_;  // needed and unsent, the first request first
  std::set<std::uint64_t> asked_;  // the same blocks
};

}  // namespace godwit::volume
