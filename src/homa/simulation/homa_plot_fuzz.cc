// Any bytes as the table of a run: it is refused, or it can be drawn.
#include "base/check.h"
#include "homa/simulation/plot.h"

using namespace godwit;
using namespace godwit::homa::simulation;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Result<PlottedRun> run = parse_csv({reinterpret_cast<const char*>(data), size});
  if (!run) return 0;
  const PlottedRun runs[] = {*run, PlottedRun{.name = "other", .described = {}, .tenths = run->tenths}};
  for (const PlottedQuantile quantile : {PlottedQuantile::p50, PlottedQuantile::p99}) {
    const std::string svg = to_svg(runs, quantile);
    GODWIT_CHECK(svg.ends_with("</svg>\n") && svg.find("</svg>") == svg.size() - 7);
    GODWIT_CHECK(svg.find("nan") == std::string::npos || !run->described.empty());  // a value may say so
  }
  return 0;
}
