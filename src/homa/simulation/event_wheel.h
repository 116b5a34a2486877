// The queue of what is to happen in the simulated network, by time; the same calls give the same order among equals. Delays are
// mostly short, so a wheel of 4 ns buckets holds nearly all; what lies further away waits in a heap.
#pragma once

#include <bit>
#include <cstdint>
#include <queue>
#include <vector>

namespace godwit::homa::simulation {

class EventWheel {
 public:
  struct Event {
    std::int64_t when_ns = 0;
    std::uint32_t kind = 0;
    std::uint32_t subject = 0;
  };

  EventWheel() : heads_(kBuckets, kNone), occupied_(kBuckets / 64, 0) {}

  bool empty() const { return in_wheel_ == 0 && later_.empty(); }

  // `when_ns` must not lie before the last event that was popped.
  void schedule(std::int64_t when_ns, std::uint32_t kind, std::uint32_t subject) {
    if ((when_ns >> kBucketBits) >= first_bucket_ + kBuckets)
      later_.push({{when_ns, kind, subject}, ++sequence_});
    else
      insert({when_ns, kind, subject});
  }

  // The queue must not be empty.
  Event pop() {
    if (in_wheel_ == 0) first_bucket_ = later_.top().event.when_ns >> kBucketBits;
    while (!later_.empty() && (later_.top().event.when_ns >> kBucketBits) < first_bucket_ + kBuckets) {
      insert(later_.top().event);
      later_.pop();
    }
    const std::size_t bucket = next_occupied(static_cast<std::size_t>(first_bucket_) % kBuckets);
    const std::uint32_t node = heads_[bucket];
    const Event event = nodes_[node].event;
    first_bucket_ = event.when_ns >> kBucketBits;
    heads_[bucket] = nodes_[node].next;
    if (heads_[bucket] == kNone) occupied_[bucket / 64] &= ~(1ULL << (bucket % 64));
    nodes_[node].next = free_;
    free_ = node;
    --in_wheel_;
    return event;
  }

 private:
  static constexpr std::uint32_t kNone = 0xffff'ffff;
  static constexpr int kBucketBits = 2;
  static constexpr std::int64_t kBuckets = 32768;  // 131 us

  struct Node {
    Event event;
    std::uint32_t next = kNone;
  };
  struct Later {
    Event event;
    std::uint64_t sequence;
    friend bool operator<(const Later& a, const Later& b) {  // the earliest on top
      return a.event.when_ns != b.event.when_ns ? a.event.when_ns > b.event.when_ns : a.sequence > b.sequence;
    }
  };

  void insert(const Event& event) {
    std::uint32_t node = free_;
    if (node == kNone) {
      node = static_cast<std::uint32_t>(nodes_.size());
      nodes_.emplace_back();
    } else {
      free_ = nodes_[node].next;
    }
    const auto bucket = static_cast<std::size_t>(event.when_ns >> kBucketBits) % kBuckets;
    std::uint32_t* link = &heads_[bucket];
    if (*link == kNone) occupied_[bucket / 64] |= 1ULL << (bucket % 64);
    while (*link != kNone && nodes_[*link].event.when_ns <= event.when_ns) link = &nodes_[*link].next;
    nodes_[node] = {event, *link};
    *link = node;
    ++in_wheel_;
  }
  // Around the wheel; there is one.
  std::size_t next_occupied(std::size_t bucket) const {
    std::size_t word = bucket / 64;
    std::uint64_t bits = occupied_[word] & (~0ULL << (bucket % 64));
    while (bits == 0) {
      word = (word + 1) % occupied_.size();
      bits = occupied_[word];
    }
    return word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
  }

  std::vector<std::uint32_t> heads_;
  std::vector<std::uint64_t> occupied_;
  std::vector<Node> nodes_;
  std::uint32_t free_ = kNone;
  std::int64_t first_bucket_ = 0;  // none that is earlier holds anything
  std::uint64_t in_wheel_ = 0;
  std::priority_queue<Later> later_;
  std::uint64_t sequence_ = 0;
};

}  // namespace godwit::homa::simulation
