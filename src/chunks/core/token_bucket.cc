#include "chunks/core/token_bucket.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::chunks {

namespace {

__extension__ typedef __int128 Wide;  // two 64-bit numbers' product

constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
// 1 TB/s: as good as no limit, and products with nanoseconds stay far from the end of 128 bits.
constexpr std::uint64_t kRateMax = 1'000'000'000'000;

}  // namespace

TokenBucket::TokenBucket(std::uint64_t bytes_per_second, Instant now)
    : rate_(static_cast<std::int64_t>(std::min(bytes_per_second, kRateMax))),
      burst_(std::max(kBurstBytesMin, rate_ / 10)),
      tokens_(burst_),
      at_(now) {
  GODWIT_CHECK(bytes_per_second > 0);
}

void TokenBucket::refill(Instant now) {
  if (now <= at_) return;
  const Wide earned = static_cast<Wide>((now - at_).nanoseconds) * rate_ + fraction_;
  at_ = now;
  const Wide tokens = tokens_ + earned / kNanosecondsPerSecond;
  if (tokens >= burst_) {
    tokens_ = burst_;
    fraction_ = 0;
    return;
  }
  tokens_ = static_cast<std::int64_t>(tokens);
  fraction_ = static_cast<std::int64_t>(earned % kNanosecondsPerSecond);
}

std::size_t TokenBucket::available(Instant now) {
  refill(now);
  return static_cast<std::size_t>(std::max<std::int64_t>(0, tokens_));
}

void TokenBucket::take(std::size_t bytes, Instant now) {
  refill(now);
  tokens_ -= static_cast<std::int64_t>(bytes);
}

Instant TokenBucket::next(Instant now) {
  refill(now);
  if (tokens_ > 0) return now;
  // A quarter of a burst, so that the waits are few and the pieces not tiny.
  const Wide missing = static_cast<Wide>(burst_ / 4 - tokens_) * kNanosecondsPerSecond - fraction_;
  return now + Duration{static_cast<std::int64_t>((missing + rate_ - 1) / rate_)};
}

}  // namespace godwit::chunks
