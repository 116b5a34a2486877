// `godwit homa doctor` and `godwit homa tc`: what stands in the way of short latencies, and the commands that remove it.
#pragma once

#include "cli/homa_echo_command.h"

namespace godwit::cli {

struct HomaDoctorOptions {
  HomaLinkOptions link;
  std::string server;  // "": this machine only
};

struct HomaTcOptions {
  std::string interface;
  std::optional<std::uint32_t> mbps;
};

// kFailed when the host does not answer; findings alone are no failure.
int run_homa_doctor(const Settings& settings, const HomaDoctorOptions& options);
int run_homa_tc(const Settings& settings, const HomaTcOptions& options);

}  // namespace godwit::cli
