// The command line of `godwit image …`.
#pragma once

#include <functional>

#include "cli/host_run.h"

namespace CLI {
class App;
}

namespace godwit::cli {

void add_image_commands(CLI::App& app, const Settings& settings, std::function<int()>& command);

}  // namespace godwit::cli
