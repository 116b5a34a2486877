#include "volume/core/waiting_cache.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::volume {

WaitingCache::WaitingCache(Geometry geometry)
    : geometry_(geometry), local_(geometry.block_count()), remote_(geometry.block_count()) {}

std::pair<std::uint64_t, std::uint64_t> WaitingCache::covered(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t bs = geometry_.block_size_bytes;
  const std::uint64_t end = offset + length;
  const std::uint64_t first = (offset + bs - 1) / bs;
  const std::uint64_t last = end == geometry_.size_bytes ? geometry_.block_count() : end / bs;
  return {first, std::max(first, last)};
}

bool WaitingCache::want(WaiterId waiter, std::set<std::uint64_t> absent) {
  if (absent.empty()) return true;
  missing_[waiter] = absent.size();
  for (std::uint64_t block : absent) {
    std::vector<WaiterId>& waiters = waiting_for_[block];
    if (waiters.empty()) needs_.push_back(BlockIndex{block});
    waiters.push_back(waiter);
  }
  return false;
}

bool WaitingCache::want_read(WaiterId waiter, std::uint64_t offset, std::uint64_t length) {
  if (is_whole() || length == 0) return true;
  std::set<std::uint64_t> absent;
  const std::uint64_t last = geometry_.block_at(offset + length - 1).value;
  for (std::uint64_t b = geometry_.block_at(offset).value; b <= last; ++b)
    if (!is_present(BlockIndex{b})) absent.insert(b);
  return want(waiter, std::move(absent));
}

bool WaitingCache::want_write(WaiterId waiter, std::uint64_t offset, std::uint64_t length) {
  if (is_whole() || length == 0) return true;
  const auto [first, last] = covered(offset, length);
  std::set<std::uint64_t> absent;
  for (BlockIndex edge : {geometry_.block_at(offset), geometry_.block_at(offset + length - 1)}) {
    const bool is_covered = edge.value >= first && edge.value < last;
    if (!is_covered && !is_present(edge)) absent.insert(edge.value);
  }
  return want(waiter, std::move(absent));
}

void WaitingCache::forget(WaiterId waiter) {
  if (missing_.erase(waiter) == 0) return;
  for (auto it = waiting_for_.begin(); it != waiting_for_.end();) {
    std::erase(it->second, waiter);
    it = it->second.empty() ? waiting_for_.erase(it) : std::next(it);
  }
}

void WaitingCache::arrived(std::uint64_t block) {
  ++present_count_;
  const auto it = waiting_for_.find(block);
  if (it == waiting_for_.end()) return;
  for (WaiterId waiter : it->second) {
    const auto missing = missing_.find(waiter);
    if (--missing->second > 0) continue;
    missing_.erase(missing);
    ready_.push_back(waiter);
  }
  waiting_for_.erase(it);
}

void WaitingCache::note_local_write(std::uint64_t offset, std::uint64_t length) {
  const auto [first, last] = covered(offset, length);
  if (first == last) return;
  bool any_absent = false;
  for (std::uint64_t b = first; b < last; ++b) {
    if (local_.test(b)) continue;
    const bool was_present = remote_.test(b);
    local_.set(b);
    ++local_count_;
    any_absent = any_absent || !was_present;
    if (!was_present) arrived(b);
  }
  if (any_absent) dont_needs_.push_back({BlockIndex{first}, last - first});
}

void WaitingCache::note_remote_write(std::uint64_t offset, std::uint64_t length) {
  const auto [first, last] = covered(offset, length);
  for (std::uint64_t b = first; b < last; ++b) note_already_have(BlockIndex{b});
}

void WaitingCache::note_already_have(BlockIndex block) {
  const bool was_present = is_present(block);
  remote_.set(block.value);
  if (!was_present) arrived(block.value);
}

void WaitingCache::note_dirty(BlockIndex block) {
  const bool was_present = is_present(block);
  remote_.clear(block.value);
  if (was_present && !is_present(block)) --present_count_;
}

void WaitingCache::reset() {
  local_ = Bitset(local_.size());
  remote_ = Bitset(remote_.size());
  present_count_ = local_count_ = 0;
}

void WaitingCache::ask_again() {
  needs_.clear();
  for (const auto& [block, waiters] : waiting_for_) needs_.push_back(BlockIndex{block});
}

template <class T>
static std::optional<T> pop(std::deque<T>& queue) {
  if (queue.empty()) return std::nullopt;
  T front = queue.front();
  queue.pop_front();
  return front;
}

std::optional<WaitingCache::WaiterId> WaitingCache::poll_ready() {
  return pop(ready_);
}
std::optional<WaitingCache::Run> WaitingCache::poll_dont_need() {
  return pop(dont_needs_);
}

std::optional<BlockIndex> WaitingCache::poll_need() {
  while (std::optional<BlockIndex> block = pop(needs_))
    if (!is_present(*block)) return block;
  return std::nullopt;
}

}  // namespace godwit::volume
