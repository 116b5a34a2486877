// The ideal: no packets, no wires but the downlinks; each gives its whole rate to the message with the fewest bytes left. A bound
// that no transport can beat by much, for comparison. Source: homa.md 13, "Baselines".
#pragma once

#include "homa/simulation/results.h"
#include "homa/simulation/setup.h"

namespace godwit::homa::simulation {

Results run_oracle(const Setup& setup);

}  // namespace godwit::homa::simulation
