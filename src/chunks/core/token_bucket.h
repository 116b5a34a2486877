// How many bytes may pass when a rate is not to be exceeded: tokens come in steadily, a byte takes one. Many senders can share
// one bucket. Time is an argument; nothing waits in here.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace godwit::chunks {

class TokenBucket {
 public:
  // Full at first. What lies idle is kept for a tenth of a second, and for at least kBurstBytesMin: below that a stream would be
  // cut into pieces that cost more than they carry. `bytes_per_second` is at least 1.
  TokenBucket(std::uint64_t bytes_per_second, Instant now);

  // Bytes that may pass now; 0 while an earlier overdraft is paid back.
  std::size_t available(Instant now);
  // So many have passed. It may be more than there were: whoever reads can not know before how much will come.
  void take(std::size_t bytes, Instant now);
  // When bytes may pass again: `now` where they may already. It is worth waiting for a burst, not for a byte.
  Instant next(Instant now);

  // What one read or write should move at most, so that none is a long burst.
  std::size_t piece_bytes() const { return static_cast<std::size_t>(burst_); }

 private:
  static constexpr std::int64_t kBurstBytesMin = 16 * 1024;

  void refill(Instant now);

  const std::int64_t rate_;  // bytes per second
  const std::int64_t burst_;
  std::int64_t tokens_;
  std::int64_t fraction_ = 0;  // of a byte, in units of a billionth
  Instant at_;
};

}  // namespace godwit::chunks
