#include "homa/simulation/fabric.h"

#include <algorithm>
#include <bit>

#include "homa/core/link_pacer.h"

namespace godwit::homa::simulation {

namespace {
std::int64_t serialisation_ns(std::uint32_t bytes, std::uint32_t picoseconds_per_byte) {
  return (std::int64_t{bytes} * picoseconds_per_byte + 500) / 1000;
}
std::uint32_t picoseconds_per_byte(std::uint32_t mbps) {
  return 8'000'000 / mbps;
}
}  // namespace

Fabric::Fabric(const Topology& topology, EventWheel& events, std::uint64_t seed)
    : topology_(topology),
      events_(events),
      routes_(seed),
      card_free_(topology.hosts(), 0),
      ports_(topology.hosts() + 2 * topology.racks * topology.core_switches),
      first_uplink_(topology.hosts()),
      first_core_port_(topology.hosts() + topology.racks * topology.core_switches) {
  for (std::uint32_t i = 0; i < ports_.size(); ++i)
    ports_[i].picoseconds_per_byte = picoseconds_per_byte(i < first_uplink_ ? topology.host_mbps : topology.core_mbps);
}

PacketIndex Fabric::take() {
  if (free_ == kNoPacket) {
    packets_.emplace_back();
    return static_cast<PacketIndex>(packets_.size() - 1);
  }
  const PacketIndex packet = free_;
  free_ = packets_[packet].next;
  return packet;
}

void Fabric::give_back(PacketIndex packet) {
  packets_[packet].next = free_;
  free_ = packet;
}

void Fabric::send(std::int64_t now, PacketIndex index) {
  FlyingPacket& packet = packets_[index];
  packet.wire_bytes =
      std::max(LinkPacer::kWireBytesMin, packet.transmit.header_size + packet.transmit.length + LinkPacer::kWireOverheadIpv4);
  packet.hop = 0;
  ++packets_sent_;
  // The card's queue is FIFO and is joined in order, so its times are known at once.
  std::int64_t& free_at = card_free_[packet.source];
  free_at = std::max(free_at, now + topology_.send_delay.nanoseconds) +
            serialisation_ns(packet.wire_bytes, picoseconds_per_byte(topology_.host_mbps));
  events_.schedule(free_at + topology_.switch_delay.nanoseconds, kJoinQueue, index);
}

std::uint32_t Fabric::port_of(FlyingPacket& packet) {
  const std::uint32_t from = rack_of(packet.source), to = rack_of(packet.destination);
  if (from == to || packet.hop == 2) return packet.destination;
  if (packet.hop == 0)
    return first_uplink_ + from * topology_.core_switches + static_cast<std::uint32_t>(routes_.below(topology_.core_switches));
  return first_core_port_ + packet.next * topology_.racks + to;  // `next` holds the core switch meanwhile
}

void Fabric::handle_join(std::int64_t now, PacketIndex index) {
  FlyingPacket& packet = packets_[index];
  const std::uint32_t number = port_of(packet);
  Port& port = ports_[number];
  if (port.levels == 0 && port.busy_until <= now) return transmit(now, number, index);
  if (port.levels == 0) events_.schedule(port.busy_until, kPortFree, number);
  count(port, now);
  port.queued_bytes += packet.wire_bytes;
  port.most_bytes = std::max(port.most_bytes, port.queued_bytes);
  const std::uint8_t level = packet.transmit.priority;
  packet.next = kNoPacket;
  if (port.levels & (1U << level))
    packets_[port.last[level]].next = index;
  else
    port.first[level] = index;
  port.last[level] = index;
  port.levels |= 1U << level;
}

void Fabric::handle_port_free(std::int64_t now, std::uint32_t number) {
  Port& port = ports_[number];
  const auto level = static_cast<std::size_t>(std::bit_width(port.levels) - 1);
  const PacketIndex index = port.first[level];
  count(port, now);
  port.queued_bytes -= packets_[index].wire_bytes;
  port.first[level] = packets_[index].next;
  if (index == port.last[level]) port.levels &= ~(1U << level);
  transmit(now, number, index);
  if (port.levels != 0) events_.schedule(port.busy_until, kPortFree, number);
}

void Fabric::transmit(std::int64_t now, std::uint32_t number, PacketIndex index) {
  Port& port = ports_[number];
  FlyingPacket& packet = packets_[index];
  port.busy_until = now + serialisation_ns(packet.wire_bytes, port.picoseconds_per_byte);
  if (number < first_uplink_) return events_.schedule(port.busy_until + topology_.receive_delay.nanoseconds, kDeliver, index);
  if (number < first_core_port_) packet.next = (number - first_uplink_) % topology_.core_switches;
  ++packet.hop;
  events_.schedule(port.busy_until + topology_.switch_delay.nanoseconds, kJoinQueue, index);
}

void Fabric::count(Port& port, std::int64_t now) {
  port.byte_ns += static_cast<double>(port.queued_bytes) * static_cast<double>(now - port.counted_until);
  port.counted_until = now;
}

void Fabric::begin_window(std::int64_t now) {
  window_begin_ = now;
  for (Port& port : ports_) {
    port.byte_ns = 0;
    port.counted_until = now;
    port.most_bytes = port.queued_bytes;
  }
}

std::array<QueueLength, 3> Fabric::queue_lengths(std::int64_t now) {
  std::array<QueueLength, 3> lengths{};
  const std::array<std::size_t, 4> bounds = {0, first_uplink_, first_core_port_, ports_.size()};
  for (std::size_t group = 0; group < lengths.size(); ++group) {
    for (std::size_t i = bounds[group]; i < bounds[group + 1]; ++i) {
      count(ports_[i], now);
      lengths[group].mean_bytes += ports_[i].byte_ns / static_cast<double>(std::max<std::int64_t>(1, now - window_begin_));
      lengths[group].most_bytes = std::max(lengths[group].most_bytes, ports_[i].most_bytes);
    }
    const std::size_t ports = bounds[group + 1] - bounds[group];
    if (ports > 0) lengths[group].mean_bytes /= static_cast<double>(ports);
  }
  return lengths;
}

}  // namespace godwit::homa::simulation
