#include "cli/homa_simulate_command.h"

#include <chrono>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "cli/console.h"
#include "homa/simulation/simulation.h"

namespace godwit::cli {

namespace json = boost::json;
namespace sim = homa::simulation;

namespace {

struct Seconds {
  double wall = 0;
  double cpu = 0;
};

Result<sim::Setup> setup_of(const HomaSimulateOptions& o) {
  sim::Options options;
  options.setup = o.setup;
  if (o.workload.size() != 2 || (o.workload[0] != 'w' && o.workload[0] != 'W') || o.workload[1] < '1' || o.workload[1] > '5')
    return fail(ErrorKind::usage, fmt::format("no workload is called '{}': choose w1 to w5", escaped(o.workload)));
  options.workload = o.workload[1] - '0';
  Result<sim::Transport> transport = sim::transport_of(o.transport);
  if (!transport) return fail(std::move(transport).error());
  options.transport = *transport;
  if (o.priorities > 8) return fail(ErrorKind::usage, "there can be 1 to 8 priorities");
  options.priorities = static_cast<std::uint8_t>(o.priorities);
  options.seed = o.seed;
  options.load = o.load;
  options.overcommit = o.overcommit;
  options.srpt = !o.no_srpt;
  options.fifo_permille = o.fifo_permille;
  options.warmup_ms = o.warmup_ms;
  options.end_ms = o.end_ms;
  return sim::make_setup(options);
}

Result<void> write_file(const std::string& path, const std::string& text) {
  if (path.empty()) return {};
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(ErrorKind::io, fmt::format("{}: can not be written", path));
  return {};
}

json::object json_of(const sim::Setup& setup, const sim::Results& r, Seconds took) {
  json::array tenths, queues;
  const auto lengths = sim::tenth_lengths(setup.workload);
  for (std::size_t i = 0; i < lengths.size(); ++i)
    tenths.push_back(json::object{{"length_max_bytes", lengths[i]},
                                  {"messages", r.tenths[i].count()},
                                  {"slowdown_p50", r.tenths[i].quantile(0.5)},
                                  {"slowdown_p99", r.tenths[i].quantile(0.99)}});
  constexpr std::array<const char*, 3> kPlaces = {"host_downlinks", "rack_uplinks", "rack_downlinks"};
  for (std::size_t i = 0; i < kPlaces.size(); ++i)
    queues.push_back(
        json::object{{"where", kPlaces[i]}, {"mean_bytes", r.queues[i].mean_bytes}, {"most_bytes", r.queues[i].most_bytes}});
  return {{"setup", setup.options.setup},
          {"transport", sim::name_of(setup.options.transport)},
          {"workload", setup.options.workload},
          {"seed", setup.options.seed},
          {"started", r.started},
          {"measured", r.measured},
          {"unfinished", r.unfinished},
          {"failed", r.failed},
          {"waited_for_room", r.waited_for_room},
          {"tenths", tenths},
          {"shortest_half", json::object{{"messages", r.shortest_half.count()},
                                         {"slowdown_p50", r.shortest_half.quantile(0.5)},
                                         {"slowdown_p99", r.shortest_half.quantile(0.99)}}},
          {"offered", r.offered},
          {"throughput", r.throughput},
          {"wasted", r.wasted},
          {"queues", queues},
          {"packets", r.packets},
          {"grants", r.grants},
          {"resends", r.resends},
          {"busies", r.busies},
          {"retransmissions", r.retransmissions},
          {"trace_hash", fmt::format("{:016x}", r.trace_hash)},
          {"simulated_ms", r.simulated_ms},
          {"wall_seconds", took.wall},
          {"cpu_seconds", took.cpu},
          {"packets_per_cpu_second", static_cast<double>(r.packets) / took.cpu}};
}

void print_table(Console& console, const sim::Setup& setup, const sim::Results& r) {
  console.line(fmt::format("{} {} w{}, seed {}: {} messages started, {} measured, {} unfinished", setup.options.setup,
                           sim::name_of(setup.options.transport), setup.options.workload, setup.options.seed, r.started,
                           r.measured, r.unfinished));
  console.line("  tenth   up to bytes   messages   slowdown p50     p99");
  const auto lengths = sim::tenth_lengths(setup.workload);
  const auto row = [&](std::string_view name, std::uint32_t length, const sim::Slowdowns& s) {
    console.line(
        fmt::format("  {:>5} {:>13} {:>10} {:>14.2f} {:>7.2f}", name, length, s.count(), s.quantile(0.5), s.quantile(0.99)));
  };
  for (std::size_t i = 0; i < lengths.size(); ++i) row(fmt::format("{}", i + 1), lengths[i], r.tenths[i]);
  row("1-5", lengths[4], r.shortest_half);
}

void print_rest(Console& console, const sim::Results& r, Seconds took) {
  console.line(fmt::format("  offered {:.1f} %, received {:.1f} % of the link; wasted {:.1f} %; waited for room {}; failed {}",
                           r.offered * 100, r.throughput * 100, r.wasted * 100, r.waited_for_room, r.failed));
  console.line(
      fmt::format("  queues, mean and most bytes: host downlinks {:.0f} {}, rack uplinks {:.0f} {}, rack downlinks {:.0f} {}",
                  r.queues[0].mean_bytes, r.queues[0].most_bytes, r.queues[1].mean_bytes, r.queues[1].most_bytes,
                  r.queues[2].mean_bytes, r.queues[2].most_bytes));
  console.line(fmt::format("  {} packets: {} DATA, {} GRANT, {} RESEND, {} BUSY, {} sent again; trace {:016x}", r.packets,
                           r.data_packets, r.grants, r.resends, r.busies, r.retransmissions, r.trace_hash));
  console.line(fmt::format("  {:.1f} ms simulated in {:.1f} s ({:.1f} s of CPU), {:.2f} million packets per CPU second",
                           r.simulated_ms, took.wall, took.cpu, static_cast<double>(r.packets) / took.cpu / 1e6));
}

}  // namespace

int run_homa_simulate(const Settings& settings, const HomaSimulateOptions& options) {
  Console console(settings.json);
  Result<sim::Setup> setup = setup_of(options);
  if (!setup) return console.error(setup.error());
  const auto before = std::chrono::steady_clock::now();
  const std::clock_t cpu_before = std::clock();
  const sim::Results results = sim::simulate(*setup);
  const Seconds took{std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(),
                     static_cast<double>(std::clock() - cpu_before) / CLOCKS_PER_SEC};
  print_table(console, *setup, results);
  print_rest(console, results, took);
  console.event(json_of(*setup, results, took));
  if (Result<void> done = write_file(options.csv, to_csv(*setup, results)); !done) return console.error(done.error());
  if (Result<void> done = write_file(options.svg, to_svg(*setup, results)); !done) return console.error(done.error());
  return kDone;
}

}  // namespace godwit::cli
