// Slowdown over message length as the publications draw it: from one run's results, or from the tables of several runs drawn over
// each other.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "homa/simulation/results.h"

namespace godwit::homa::simulation {

// One run as a plot needs it.
struct PlottedRun {
  std::string name;                                            // for when nothing else tells it from another
  std::vector<std::pair<std::string, std::string>> described;  // what was simulated: keys and values of describe()
  struct Tenth {
    std::uint32_t length_max = 0;
    std::optional<double> p50, p99;  // none: no message was measured
  };
  std::array<Tenth, 10> tenths;
};

constexpr std::size_t kPlottedRunsMax = 16;

// Reads what to_csv() wrote, from whatever wrote it; columns may stand in any order. invalid, with the line.
Result<PlottedRun> parse_csv(std::string_view csv);

// p50 and p99 of one run.
std::string to_svg(const Setup& setup, const Results& results);
// One curve for each of at most kPlottedRunsMax runs, with a legend that says in what they differ.
enum class PlottedQuantile : std::uint8_t { p50, p99 };
std::string to_svg(std::span<const PlottedRun> runs, PlottedQuantile quantile);

}  // namespace godwit::homa::simulation
