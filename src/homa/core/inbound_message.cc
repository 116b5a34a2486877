#include "homa/core/inbound_message.h"

#include <algorithm>

namespace godwit::homa {

void InboundMessage::start(std::uint32_t length) {
  length_ = length;
  received_ = incoming_ = prefix_ = 0;
  islands_.clear();
}

void InboundMessage::raise_incoming(std::uint32_t offset) {
  incoming_ = std::max(incoming_, std::min(offset, length_));
}

InboundMessage::Merged InboundMessage::merge(std::uint32_t begin, std::uint32_t end, std::uint32_t gaps_max) {
  begin = std::max(begin, prefix_);
  if (begin >= end) return {};
  if (!islands_.empty() || begin != prefix_) return merge_behind_prefix(begin, end, gaps_max);
  const Merged merged{end - begin, {begin, end}, false};  // in order, by far the most
  prefix_ = end;
  received_ += merged.new_bytes;
  return merged;
}

InboundMessage::Merged InboundMessage::merge_behind_prefix(std::uint32_t begin, std::uint32_t end, std::uint32_t gaps_max) {
  // The islands that touch [begin, end) become one with it.
  const auto first = std::lower_bound(islands_.begin(), islands_.end(), begin,
                                      [](const ByteRange& island, std::uint32_t offset) { return island.end < offset; });
  auto last = first;
  std::uint32_t known = 0;
  ByteRange joined{begin, end}, fresh{begin, end};
  for (; last != islands_.end() && last->begin <= end; ++last) {
    const std::uint32_t low = std::max(begin, last->begin), high = std::min(end, last->end);
    if (low < high) known += high - low;
    if (last->begin <= begin) fresh.begin = std::max(fresh.begin, std::min(last->end, end));
    if (last->end >= end) fresh.end = std::min(fresh.end, std::max(last->begin, begin));
    joined = {std::min(joined.begin, last->begin), std::max(joined.end, last->end)};
  }
  const std::uint32_t new_bytes = end - begin - known;
  if (new_bytes == 0) return {};
  if (joined.begin == prefix_) {
    prefix_ = joined.end;
    islands_.erase(first, last);
  } else if (first != last) {
    *first = joined;
    islands_.erase(first + 1, last);
  } else {
    if (islands_.size() >= gaps_max) return {0, {}, true};
    islands_.insert(first, joined);
  }
  received_ += new_bytes;
  return {new_bytes, fresh, false};
}

std::optional<ByteRange> InboundMessage::first_gap() const {
  const std::uint32_t end = islands_.empty() ? incoming_ : std::min(incoming_, islands_.front().begin);
  if (prefix_ >= end) return std::nullopt;
  return ByteRange{prefix_, end};
}

}  // namespace godwit::homa
