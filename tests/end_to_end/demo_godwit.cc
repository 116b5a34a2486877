// The program with the verbs for volumes alone: all that the demo uses, and half as long to build.
#include "cli/program.h"
#include "cli/volume_commands.h"

int main(int argc, char** argv) {
  constexpr godwit::cli::AddGroup kGroups[] = {godwit::cli::add_volume_commands};
  return godwit::cli::run_program(argc, argv, kGroups);
}
