#include "volume/core/block_order.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::volume {

BlockOrder::BlockOrder(std::uint64_t block_count, OrderKind kind, const VolatilityMonitor* monitor)
    : kind_(kind), monitor_(monitor), unsent_(block_count) {
  GODWIT_CHECK(kind == OrderKind::any || monitor != nullptr);
}

void BlockOrder::add_all() {
  unsent_.set_range(0, unsent_.size());
  count_ = unsent_.size();
  cursor_ = 0;
  hot_.clear();
}

void BlockOrder::add(const Bitset& blocks) {
  unsent_.merge(blocks);
  count_ = unsent_.count();
  cursor_ = 0;
  hot_.clear();
}

void BlockOrder::drop(std::uint64_t block) {
  unsent_.clear(block);
  --count_;
  if (asked_.erase(block) > 0) std::erase(urgent_, BlockIndex{block});
}

void BlockOrder::remove(std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t b = unsent_.next_set(first); b < last; b = unsent_.next_set(b + 1)) drop(b);
}

void BlockOrder::need(BlockIndex block) {
  if (block.value >= unsent_.size() || !unsent_.test(block.value)) return;
  if (!asked_.insert(block.value).second) return;
  urgent_.push_back(block);
}

std::optional<BlockOrder::Next> BlockOrder::take() {
  if (has_urgent()) {
    const BlockIndex block = urgent_.front();
    drop(block.value);
    return Next{block, true};
  }
  if (count_ == 0) return std::nullopt;
  const std::uint64_t block = kind_ == OrderKind::any ? unsent_.next_set(cursor_) : coldest();
  if (kind_ == OrderKind::any) cursor_ = block;
  GODWIT_CHECK(block < unsent_.size());
  drop(block);
  return Next{BlockIndex{block}, false};
}

// The first block never written lately; when all were, the one with the fewest writes, of equals the last. Heat changes while we
// send, so the order of the hot ones is looked at afresh after each eighth of them: a scan per block would be quadratic.
std::uint64_t BlockOrder::coldest() {
  const auto& counts = monitor_->counts();
  for (std::uint64_t b = unsent_.next_set(cursor_); b < unsent_.size(); b = unsent_.next_set(b + 1))
    if (counts.empty() || !counts.contains(b)) {
      cursor_ = b;
      return b;
    }
  cursor_ = unsent_.size();
  while (true) {
    if (hot_.empty() || hot_taken_ > hot_size_ / 8) sort_hot();
    const std::uint64_t block = hot_.back();
    hot_.pop_back();
    ++hot_taken_;
    if (unsent_.test(block)) return block;
  }
}

// Taken from the end: the cold ones in order, then the hot ones with the fewest writes, of equals the last.
void BlockOrder::sort_hot() {
  std::vector<std::pair<std::uint32_t, std::uint64_t>> hot;
  std::vector<std::uint64_t> cold;
  auto heat = monitor_->counts().begin();
  const auto heat_end = monitor_->counts().end();
  // Both sets are walked in order: a look-up per comparison took longer than sending the blocks.
  for (std::uint64_t b = unsent_.next_set(0); b < unsent_.size(); b = unsent_.next_set(b + 1)) {
    while (heat != heat_end && heat->first < b) ++heat;
    if (heat != heat_end && heat->first == b) {
      hot.emplace_back(heat->second, b);
    } else {
      cold.push_back(b);
    }
  }
  std::stable_sort(hot.begin(), hot.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  hot_.clear();
  for (const auto& [count, block] : hot) hot_.push_back(block);
  hot_.insert(hot_.end(), cold.rbegin(), cold.rend());
  GODWIT_CHECK(!hot_.empty());
  hot_size_ = hot_.size();
  hot_taken_ = 0;
}

std::uint64_t BlockOrder::take_run(std::uint64_t first, std::uint64_t last) {
  std::uint64_t end = first;
  while (end < last && unsent_.test(end)) drop(end++);
  return end;
}

}  // namespace godwit::volume
