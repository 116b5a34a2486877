// The command line of those verbs of `godwit homa …` that use a network: echo, ping, bench, doctor; and of tc and dump, which
// tell about one.
#pragma once

#include <functional>

#include "cli/command_line.h"
#include "cli/settings.h"

namespace godwit::cli {

// Adds the verbs to the group; the one that is chosen leaves in `command` what is to be run.
void add_homa_network_commands(Command group, const Settings& settings, std::function<int()>& command);

}  // namespace godwit::cli
