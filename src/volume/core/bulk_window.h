// How many bytes of bulk may be on their way and unanswered: enough to keep the path full, not so many that an urgent block
// queues behind them. The path's shortest round trip and its highest delivery rate, both seen lately, give what fits in it; half
// as much again keeps it busy while answers are on their way. Between two hosts on one machine that is little, over a long line
// much.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "base/time.h"

namespace godwit::volume {

class BulkWindow {
 public:
  struct Limits {
    std::uint64_t bytes_min = 512 * 1024;
    std::uint64_t bytes_max = 16 * 1024 * 1024;
    Duration memory = Duration::seconds(10);  // for how long a round trip or a rate counts
  };

  explicit BulkWindow(Limits limits) : limits_(limits), bytes_(limits.bytes_min * 2) {}

  bool has_room(std::uint64_t in_flight_bytes) const { return in_flight_bytes < bytes_; }
  std::uint64_t bytes() const { return bytes_; }

  // `bytes` sent at `sent` were answered at `now`; `delivered_since_sent` counts all bytes answered in between, these included.
  void handle_answer(Instant now, Instant sent, std::uint64_t delivered_since_sent) {
    const Duration trip = now - sent;
    if (trip.nanoseconds <= 0) return;
    forget(now);
    while (!trips_.empty() && trips_.back().value >= trip.nanoseconds) trips_.pop_back();
    trips_.push_back({now, trip.nanoseconds});
    const auto rate = static_cast<std::int64_t>(static_cast<double>(delivered_since_sent) / trip.as_seconds());
    while (!rates_.empty() && rates_.back().value <= rate) rates_.pop_back();
    rates_.push_back({now, rate});
    const double fits = static_cast<double>(rates_.front().value) * 1e-9 * static_cast<double>(trips_.front().value);
    bytes_ = std::clamp(static_cast<std::uint64_t>(fits * 1.5), limits_.bytes_min, limits_.bytes_max);
  }

 private:
  struct Sample {
    Instant at;
    std::int64_t value = 0;
  };
  void forget(Instant now) {
    for (std::deque<Sample>* samples : {&trips_, &rates_})
      while (samples->size() > 1 && now - samples->front().at > limits_.memory) samples->pop_front();
  }
  Limits limits_;
  std::uint64_t bytes_;
  std::deque<Sample> trips_;  // ascending: the front is the shortest within memory
  std::deque<Sample> rates_;  // descending
};

}  // namespace godwit::volume
