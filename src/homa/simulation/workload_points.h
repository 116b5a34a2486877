// The five message-length distributions that Homa's publications measured with, as numbers: W1 a key-value store, W2 a search
// application, W3 all applications of a data centre, W4 Hadoop, W5 web search. Source: homa.md 13; the tables are public data, as
// in testdata/homa-workloads.json.
#pragma once

#include <cstdint>
#include <span>

namespace godwit::homa::simulation {

// A message has this length or less with this probability.
struct WorkloadPoint {
  std::uint32_t length;
  double fraction;
};

// 1 to 5; empty for another number.
std::span<const WorkloadPoint> workload_points(int workload);

}  // namespace godwit::homa::simulation
