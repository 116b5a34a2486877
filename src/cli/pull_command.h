// `godwit volume pull`: fetches volumes from another host, while they are written there, and stays as their host.
#pragma once

#include "cli/serve_command.h"

namespace godwit::cli {

struct PullOptions {
  ListenOptions listen;
  std::string from;
  std::vector<std::string> names;
  std::string rename_to;
  std::string into;
  bool memory = false;
  std::string base;
  std::string device;
  std::string take = "completed";
  bool post_copy = false;
  double wait_seconds = 30;
};

int run_pull(const Settings& settings, const PullOptions& options);

}  // namespace godwit::cli
