// The program `godwit GROUP VERB`: what all groups have in common, and the exit code.
#pragma once

namespace godwit::cli {

int run_program(int argc, char** argv);

}  // namespace godwit::cli
