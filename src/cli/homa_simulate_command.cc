#include "cli/homa_simulate_command.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "cli/console.h"
#include "homa/simulation/plot.h"
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

void put(json::object& into, const sim::Figure& figure) {
  std::visit([&](const auto& value) { into[figure.key] = value; }, figure.value);
}

// A group in which nothing was measured has no slowdowns.
json::object json_of(const sim::Slowdowns& s) {
  json::object object{{"messages", s.count()}};
  if (s.count() > 0) object["slowdown_p50"] = s.quantile(0.5), object["slowdown_p99"] = s.quantile(0.99);
  return object;
}

json::object json_of(const sim::Setup& setup, const sim::Results& r, Seconds took) {
  json::object all;
  for (const sim::Figure& figure : sim::describe(setup)) put(all, figure);
  for (const sim::Figure& figure : sim::figures(setup, r)) put(all, figure);
  json::array tenths, queues;
  const auto lengths = sim::tenth_lengths(setup.workload);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    json::object tenth = json_of(r.tenths[i]);
    tenth["length_max_bytes"] = lengths[i];
    tenths.push_back(std::move(tenth));
  }
  all["tenths"] = std::move(tenths);
  all["shortest_half"] = json_of(r.shortest_half);
  for (const auto& [where, length] : sim::queues(setup, r))
    queues.push_back(json::object{{"where", where}, {"mean_bytes", length.mean_bytes}, {"most_bytes", length.most_bytes}});
  if (!queues.empty()) all["queues"] = std::move(queues);
  all["wall_seconds"] = took.wall;
  all["cpu_seconds"] = took.cpu;
  if (sim::has_packets(setup.options.transport))
    all["packets_per_cpu_second"] = static_cast<double>(r.packets) / std::max(took.cpu, 1e-6);
  return all;
}

void print_setup(Console& console, const sim::Setup& setup) {
  const homa::Config& c = setup.config;
  std::string line = fmt::format("  load {:g}", setup.load);
  if (sim::has_grants(setup.options.transport))
    line += fmt::format(", {} priorities, overcommitment {}, SRPT {}, FIFO share {} of 1000", c.num_priorities, c.max_overcommit,
                        c.srpt ? "on" : "off", c.grant_fifo_permille);
  else if (sim::has_packets(setup.options.transport))
    line += ", 1 priority";
  console.line(line + fmt::format("; measured from {:g} to {:g} ms", static_cast<double>(setup.warmup.nanoseconds) / 1e6,
                                  static_cast<double>(setup.end.nanoseconds) / 1e6));
}

void print_table(Console& console, const sim::Setup& setup, const sim::Results& r) {
  console.line(fmt::format("{} {} w{}, seed {}: {} messages started, {} measured, {} unfinished", setup.options.setup,
                           sim::name_of(setup.options.transport), setup.options.workload, setup.options.seed, r.started,
                           r.measured, r.unfinished));
  print_setup(console, setup);
  console.line("  tenth   up to bytes   messages   slowdown p50     p99");
  const auto lengths = sim::tenth_lengths(setup.workload);
  const auto row = [&](std::string_view name, std::uint32_t length, const sim::Slowdowns& s) {
    const std::string start = fmt::format("  {:>5} {:>13} {:>10}", name, length, s.count());
    console.line(s.count() == 0 ? start + fmt::format(" {:>14} {:>7}", "-", "-")
                                : start + fmt::format(" {:>14.2f} {:>7.2f}", s.quantile(0.5), s.quantile(0.99)));
  };
  for (std::size_t i = 0; i < lengths.size(); ++i) row(fmt::format("{}", i + 1), lengths[i], r.tenths[i]);
  row("1-5", lengths[4], r.shortest_half);
}

void print_packets(Console& console, const sim::Setup& setup, const sim::Results& r) {
  const sim::Transport transport = setup.options.transport;
  std::string queues;
  for (const auto& [where, length] : sim::queues(setup, r)) {
    std::string name(where);
    std::replace(name.begin(), name.end(), '_', ' ');
    queues += fmt::format("{} {} {:.0f} {}", queues.empty() ? "" : ",", name, length.mean_bytes, length.most_bytes);
  }
  console.line("  queues, mean and most bytes:" + queues);
  if (sim::runs_core(transport))
    console.line(fmt::format("  granted and not used, mean and most bytes of a receiver: {:.0f} {}", r.granted_unused_mean_bytes,
                             r.granted_unused_most_bytes));
  std::string line = fmt::format("  {} packets: {} DATA", r.packets, r.data_packets);
  if (!sim::runs_core(transport)) line += fmt::format(", {} acknowledgements", r.acks);
  if (sim::has_grants(transport)) line += fmt::format(", {} GRANT", r.grants);
  if (sim::runs_core(transport))
    line += fmt::format(", {} RESEND, {} BUSY, {} sent again", r.resends, r.busies, r.retransmissions);
  console.line(line + fmt::format("; trace {:016x}", r.trace_hash));
}

void print_rest(Console& console, const sim::Setup& setup, const sim::Results& r, Seconds took) {
  const sim::Transport transport = setup.options.transport;
  std::string line = fmt::format("  offered {:.1f} %, received {:.1f} % of the link", r.offered * 100, r.throughput * 100);
  if (sim::has_grants(transport)) line += fmt::format("; wasted {:.1f} %", r.wasted * 100);
  if (setup.outstanding_max != 0) line += fmt::format("; waited for room {}", r.waited_for_room);
  if (sim::runs_core(transport)) line += fmt::format("; failed {}", r.failed);
  console.line(line);
  line = fmt::format("  {:.1f} ms simulated in {:.1f} s ({:.1f} s of CPU)", r.simulated_ms, took.wall, took.cpu);
  if (sim::has_packets(transport)) {
    print_packets(console, setup, r);
    line +=
        fmt::format(", {:.2f} million packets per CPU second", static_cast<double>(r.packets) / std::max(took.cpu, 1e-6) / 1e6);
  }
  console.line(line);
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
  print_rest(console, *setup, results, took);
  console.event(json_of(*setup, results, took));
  if (Result<void> done = write_file(options.csv, to_csv(*setup, results)); !done) return console.error(done.error());
  if (Result<void> done = write_file(options.svg, to_svg(*setup, results)); !done) return console.error(done.error());
  return kDone;
}

}  // namespace godwit::cli
