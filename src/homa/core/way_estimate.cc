#include "homa/core/way_estimate.h"

#include <algorithm>

namespace godwit::homa {

namespace {

// What was delivered was at times held up by our own window or pace; with less than a margin above it neither would ever grow.
constexpr std::uint64_t kGrowthPercent = 125;
constexpr std::uint32_t kDeliveryBytesMin = 200'000;

}  // namespace

void WayEstimate::Best::add(Instant at, std::int64_t value, bool least) {
  if (!began) began = at;
  if (at - *began >= kEpoch) {
    before = now;
    now.reset();
    began = at;
  }
  if (!now || (least ? value < *now : value > *now)) now = value;
}

std::optional<std::int64_t> WayEstimate::Best::value(bool least) const {
  if (!now || !before) return now ? now : before;
  return least ? std::min(*now, *before) : std::max(*now, *before);
}

void WayEstimate::handle_round_trip(Instant now, Duration took) {
  if (took <= Duration{}) return;
  if (round_trips_ < kRoundTripsMin) ++round_trips_;
  round_trip_ns_.add(now, took.nanoseconds, true);
}

void WayEstimate::handle_delivery(Instant now, std::uint32_t bytes, Duration took) {
  if (bytes < delivery_bytes_min() || took < kDeliveryTimeMin) return;
  const std::int64_t mbps = std::int64_t{bytes} * 8 * 1000 / took.nanoseconds;
  rate_mbps_.add(now, std::max<std::int64_t>(mbps, kMbpsMin), false);
}

std::uint32_t WayEstimate::delivery_bytes_min() const {
  // A burst of grants covers a round trip's bytes at most; as a part of this it distorts little.
  return std::max(kDeliveryBytesMin, std::min(3 * rtt_bytes(), kRttBytesMax / 2));
}

std::optional<Duration> WayEstimate::round_trip() const {
  if (round_trips_ < kRoundTripsMin) return std::nullopt;
  return Duration{round_trip_ns_.value(true).value_or(0)};
}

std::optional<std::uint32_t> WayEstimate::rate_mbps() const {
  const std::optional<std::int64_t> mbps = rate_mbps_.value(false);
  if (!mbps) return std::nullopt;
  return static_cast<std::uint32_t>(std::min<std::int64_t>(*mbps, 1'000'000));
}

std::uint32_t WayEstimate::link_mbps() const {
  const std::optional<std::uint32_t> mbps = rate_mbps();
  if (!start_.adapt_link || !mbps) return start_.link_mbps;
  return static_cast<std::uint32_t>(*mbps * kGrowthPercent / 100);
}

std::uint32_t WayEstimate::rtt_bytes() const {
  const std::uint32_t mbps = link_mbps();
  const std::optional<Duration> rtt = round_trip();
  if (!start_.adapt_rtt_bytes || mbps == 0 || !rtt) return start_.rtt_bytes;
  const std::int64_t nanoseconds = std::min(rtt->nanoseconds, Duration::seconds(1).nanoseconds);
  // A packet more: the answer was to a packet that may have been short.
  const std::int64_t bytes = nanoseconds * mbps / 8000 + start_.max_data;
  const std::uint32_t least = std::max({kRttBytesMin, start_.max_data, start_.grant_increment});
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(bytes, least, std::max(least, kRttBytesMax)));
}

}  // namespace godwit::homa
