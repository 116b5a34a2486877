// From what a user says to what the core and the socket are told, with what this machine knows filled in; and errors on the way
// back.
#include <algorithm>
#include <random>
#include <thread>

#include <fmt/format.h>

#include "homa/driver/kernel_address.h"
#include "homa/driver/transport_impl.h"

namespace godwit::homa {

namespace {

constexpr std::uint32_t kUdpHeader = 8;
constexpr std::uint32_t kIpv4Header = 20;
constexpr std::uint32_t kIpv6Header = 40;
constexpr std::uint32_t kDatagramMax = 65507;
constexpr std::uint32_t kMtuMin = 576;
// On loopback a packet is handed over by a copy, and its size is what counts; see bench/RESULTS.md.
constexpr std::uint32_t kLoopbackRttBytes = 4 * (kDatagramMax - kDataHeaderSize);
constexpr std::uint32_t kTracePackets = 4096;

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

}  // namespace

Result<DriverOptions> driver_options(const TransportOptions& options, LinkFacts& facts) {
  DriverOptions out;
  PeerAddress local;
  if (!options.bind.empty()) {
    Result<PeerAddress> bind = resolve_peer(options.bind, options.udp_port);
    if (!bind) return fail(std::move(bind).error());
    out.udp.bind = local = *bind;
  }
  out.udp.port = options.udp_port;
  facts = link_facts(local);
  if (options.mtu && *options.mtu < kMtuMin)
    return fail(ErrorKind::invalid, fmt::format("an MTU of {} bytes: IPv4 promises {} at least", *options.mtu, kMtuMin));
  const bool is_v4 = out.udp.bind && is_ipv4(local);
  const std::uint32_t headers = (is_v4 ? kIpv4Header : kIpv6Header) + kUdpHeader;
  const std::uint32_t datagram = std::min(options.mtu.value_or(facts.mtu) - headers, kDatagramMax);
  Config& config = out.config;
  config.max_data = datagram - static_cast<std::uint32_t>(kDataHeaderSize);
  config.rtt_bytes = options.rtt_bytes.value_or(facts.is_loopback && !options.mtu ? kLoopbackRttBytes : 60'000);
  config.grant_increment = std::min(config.rtt_bytes, std::max(10'000U, config.max_data));
  config.link_mbps = options.link_mbps.value_or(facts.speed_mbps.value_or(0));
  // Nothing queues on loopback, so there is nothing to measure by.
  config.adapt_rtt_bytes = !options.rtt_bytes && !facts.is_loopback;
  config.adapt_link = !options.link_mbps && !facts.speed_mbps && !facts.is_loopback;
  config.max_nic_queue = Duration::microseconds(20);
  config.nic_queue_packets = 5;
  config.num_priorities = options.priorities;
  config.tick = {options.tick.count()};
  config.allow_freeze = options.allow_freeze;
  config.trace_packets = options.allow_freeze ? kTracePackets : 0;
  out.udp.gso = options.gso;
  out.udp.gro = options.gro;
  out.udp.mark_priorities = options.mark_priorities && options.priorities > 1;
  out.udp.buffer_bytes = options.socket_buffer_bytes;
  out.seed = random_seed();
  const unsigned cpus = std::thread::hardware_concurrency();
  // On two CPUs a thread that spins away the link's pace keeps the kernel from delivering what it waits for.
  const bool has_cpus = cpus > 2;
  out.spin = {options.spin ? options.spin->count() : cpus > 1 ? 50'000 : 0};
  out.spins_where_it_pays = !options.spin;
  out.wait_in_receive = !options.threaded;
  out.pace_spin = has_cpus ? Duration::microseconds(50) : Duration{};
  out.outbound_bytes_max = options.outbound_bytes_max;
  out.kept_bytes_max = options.kept_bytes_max;
  return out;
}

Failure failure_of(const Error& error) {
  Reason reason = Reason::io;
  switch (error.kind()) {
    case ErrorKind::invalid:
    case ErrorKind::usage:
    case ErrorKind::exists: reason = Reason::invalid; break;
    case ErrorKind::busy:
    case ErrorKind::limit: reason = Reason::busy; break;
    case ErrorKind::not_found: reason = Reason::over; break;
    default: break;
  }
  return {reason, error.message()};
}

Failure failure_of(CallError error, const PeerAddress& peer, std::uint32_t narrow_mtu) {
  const std::string at = text_of(peer);
  switch (error) {
    case CallError::server_lost_state:
      return {Reason::server_lost_state, at + " started anew while it answered; the request may have been executed"};
    case CallError::refused: return {Reason::refused, "nobody listens at UDP " + at};
    case CallError::unreachable:
      if (narrow_mtu == 0) return {Reason::unreachable, "there is no way to " + at};
      return {Reason::unreachable,
              fmt::format("our packets are too long for the way to {}{}: set a smaller MTU", at,
                          narrow_mtu > 1 ? fmt::format(", which carries {} bytes", narrow_mtu) : std::string())};
    case CallError::timed_out:
    case CallError::none: break;
  }
  return {Reason::timed_out, at + " does not answer; the request may have been executed"};
}

}  // namespace godwit::homa
