// What an endpoint is told about its network and its limits. Every constant of homa.md 11 with our default, its unit and, for the
// limits of homa.md 16, its reason.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/time.h"
#include "homa/core/packet.h"

namespace godwit::homa {

// Messages so long or longer share one level: a cutoff of this or more is infinite (homa.md 6.3).
inline constexpr std::uint32_t kCutoffInfinite = 1'000'000;

// What one hostile or unlucky peer may cost. 0 switches a cap off (simulations).
struct Limits {
  // Requests of one peer that are not yet taken by the application, and the bytes that they declare.
  std::uint32_t inbound_rpcs_per_peer_max = 1024;
  std::uint64_t inbound_bytes_per_peer_max = 64ULL << 20;
  std::uint64_t inbound_bytes_max = 1ULL << 30;
  // Own RPCs that are not over: each holds a record of some 300 bytes and its buffers.
  std::uint32_t client_rpcs_max = 1 << 20;
  std::uint32_t peers_max = 65536;
  // Holes of one inbound message that are remembered: segments of one byte would otherwise cost more memory than they carry. A
  // packet that makes one more is dropped, and asked for again later.
  std::uint32_t gaps_per_message_max = 1024;
  // Control packets that wait for poll_transmit(). Each can be lost anyway; a driver that keeps polling never sees it full.
  std::uint32_t control_packets_max = 16384;
  // Tombstones of RPCs that are over: at most about 32 MB.
  std::uint32_t retired_max = 1 << 20;
};

struct Config {
  // What the link carries while a full packet goes out and its grant comes back, software included. Unscheduled bytes, too.
  std::uint32_t rtt_bytes = 10'000;
  // Data bytes in every packet of a message but its last: the MTU less the IP, UDP and DATA headers.
  std::uint32_t max_data = 1412;
  std::uint32_t max_message_length = 1'000'000;

  // 0: no pacing.
  std::uint32_t link_mbps = 10'000;
  // The two above are only the start: WayEstimate finds them out.
  bool adapt_rtt_bytes = false;
  bool adapt_link = false;
  // The estimate of the link errs on the slow side; without it queues build at the card.
  std::uint32_t link_margin_permille = 10;
  // How long what was handed over may wait at the card when the next packet follows it: this, or the time of that many full
  // packets on a slow link, where a thread wakes too late to hand over each by itself.
  Duration max_nic_queue{2'000};
  std::uint32_t nic_queue_packets = 0;
  // A message with fewer bytes left to send is not paced.
  std::uint32_t throttle_min_bytes = 1000;
  // Share of the paced packets that goes to the oldest message rather than to the shortest.
  std::uint32_t pacer_fifo_permille = 50;
  // Off: in order of creation, for comparisons.
  bool srpt = true;

  std::uint8_t num_priorities = kPriorityCount;
  std::uint32_t max_overcommit = 8;
  // Whether max_overcommit * rtt_bytes bounds what is on the way, besides max_overcommit bounding the ranks that get grants.
  bool byte_bound = true;
  std::uint32_t grant_increment = 0;
  std::uint32_t grant_fifo_permille = 50;
  std::uint32_t duty_cycle_permille = 1000;

  // Which unscheduled priority a message to us uses, by its length; version 1.
  std::array<std::uint32_t, kPriorityCount> cutoffs = {0, 0, 0, 0, kCutoffInfinite, 15'000, 2'800, 200};
  // The periodic allocator makes new ones from the lengths received.
  bool allocate_cutoffs = true;
  Duration allocate_interval = Duration::milliseconds(1000);
  std::uint64_t allocate_messages_min = 10'000;
  // Overrides what follows from the cutoffs (simulations).
  std::optional<std::uint8_t> max_scheduled_priority;
  // Peers are taken to have our own cutoffs, rather than everything at one level, until they send theirs (simulations).
  bool assume_own_cutoffs = false;
  // One CUTOFFS per peer in this time at most.
  Duration cutoffs_interval = Duration::milliseconds(4);

  Duration tick = Duration::milliseconds(1);
  std::uint32_t resend_ticks = 15;
  std::uint32_t resend_interval_ticks = 10;
  std::uint32_t timeout_resends = 5;
  std::uint32_t request_ack_ticks = 2;

  // How long the name of a server RPC that is over is remembered, so that a late duplicate does not execute again: after an
  // acknowledgement, and otherwise. 0: not at all (simulations).
  Duration retire_acked = Duration::seconds(1);
  Duration retire_other = Duration::seconds(10);

  // FREEZE is unauthenticated: counted only, unless this is on.
  bool allow_freeze = false;
  // Headers that the packet trace holds; 0: no trace.
  std::uint32_t trace_packets = 0;

  Limits limits;
};

// Whether the values can work together; says which one can not and why.
Result<void> check(const Config& config);

}  // namespace godwit::homa
