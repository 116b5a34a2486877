#include "homa/core/packet_trace.h"

#include <algorithm>

namespace godwit::homa {

void PacketTrace::add(Instant now, bool outgoing, const PeerAddress& peer, ConstBytes header) {
  if (!is_on()) return;
  if (records_.size() < capacity_) records_.resize(records_.size() + 1);
  Record& record = records_[next_];
  next_ = (next_ + 1) % capacity_;
  const std::size_t size = std::min(header.size(), kHeaderSizeMax);
  record = {now, outgoing, peer, static_cast<std::uint8_t>(size), {}};
  std::copy_n(header.begin(), size, record.header.begin());
}

void PacketTrace::freeze(Instant now) {
  if (!is_on() || (frozen_at_ && now - *frozen_at_ < Duration::seconds(1))) return;
  frozen_at_ = now;
  if (records_.size() == capacity_)
    std::rotate(records_.begin(), records_.begin() + static_cast<std::ptrdiff_t>(next_), records_.end());
  frozen_ = std::move(records_);
  records_ = {};
  next_ = 0;
}

std::optional<std::vector<PacketTrace::Record>> PacketTrace::take_frozen() {
  return std::exchange(frozen_, std::nullopt);
}

}  // namespace godwit::homa
