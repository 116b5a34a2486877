// The program `godwit GROUP VERB`: what all groups have in common, and the exit code.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "cli/command_line.h"
#include "cli/settings.h"

namespace godwit::cli {

// Adds a group of verbs; the verb that is chosen leaves in `command` what is to be run. Both references outlive the program.
using AddGroup = void (*)(Command program, const Settings& settings, std::function<int()>& command);

// Choosing `verb` makes `run(settings, *options)` what is to be run.
template <class Options, class Run>
void set_command(Command verb, const Settings& settings, std::function<int()>& command, std::shared_ptr<Options> options,
                 Run run) {
  verb.when_chosen(
      [options, run, &settings, &command] { command = [options, run, &settings] { return run(settings, *options); }; });
}

int run_program(int argc, char** argv, std::span<const AddGroup> groups);

}  // namespace godwit::cli
