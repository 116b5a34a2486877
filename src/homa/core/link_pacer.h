// An estimate of when everything that was handed to the network card will have left it, so that the queue there stays short and
// the next packet can be chosen late. Every transmission is charged, control packets too. Source: homa.md 5.
#pragma once

#include <algorithm>

#include "homa/core/config.h"

namespace godwit::homa {

class LinkPacer {
 public:
  explicit LinkPacer(const Config& config) : config_(config) {}

  bool may_send(Instant now) const { return idle_ <= now + config_.max_nic_queue; }
  // When may_send() becomes true, if nothing more is charged.
  Instant ready_at() const { return {idle_.nanoseconds - config_.max_nic_queue.nanoseconds}; }

  // `udp_payload` bytes were handed over at `now`.
  void charge(Instant now, std::uint32_t udp_payload, bool is_ipv4) {
    if (config_.link_mbps == 0) return;
    const std::int64_t wire_bytes = std::max(kWireBytesMin, udp_payload + (is_ipv4 ? kWireOverheadIpv4 : kWireOverheadIpv6));
    const std::int64_t scaled = wire_bytes * 8 * (1000 + config_.link_margin_permille);  // bit/Mbps = 1000 ns
    const std::int64_t link = config_.link_mbps;
    idle_ = Instant{std::max(now, idle_).nanoseconds + (scaled + link - 1) / link};
  }

  // UDP, IP, Ethernet; checksum, preamble and gap of a frame.
  static constexpr std::uint32_t kWireOverheadIpv4 = 8 + 20 + 14 + 24;
  static constexpr std::uint32_t kWireOverheadIpv6 = 8 + 40 + 14 + 24;
  static constexpr std::uint32_t kWireBytesMin = 84;

 private:
  const Config& config_;
  Instant idle_;
};

}  // namespace godwit::homa
