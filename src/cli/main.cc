// The program. Everything it does is in program.h.
#include "cli/program.h"

int main(int argc, char** argv) {
  return godwit::cli::run_program(argc, argv);
}
