#include "homa/simulation/results.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace godwit::homa::simulation {

double Slowdowns::quantile(double q) const {
  if (values_.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(q * static_cast<double>(values_.size()) - 1e-9)));
  const auto at = values_.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(values_.begin(), at, values_.end());
  return *at;
}

std::array<std::uint32_t, 10> tenth_lengths(const Workload& workload) {
  std::array<std::uint32_t, 10> longest{};
  std::size_t tenth = 0;
  for (const WorkloadPoint& point : workload.points())
    for (; tenth < longest.size() && point.fraction >= static_cast<double>(tenth + 1) / 10 - 1e-12; ++tenth)
      longest[tenth] = point.length;
  while (tenth < longest.size()) longest[tenth++] = workload.points().back().length;
  return longest;
}

std::string text_of(const Figure& figure) {
  return std::visit([](const auto& value) { return fmt::format("{}", value); }, figure.value);
}

std::vector<Figure> describe(const Setup& setup) {
  const Transport transport = setup.options.transport;
  std::vector<Figure> all = {{"setup", setup.options.setup},
                             {"transport", std::string(name_of(transport))},
                             {"workload", fmt::format("w{}", setup.options.workload)},
                             {"seed", setup.options.seed},
                             {"load", setup.load}};
  if (has_packets(transport))
    all.push_back({"priorities", std::uint64_t{has_grants(transport) ? setup.config.num_priorities : 1u}});
  if (has_grants(transport)) {
    all.push_back({"overcommitment", std::uint64_t{setup.config.max_overcommit}});
    all.push_back({"srpt", setup.config.srpt});
    all.push_back({"fifo_permille", std::uint64_t{setup.config.grant_fifo_permille}});
  }
  all.push_back({"warmup_ms", static_cast<double>(setup.warmup.nanoseconds) / 1e6});
  all.push_back({"end_ms", static_cast<double>(setup.end.nanoseconds) / 1e6});
  return all;
}

std::vector<Figure> figures(const Setup& setup, const Results& r) {
  const Transport transport = setup.options.transport;
  std::vector<Figure> all = {{"started", r.started}, {"measured", r.measured}, {"unfinished", r.unfinished}};
  if (runs_core(transport)) all.push_back({"failed", r.failed});
  if (setup.outstanding_max != 0) all.push_back({"waited_for_room", r.waited_for_room});
  all.push_back({"offered", r.offered});
  all.push_back({"throughput", r.throughput});
  if (has_grants(transport)) all.push_back({"wasted", r.wasted});
  if (runs_core(transport)) {
    all.push_back({"granted_unused_mean_bytes", r.granted_unused_mean_bytes});
    all.push_back({"granted_unused_most_bytes", r.granted_unused_most_bytes});
  }
  all.push_back({"simulated_ms", r.simulated_ms});
  if (!has_packets(transport)) return all;
  all.push_back({"packets", r.packets});
  all.push_back({"data_packets", r.data_packets});
  if (!runs_core(transport)) all.push_back({"acks", r.acks});
  if (has_grants(transport)) all.push_back({"grants", r.grants});
  if (runs_core(transport)) {
    all.push_back({"resends", r.resends});
    all.push_back({"busies", r.busies});
    all.push_back({"retransmissions", r.retransmissions});
  }
  all.push_back({"trace_hash", fmt::format("{:016x}", r.trace_hash)});
  return all;
}

std::vector<NamedQueue> queues(const Setup& setup, const Results& results) {
  if (!has_packets(setup.options.transport)) return {};
  std::vector<NamedQueue> all = {{"host_downlinks", results.queues[0]}};
  if (setup.topology.core_switches == 0) return all;
  all.push_back({"rack_uplinks", results.queues[1]});
  all.push_back({"rack_downlinks", results.queues[2]});
  return all;
}

std::string to_csv(const Setup& setup, const Results& results) {
  std::string csv;
  for (const Figure& figure : describe(setup)) csv += fmt::format("# {}: {}\n", figure.key, text_of(figure));
  for (const Figure& figure : figures(setup, results)) csv += fmt::format("# {}: {}\n", figure.key, text_of(figure));
  for (const auto& [where, length] : queues(setup, results))
    csv += fmt::format("# {0}_mean_bytes: {1}\n# {0}_most_bytes: {2}\n", where, length.mean_bytes, length.most_bytes);
  csv += "setup,transport,workload,seed,tenth,length_max_bytes,messages,slowdown_p50,slowdown_p99\n";
  const std::array<std::uint32_t, 10> lengths = tenth_lengths(setup.workload);
  const auto row = [&](std::string_view name, std::uint32_t length, const Slowdowns& s) {
    csv += fmt::format("{},{},w{},{},{},{},{},", setup.options.setup, name_of(setup.options.transport), setup.options.workload,
                       setup.options.seed, name, length, s.count());
    csv += s.count() == 0 ? ",\n" : fmt::format("{:.4f},{:.4f}\n", s.quantile(0.5), s.quantile(0.99));
  };
  for (std::size_t i = 0; i < lengths.size(); ++i) row(fmt::format("{}", i + 1), lengths[i], results.tenths[i]);
  row("half", lengths[4], results.shortest_half);
  return csv;
}

}  // namespace godwit::homa::simulation
