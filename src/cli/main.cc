// The program, with all its groups.
#include <optional>

#include "cli/casync_command.h"
#include "cli/homa_commands.h"
#include "cli/image_commands.h"
#include "cli/program.h"
#include "cli/volume_commands.h"

int main(int argc, char** argv) {
  using namespace godwit::cli;
  if (const std::optional<int> code = run_as_casync(argc, argv)) return *code;
  constexpr AddGroup kGroups[] = {add_volume_commands, add_image_commands, add_homa_commands};
  return run_program(argc, argv, kGroups);
}
