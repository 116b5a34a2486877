// What is simulated: the network, the transport's configuration, the workload and how long. The published set-ups by name, and
// the changes that an ablation makes to them. Source: homa.md 13, "Simulation set-ups".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/time.h"
#include "homa/core/config.h"
#include "homa/simulation/workload.h"

namespace godwit::homa::simulation {

// Racks of hosts; every top-of-rack switch is linked to every core switch. One rack: no core.
struct Topology {
  std::uint32_t racks = 1;
  std::uint32_t hosts_per_rack = 16;
  std::uint32_t core_switches = 0;
  std::uint32_t host_mbps = 10'000;
  std::uint32_t core_mbps = 40'000;
  Duration send_delay;     // from the core to the network card's queue
  Duration receive_delay;  // from the last bit to the core
  Duration switch_delay;   // from the last bit to the output queue

  std::uint32_t hosts() const { return racks * hosts_per_rack; }
};

enum class Transport : std::uint8_t {
  homa,
  fifo,    // every byte unscheduled, one level, messages in order of creation
  window,  // one level, a window per message opened by acknowledgements, messages in turn
  oracle,  // no packets: each downlink serves the message with the fewest bytes left; a lower bound
};
// What is measured follows from these: packets (and with them queues and a trace), the production core, grants.
constexpr bool has_packets(Transport transport) {
  return transport != Transport::oracle;
}
constexpr bool runs_core(Transport transport) {
  return transport == Transport::homa || transport == Transport::fifo;
}
constexpr bool has_grants(Transport transport) {
  return transport == Transport::homa;
}

struct Options {
  std::string setup = "sigcomm18";  // sigcomm18, sigcomm18-host, atc21, rack16
  int workload = 3;
  std::uint64_t seed = 1;
  std::optional<double> load;  // fraction of the host link; atc21: of its published load (1)
  Transport transport = Transport::homa;
  std::uint8_t priorities = 8;
  std::optional<std::uint32_t> overcommit;
  bool srpt = true;
  std::optional<std::uint32_t> fifo_permille;  // of grants and of the pacer
  std::optional<double> warmup_ms, end_ms;
};

struct Setup {
  Options options;
  Topology topology;
  Config config;
  Workload workload{1};
  bool answers = false;               // each request is answered by as many bytes; else messages go one way
  std::uint32_t outstanding_max = 0;  // per host; 0: no limit
  double load = 0;                    // as Options::load, the default filled in
  double messages_per_second = 0;     // per host
  double share = 1;                   // message bytes per byte on the wire
  Duration warmup, end, drain;
};

// usage: a name or number that does not exist, values that can not work together.
Result<Setup> make_setup(const Options& options);
std::string_view name_of(Transport transport);
Result<Transport> transport_of(std::string_view name);

// Bytes on the wire of a message in full packets, headers and gaps included, without grants.
std::uint64_t wire_bytes(const Setup& setup, std::uint32_t length);
// Homa's set-ups with one-way messages: the time of a message of this length alone in the network.
std::int64_t ideal_ns(const Setup& setup, std::uint32_t length, bool same_rack);

}  // namespace godwit::homa::simulation
