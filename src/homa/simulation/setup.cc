#include "homa/simulation/setup.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "homa/core/link_pacer.h"

namespace godwit::homa::simulation {

namespace {

// By workload, W1 first.
constexpr std::array<std::uint32_t, 5> kScheduledLevels = {1, 3, 4, 7, 7};
constexpr std::array<double, 5> kShare = {0.594, 0.748, 0.853, 0.863, 0.863};
struct Window {
  std::int64_t warmup_ms, end_ms;
};
constexpr std::array<Window, 5> kSigcommWindows = {{{2, 6}, {4, 12}, {40, 120}, {120, 400}, {300, 1000}}};
constexpr std::array<Window, 5> kAtcWindows = {{{2, 6}, {5, 20}, {20, 60}, {50, 150}, {100, 300}}};
constexpr std::array<double, 5> kAtcGbps = {0, 3.2, 14, 20, 20};
constexpr double kDefaultLoad = 0.8;
constexpr double kSimulatedMsMax = 3'600'000;

Topology sigcomm_topology(std::uint32_t racks, std::uint32_t core_switches) {
  return {.racks = racks,
          .hosts_per_rack = 16,
          .core_switches = core_switches,
          .host_mbps = 10'000,
          .core_mbps = 40'000,
          .send_delay = Duration{1000},
          .receive_delay = Duration{500},
          .switch_delay = Duration{250}};
}

// With fewer levels the scheduled ones keep their share, at least one on either side.
std::uint32_t scheduled_levels(std::uint32_t published, std::uint32_t priorities) {
  if (priorities == 1) return 1;
  return std::clamp((published * priorities * 2 + 8) / 16, 1u, priorities - 1);
}

void without_memory(Config& config) {
  config.max_message_length = 32'000'000;
  config.limits.inbound_rpcs_per_peer_max = 0;
  config.limits.inbound_bytes_per_peer_max = config.limits.inbound_bytes_max = 0;
  config.limits.gaps_per_message_max = 1 << 20;
  config.allocate_cutoffs = false;
  config.assume_own_cutoffs = true;
  config.retire_acked = config.retire_other = Duration{};
}

void configure_sigcomm(Setup& setup, bool as_in_production) {
  const auto index = static_cast<std::size_t>(setup.options.workload - 1);
  const std::uint32_t published = kScheduledLevels[index];
  Config& c = setup.config;
  without_memory(c);
  c.rtt_bytes = 9884;
  c.max_data = 1412;
  c.link_mbps = 10'000;
  c.num_priorities = setup.options.priorities;
  c.max_overcommit = setup.options.overcommit.value_or(published);
  c.byte_bound = false;
  c.grant_increment = 1412;
  c.grant_fifo_permille = setup.options.fifo_permille.value_or(0);
  c.duty_cycle_permille = 1000;
  c.srpt = setup.options.srpt;
  c.pacer_fifo_permille = setup.options.fifo_permille.value_or(0);
  c.max_nic_queue = as_in_production ? Duration{2000} : Duration{};
  c.throttle_min_bytes = as_in_production ? 1000 : 0;
  const std::uint32_t scheduled = scheduled_levels(published, c.num_priorities);
  c.max_scheduled_priority = static_cast<std::uint8_t>(scheduled - 1);
  const std::uint32_t unscheduled = std::max(1u, c.num_priorities - scheduled);
  c.cutoffs = setup.workload.cutoffs(c.rtt_bytes, c.num_priorities, unscheduled);
  setup.share = kShare[index];
  setup.load = setup.options.load.value_or(kDefaultLoad);
  setup.messages_per_second = setup.load * c.link_mbps * 1e6 / 8 * setup.share / setup.workload.mean();
  setup.warmup = Duration::milliseconds(kSigcommWindows[index].warmup_ms);
  setup.end = Duration::milliseconds(kSigcommWindows[index].end_ms);
}

Result<void> configure_atc(Setup& setup) {
  const auto index = static_cast<std::size_t>(setup.options.workload - 1);
  if (kAtcGbps[index] == 0) return fail(ErrorKind::usage, "atc21 has no W1: choose --workload w2 to w5");
  setup.topology = {.racks = 1,
                    .hosts_per_rack = 40,
                    .core_switches = 0,
                    .host_mbps = 25'000,
                    .core_mbps = 25'000,
                    .send_delay = Duration{3550},
                    .receive_delay = Duration{3550},
                    .switch_delay = Duration{300}};
  setup.workload = Workload(setup.options.workload, 1'000'000);
  setup.answers = true;
  setup.outstanding_max = 200;
  Config& c = setup.config;
  without_memory(c);
  c.max_message_length = 1'000'000;
  c.rtt_bytes = 60'000;
  c.max_data = 2912;
  c.link_mbps = 25'000;
  c.num_priorities = setup.options.priorities;
  c.max_overcommit = setup.options.overcommit.value_or(8);
  c.grant_increment = 10'000;
  c.duty_cycle_permille = 800;
  c.grant_fifo_permille = setup.options.fifo_permille.value_or(50);
  c.pacer_fifo_permille = setup.options.fifo_permille.value_or(50);
  c.srpt = setup.options.srpt;
  c.retire_acked = Duration::seconds(1);
  c.retire_other = Duration::seconds(10);
  const std::uint32_t all = c.num_priorities;
  double unscheduled = 0, before = 0;
  for (const WorkloadPoint& point : setup.workload.points()) {
    unscheduled += std::min(point.length, c.rtt_bytes) * (point.fraction - before);
    before = point.fraction;
  }
  const auto levels = static_cast<std::uint32_t>(std::lround(all * unscheduled / setup.workload.mean()));
  c.cutoffs = setup.workload.cutoffs(c.rtt_bytes, c.num_priorities, std::max(1u, levels));
  setup.load = setup.options.load.value_or(1);
  setup.messages_per_second = kAtcGbps[index] * 1e9 / (16 * setup.workload.mean()) * setup.load;
  setup.warmup = Duration::milliseconds(kAtcWindows[index].warmup_ms);
  setup.end = Duration::milliseconds(kAtcWindows[index].end_ms);
  return {};
}

// The core as a transport that knows neither grants nor priorities nor short messages.
void make_fifo(Config& c) {
  c.num_priorities = 1;
  c.max_scheduled_priority = 0;
  c.cutoffs = {kCutoffInfinite, 0, 0, 0, 0, 0, 0, 0};
  c.rtt_bytes = c.max_message_length;
  c.grant_increment = 0;
  c.srpt = false;
  c.pacer_fifo_permille = 0;
}

}  // namespace

std::string_view name_of(Transport transport) {
  constexpr std::array<std::string_view, 4> kNames = {"homa", "fifo", "window", "oracle"};
  return kNames[static_cast<std::size_t>(transport)];
}

Result<Transport> transport_of(std::string_view name) {
  for (const Transport transport : {Transport::homa, Transport::fifo, Transport::window, Transport::oracle})
    if (name_of(transport) == name) return transport;
  return fail(ErrorKind::usage, fmt::format("no transport is called '{}': choose homa, fifo, window or oracle", name));
}

Result<Setup> make_setup(const Options& options) {
  if (options.workload < 1 || options.workload > 5) return fail(ErrorKind::usage, "the workloads are w1 to w5");
  if (options.priorities < 1 || options.priorities > kPriorityCount)
    return fail(ErrorKind::usage, "there can be 1 to 8 priorities");
  if (options.load && !(*options.load > 0 && *options.load <= 2))  // nor not a number
    return fail(ErrorKind::usage, fmt::format("a load of {}: it must be above 0 and at most 2", *options.load));
  Setup setup;
  setup.options = options;
  setup.workload = Workload(options.workload);
  setup.drain = Duration::milliseconds(30);
  if (options.setup == "sigcomm18" || options.setup == "sigcomm18-host" || options.setup == "rack16") {
    setup.topology = options.setup == "rack16" ? sigcomm_topology(1, 0) : sigcomm_topology(9, 4);
    configure_sigcomm(setup, options.setup == "sigcomm18-host");
  } else if (options.setup == "atc21") {
    if (Result<void> done = configure_atc(setup); !done) return fail(done.error());
  } else {
    return fail(ErrorKind::usage,
                fmt::format("no set-up is called '{}': choose sigcomm18, sigcomm18-host, atc21 or rack16", options.setup));
  }
  if (options.transport != Transport::homa && setup.answers)
    return fail(ErrorKind::usage, "the baselines run in sigcomm18 and rack16 only");
  if (options.transport == Transport::fifo) make_fifo(setup.config);
  for (const std::optional<double>& ms : {options.warmup_ms, options.end_ms})
    if (ms && !(*ms >= 0 && *ms <= kSimulatedMsMax))
      return fail(ErrorKind::usage, fmt::format("{} ms of simulated time: it must be from 0 to {:.0f}", *ms, kSimulatedMsMax));
  if (options.warmup_ms) setup.warmup = Duration::microseconds(static_cast<std::int64_t>(*options.warmup_ms * 1e3));
  if (options.end_ms) setup.end = Duration::microseconds(static_cast<std::int64_t>(*options.end_ms * 1e3));
  if (setup.warmup < Duration{} || setup.end <= setup.warmup)
    return fail(ErrorKind::usage, "the measured time must end after the warm-up");
  if (Result<void> checked = check(setup.config); !checked) return fail(ErrorKind::usage, checked.error().message());
  return setup;
}

std::uint64_t wire_bytes(const Setup& setup, std::uint32_t length) {
  const std::uint32_t max_data = setup.config.max_data;
  constexpr std::uint32_t kOverhead = kDataHeaderSize + LinkPacer::kWireOverheadIpv4;
  const std::uint64_t packets = (std::uint64_t{length} + max_data - 1) / max_data;
  return length + packets * kOverhead;
}

std::int64_t ideal_ns(const Setup& setup, std::uint32_t length, bool same_rack) {
  const Topology& t = setup.topology;
  const auto first = static_cast<double>(wire_bytes(setup, std::min(length, setup.config.max_data)));
  const double host_ns_per_byte = 8e3 / t.host_mbps, core_ns_per_byte = 8e3 / t.core_mbps;
  double ns = static_cast<double>(wire_bytes(setup, length)) * host_ns_per_byte;
  ns += static_cast<double>((t.send_delay + t.receive_delay).nanoseconds);
  ns += static_cast<double>(t.switch_delay.nanoseconds) * (same_rack ? 1 : 3);
  ns += first * (same_rack ? host_ns_per_byte : 2 * core_ns_per_byte + host_ns_per_byte);
  return std::llround(ns);
}

}  // namespace godwit::homa::simulation
