// `godwit homa dump`: the packets of a capture or a hex dump, told one per line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/settings.h"

namespace godwit::cli {

struct HomaDumpOptions {
  std::string file;
  std::optional<std::uint16_t> udp_port;
  bool all = false;
};

int run_homa_dump(const Settings& settings, const HomaDumpOptions& options);

}  // namespace godwit::cli
