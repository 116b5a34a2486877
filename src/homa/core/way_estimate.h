// What the network to the peers is like, told by the packets that an endpoint sends and gets anyway: the least round trip of the
// last seconds, and the best rate at which anybody received from us. From the two follows what rtt_bytes and the link's pace
// should be where nobody has said it. It sends nothing and decides nothing else. Hosts are taken to be about equally far from one
// another, as Homa does: the nearest decides. Ours, not the specification's.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"
#include "homa/core/config.h"

namespace godwit::homa {

class WayEstimate {
 public:
  explicit WayEstimate(const Config& config) : start_(config) {}

  // A message's first packet went out, and the first answer to it (a GRANT; or, if it was the only packet, the response) came
  // `took` later. Nothing of it was sent again.
  void handle_round_trip(Instant now, Duration took);
  // The grants for one message rose by `bytes` within `took`: so fast it was received. Shorter stretches than
  // delivery_bytes_min() say nothing: grants come in bursts.
  void handle_delivery(Instant now, std::uint32_t bytes, Duration took);
  std::uint32_t delivery_bytes_min() const;

  // Nothing until enough was seen.
  std::optional<Duration> round_trip() const;
  std::optional<std::uint32_t> rate_mbps() const;

  // What to use now. As configured, as long as that was not to be found out or nothing is known.
  std::uint32_t rtt_bytes() const;
  std::uint32_t link_mbps() const;

  // Samples of which the least is a round trip: the first ones pay for cold caches and sleeping CPUs.
  static constexpr std::uint32_t kRoundTripsMin = 8;
  static constexpr Duration kDeliveryTimeMin = Duration::microseconds(100);
  // How long what was seen counts: a way that got worse is noticed after this, one that got better at once.
  static constexpr Duration kEpoch = Duration::seconds(10);
  static constexpr std::uint32_t kRttBytesMin = 10'000;
  static constexpr std::uint32_t kRttBytesMax = 1'000'000;  // a whole message
  static constexpr std::uint32_t kMbpsMin = 10;

 private:
  // The best of this epoch and the one before. Times without samples age nothing.
  struct Best {
    std::optional<std::int64_t> now, before;
    std::optional<Instant> began;

    void add(Instant at, std::int64_t value, bool least);
    std::optional<std::int64_t> value(bool least) const;
  };

  const Config start_;
  Best round_trip_ns_, rate_mbps_;
  std::uint32_t round_trips_ = 0;
};

}  // namespace godwit::homa
