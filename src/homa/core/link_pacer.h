// An estimate of when everything that was handed to the network card will have left it, so that the queue there stays short and
// the next packet can be chosen late. Every transmission is charged, control packets too. Source: homa.md 5.
#pragma once

#include <algorithm>

#include "homa/core/config.h"

namespace godwit::homa {

class LinkPacer {
 public:
  explicit LinkPacer(const Config& config) : config_(config) {}

  bool may_send(Instant now) const { return idle_ <= now + max_queue(); }
  // When may_send() becomes true, if nothing more is charged.
  Instant ready_at() const { return {idle_.nanoseconds - max_queue().nanoseconds}; }

  // `udp_payload` bytes were handed over at `now`.
  void charge(Instant now, std::uint32_t udp_payload, bool is_ipv4) {
    if (config_.link_mbps == 0) return;
    idle_ = std::max(now, idle_) + time_of(udp_payload + (is_ipv4 ? kWireOverheadIpv4 : kWireOverheadIpv6));
  }

  // UDP, IP, Ethernet; checksum, preamble and gap of a frame.
  static constexpr std::uint32_t kWireOverheadIpv4 = 8 + 20 + 14 + 24;
  static constexpr std::uint32_t kWireOverheadIpv6 = 8 + 40 + 14 + 24;
  static constexpr std::uint32_t kWireBytesMin = 84;

 private:
  Duration time_of(std::uint32_t wire_bytes) const {
    const std::int64_t bytes = std::max(kWireBytesMin, wire_bytes);
    const std::int64_t scaled = bytes * 8 * (1000 + config_.link_margin_permille);  // bit/Mbps = 1000 ns
    const std::int64_t link = config_.link_mbps;
    return {(scaled + link - 1) / link};
  }
  Duration max_queue() const {
    if (config_.nic_queue_packets == 0 || config_.link_mbps == 0) return config_.max_nic_queue;
    return std::max(config_.max_nic_queue, time_of(config_.max_data + kWireOverheadIpv4) * config_.nic_queue_packets);
  }

  const Config& config_;
  Instant idle_;
};

}  // namespace godwit::homa
