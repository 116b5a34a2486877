// This program under the name `casync`: casync's own command line, so that scripts go on and a casync elsewhere finds its remote
// end. Source: casync.md 1, 2.1, 7.
#pragma once

#include <optional>

namespace godwit::cli {

// When the program was invoked as `casync`: its exit code, 0 or 1 as casync has them.
std::optional<int> run_as_casync(int argc, char** argv);

}  // namespace godwit::cli
