// Control packets that wait to be sent, first in, first out. Bounded: one that finds no room is dropped and counted, for the loss
// of any control packet is repaired by its protocol.
#pragma once

#include <cstdint>

#include "homa/core/config.h"
#include "homa/core/packet.h"
#include "homa/core/ring_queue.h"

namespace godwit::homa {

class Outbox {
 public:
  struct Item {
    PeerAddress to;
    bool is_ipv4 = true;
    Packet packet;
  };

  explicit Outbox(const Config& config) : config_(config) {}

  bool empty() const { return items_.empty(); }
  void push(const PeerAddress& to, bool to_ipv4, const Packet& packet) {
    if (items_.size() >= config_.limits.control_packets_max) {
      ++dropped_;
      return;
    }
    items_.push({to, to_ipv4, packet});
  }
  Item pop() { return items_.pop(); }
  std::uint64_t dropped() const { return dropped_; }

 private:
  const Config& config_;
  RingQueue<Item> items_;
  std::uint64_t dropped_ = 0;
};

}  // namespace godwit::homa
