#include "volume/core/volatility.h"

namespace godwit::volume {

void VolatilityMonitor::note_write(Instant now, std::uint64_t first, std::uint64_t last) {
  expire(now);
  if (last - first > 64) return;
  for (std::uint64_t block = first; block < last; ++block) {
    if (writes_.size() == limits_.writes_max) forget_oldest();
    writes_.push_back({now, block});
    ++counts_[block];
  }
}

void VolatilityMonitor::expire(Instant now) {
  while (!writes_.empty() && now - writes_.front().at >= limits_.expiry) forget_oldest();
}

void VolatilityMonitor::forget_oldest() {
  const auto it = counts_.find(writes_.front().block);
  if (--it->second == 0) counts_.erase(it);
  writes_.pop_front();
}

}  // namespace godwit::volume
