// `godwit homa ping` and `godwit homa bench`: what calls to an echo server take.
#pragma once

#include "cli/homa_echo_command.h"

namespace godwit::cli {

struct HomaPingOptions {
  HomaLinkOptions link;
  std::string server;
  std::uint32_t size = 100;
  std::uint32_t count = 10;
  double interval_ms = 0;
  double deadline_ms = 1000;
};

struct HomaBenchOptions {
  HomaLinkOptions link;
  std::string server;  // "": ourselves
  std::optional<std::uint32_t> size;
  std::uint32_t outstanding = 1;
  double seconds = 1;
};

int run_homa_ping(const Settings& settings, const HomaPingOptions& options);
int run_homa_bench(const Settings& settings, const HomaBenchOptions& options);

}  // namespace godwit::cli
