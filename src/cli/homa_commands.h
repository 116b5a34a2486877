// The command line of `godwit homa …`: what may be said, and which function it becomes.
#pragma once

#include <functional>

#include "cli/host_run.h"

namespace CLI {
class App;
}

namespace godwit::cli {

// Adds the group; the verb that is chosen leaves in `command` what is to be run. Both outlive the app.
void add_homa_commands(CLI::App& app, const Settings& settings, std::function<int()>& command);

}  // namespace godwit::cli
