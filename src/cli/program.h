// The program `godwit GROUP VERB`: what all groups have in common, and the exit code.
#pragma once

#include <functional>
#include <span>

#include "cli/command_line.h"
#include "cli/settings.h"

namespace godwit::cli {

// Adds a group of verbs; the verb that is chosen leaves in `command` what is to be run. Both references outlive the program.
using AddGroup = void (*)(Command program, const Settings& settings, std::function<int()>& command);

int run_program(int argc, char** argv, std::span<const AddGroup> groups);

}  // namespace godwit::cli
