// `godwit homa plot`: slowdowns of several simulated runs over each other, from the files of `homa simulate --csv`.
#pragma once

#include <string>
#include <vector>

#include "cli/settings.h"

namespace godwit::cli {

struct HomaPlotOptions {
  std::string svg;
  std::vector<std::string> tables;
  bool median = false;
};

int run_homa_plot(const Settings& settings, const HomaPlotOptions& options);

}  // namespace godwit::cli
