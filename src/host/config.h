// The configuration file of a host: TOML that names its volumes and where it listens. docs/guide/volumes.toml is an example.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host/volume_places.h"

namespace godwit::host {

// What is not in the file stays empty: the command line decides, then the defaults.
struct Config {
  std::string listen;
  std::vector<std::string> nbd;
  std::string metrics;
  bool insecure = false;
  std::vector<VolumeRequest> volumes;
};

// `folder` is what relative paths start from, `name` what errors call the text. Every key is known or an error, with its line.
Result<Config> parse_config(std::string_view text, const std::string& folder, const std::string& name);
Result<Config> read_config(const std::string& path);

}  // namespace godwit::host
