// How often each block was written lately, so that hot blocks travel last. Source: silo.md 6.1. It runs from the device's
// creation, not from a migration's start, or the order means nothing. Bounded: the oldest writes are forgotten early when there
// are many.
#pragma once

#include <cstdint>
#include <deque>
#include <map>

#include "base/time.h"

namespace godwit::volume {

class VolatilityMonitor {
 public:
  struct Limits {
    Duration expiry = Duration::seconds(30 * 60);  // groups; 10 min for S3 sync
    std::size_t writes_max = 256 * 1024;           // remembered at a time: 4 MiB of memory
  };

  explicit VolatilityMonitor(Limits limits) : limits_(limits) {}

  // A write to blocks [first, last). A write over more than 64 blocks is bulk and says nothing about heat.
  void note_write(Instant now, std::uint64_t first, std::uint64_t last);

  // Forgets what is older than the expiry.
  void expire(Instant now);

  // Writes of a block not yet forgotten.
  std::uint32_t count(std::uint64_t block) const {
    const auto it = counts_.find(block);
    return it == counts_.end() ? 0 : it->second;
  }
  // The blocks with a count above zero, in order of their numbers.
  const std::map<std::uint64_t, std::uint32_t>& counts() const { return counts_; }

 private:
  void forget_oldest();
  struct Write {
    Instant at;
    std::uint64_t block;
  };
  Limits limits_;
  std::deque<Write> writes_;
  std::map<std::uint64_t, std::uint32_t> counts_;
};

}  // namespace godwit::volume
