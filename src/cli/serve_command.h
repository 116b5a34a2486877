// `godwit volume serve`: a host that offers volumes to whoever pulls, and to NBD clients, until it is told to end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/host_run.h"

namespace godwit::cli {

// What serve and pull have in common.
struct ListenOptions {
  std::string listen;  // "": 127.0.0.1:5170; "none"
  std::vector<std::string> nbd;
  std::string metrics;
  bool insecure = false;
  std::string block_size = "64KiB";
  std::string form = "raw";
  std::uint32_t rounds = 16;
  std::uint64_t dirty_threshold_blocks = 256;
  double max_downtime_seconds = 2;
  std::string hand_over = "none";
  std::string after_handover = "relay";
  bool early_reads = true;
  std::string blocks;
  bool once = false;
  std::vector<std::string> trust_hosts;
  // Which of these were said, by their names on the command line or in the configuration.
  std::vector<std::string> given;

  Result<host::ProcessOptions> process_options() const;
  // Where another process runs on the data directory and would have to do what `given` says: why it does not.
  std::optional<Error> objection_of_running_process(const std::string& data) const;
};

struct ServeOptions {
  ListenOptions listen;
  std::vector<std::string> files;
  std::vector<std::string> memory;  // NAME=SIZE
  std::string base;                 // of files that are overlays
  std::string config;
};

int run_serve(const Settings& settings, ServeOptions options);

// "serving disk (1.0 GiB) …": the line scripts wait for, and its event.
void say_ready(Console& console, HostRun& run, std::string_view verb);

}  // namespace godwit::cli
