// The command line of `godwit volume …`: what may be said, and which function it becomes.
#pragma once

#include <functional>

#include "cli/command_line.h"
#include "cli/settings.h"

namespace godwit::cli {

// Adds the group; the verb that is chosen leaves in `command` what is to be run. Both outlive the app.
void add_volume_commands(Command app, const Settings& settings, std::function<int()>& command);

}  // namespace godwit::cli
