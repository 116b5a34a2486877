// `godwit homa simulate`: the transport's core in a simulated network, measured as its publications did.
#pragma once

#include <optional>
#include <string>

#include "cli/settings.h"

namespace godwit::cli {

struct HomaSimulateOptions {
  std::string setup = "sigcomm18";
  std::string workload = "w3";
  std::string transport = "homa";
  std::uint64_t seed = 1;
  std::optional<double> load;
  std::uint32_t priorities = 8;
  std::optional<std::uint32_t> overcommit;
  bool no_srpt = false;
  std::optional<std::uint32_t> fifo_permille;
  std::optional<double> warmup_ms, end_ms;
  std::string csv;
  std::string svg;
};

int run_homa_simulate(const Settings& settings, const HomaSimulateOptions& options);

}  // namespace godwit::cli
