// The simulated network: links, and switches with eight strict priority levels per output port, FIFO within a level, unlimited.
// Store and forward; a packet on the wire is not interrupted. A packet that waits for nothing costs one event per hop. Which
// uplink it takes is drawn per packet. Source: homa.md 13.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "homa/core/endpoint.h"
#include "homa/simulation/event_wheel.h"
#include "homa/simulation/setup.h"

namespace godwit::homa::simulation {

using PacketIndex = std::uint32_t;

// A datagram in flight: its header, and how many bytes of data nobody reads. What a switch looks at lies in the first cache line.
struct alignas(64) FlyingPacket {
  std::uint32_t wire_bytes = 0;
  PacketIndex next = 0;  // in a port's queue, or among the free
  std::uint16_t source = 0;
  std::uint16_t destination = 0;
  std::uint8_t hop = 0;
  Transmit transmit;
};

enum EventKind : std::uint32_t {
  kArrival,    // host: the next message of its generator
  kJoinQueue,  // packet: at the switch of its hop
  kPortFree,   // port: its packet is on its way, others wait
  kDeliver,    // packet: to its host's core
  kMaySend,    // host: the link's pace
  kTick,       // host: the core's timers
  kSample,     // all hosts: is bandwidth wasted?
  kWindowBegins,
  kWindowEnds,
};

struct QueueLength {
  double mean_bytes = 0;  // over time, in the measured window
  std::uint64_t most_bytes = 0;
};

class Fabric {
 public:
  Fabric(const Topology& topology, EventWheel& events, std::uint64_t seed);

  FlyingPacket& at(PacketIndex packet) { return packets_[packet]; }
  // A record to be filled; kNoPacket never.
  PacketIndex take();
  void give_back(PacketIndex packet);

  // The host's core gave the packet out at `now`; its transmit, source and destination are set.
  void send(std::int64_t now, PacketIndex packet);
  void handle_join(std::int64_t now, PacketIndex packet);
  void handle_port_free(std::int64_t now, std::uint32_t port);

  // Whether nothing is on the host's downlink or waits for it.
  bool is_downlink_idle(std::int64_t now, std::uint32_t host) const {
    return ports_[host].levels == 0 && ports_[host].busy_until <= now;
  }
  // Queue lengths count from now on.
  void begin_window(std::int64_t now);
  // Downlinks to hosts, uplinks of racks, downlinks to racks.
  std::array<QueueLength, 3> queue_lengths(std::int64_t now);
  std::uint64_t packets_sent() const { return packets_sent_; }

 private:
  static constexpr PacketIndex kNoPacket = 0xffff'ffff;
  struct Port {
    std::int64_t busy_until = 0;
    std::uint32_t picoseconds_per_byte = 0;
    std::uint32_t levels = 0;  // bit i: something waits at level i
    std::array<PacketIndex, kPriorityCount> first{}, last{};
    std::uint64_t queued_bytes = 0, most_bytes = 0;
    double byte_ns = 0;
    std::int64_t counted_until = 0;
  };

  std::uint32_t rack_of(std::uint32_t host) const { return host / topology_.hosts_per_rack; }
  std::uint32_t port_of(FlyingPacket& packet);
  void transmit(std::int64_t now, std::uint32_t port, PacketIndex packet);
  void count(Port& port, std::int64_t now);

  const Topology topology_;
  EventWheel& events_;
  Random routes_;
  std::vector<FlyingPacket> packets_;
  PacketIndex free_ = kNoPacket;
  std::vector<std::int64_t> card_free_;  // by host
  // Downlinks to hosts (by host), then uplinks (rack, core switch), then core downlinks (core switch, rack).
  std::vector<Port> ports_;
  std::uint32_t first_uplink_, first_core_port_;
  std::uint64_t packets_sent_ = 0;
  std::int64_t window_begin_ = 0;
};

}  // namespace godwit::homa::simulation
