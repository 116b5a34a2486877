// The sender's half of a message: how far it is sent and how far it may be. Source: homa.md 4, 5.
#pragma once

#include <algorithm>
#include <cstdint>

#include "homa/core/ids.h"

namespace godwit::homa {

struct OutboundMessage {
  std::uint32_t length = 0;       // 0: there is none
  std::uint32_t sent = 0;         // the next packet starts here
  std::uint32_t sent_before = 0;  // below this, bytes went out once already (a restart after UNKNOWN)
  std::uint32_t granted = 0;      // the receiver's permission, unrounded
  std::uint32_t unscheduled = 0;  // sent without permission: whole packets, or the message's end
  std::uint8_t scheduled_priority = 0;
  BufferId buffer;

  bool exists() const { return length > 0; }
  std::uint32_t remaining() const { return length - sent; }
  // A packet goes out iff its first byte lies below the permitted offset.
  bool has_permitted_unsent() const { return sent < std::max(granted, unscheduled) && sent < length; }
  bool is_sent() const { return sent >= length; }

  void start(std::uint32_t message_length, std::uint32_t rtt_bytes, std::uint32_t max_data, BufferId bytes) {
    *this = {};
    length = message_length;
    unscheduled = rounded(std::min(message_length, rtt_bytes), max_data);
    buffer = bytes;
  }
  void grant(std::uint32_t offset) { granted = std::max(granted, std::min(offset, length)); }
  // The receiver holds nothing of it: all over again.
  void restart() {
    sent_before = std::max(sent_before, sent);
    sent = 0;
    granted = 0;
  }
  // Up to the end of the packet that holds the last permitted byte.
  std::uint32_t rounded(std::uint32_t offset, std::uint32_t max_data) const {
    const std::uint64_t packets = (std::uint64_t{offset} + max_data - 1) / max_data;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(packets * max_data, length));
  }
  // The `incoming` field of a packet that ends at `packet_end`.
  std::uint32_t incoming(std::uint32_t packet_end, std::uint32_t max_data) const {
    return std::max({packet_end, unscheduled, rounded(granted, max_data)});
  }
};

}  // namespace godwit::homa
