#include "cli/homa_plot_command.h"

#include <cerrno>
#include <fstream>

#include <fmt/format.h>

#include "base/bytes.h"
#include "cli/console.h"
#include "homa/simulation/plot.h"

namespace godwit::cli {

namespace sim = homa::simulation;

namespace {

// A table has some 3 kB.
constexpr std::size_t kTableBytesMax = 1 << 20;

Result<sim::PlottedRun> read_run(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Error::from_errno(errno, "open " + path));
  std::string text(kTableBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return fail(ErrorKind::io, path + ": can not be read");
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kTableBytesMax)
    return fail(ErrorKind::limit, fmt::format("{}: more than {} bytes, so it is no table of a run", path, kTableBytesMax));
  Result<sim::PlottedRun> run = sim::parse_csv(text);
  if (!run) return fail(std::move(run).error().within(path));
  run->name = path.substr(path.rfind('/') + 1);
  return run;
}

Result<void> plot(const HomaPlotOptions& options) {
  if (!options.svg.ends_with(".svg"))
    return fail(ErrorKind::usage,
                fmt::format("{}: the first operand is what to draw, and must end in .svg", escaped(options.svg)));
  if (options.tables.size() > sim::kPlottedRunsMax)
    return fail(ErrorKind::usage, fmt::format("{} runs: a plot has at most {}", options.tables.size(), sim::kPlottedRunsMax));
  std::vector<sim::PlottedRun> runs;
  for (const std::string& path : options.tables) {
    Result<sim::PlottedRun> run = read_run(path);
    if (!run) return fail(std::move(run).error());
    runs.push_back(*std::move(run));
  }
  const std::string svg = sim::to_svg(runs, options.median ? sim::PlottedQuantile::p50 : sim::PlottedQuantile::p99);
  std::ofstream file(options.svg, std::ios::binary | std::ios::trunc);
  file << svg;
  file.close();
  if (!file) return fail(ErrorKind::io, options.svg + ": can not be written");
  return {};
}

}  // namespace

int run_homa_plot(const Settings& settings, const HomaPlotOptions& options) {
  Console console(settings.json);
  if (Result<void> done = plot(options); !done) return console.error(done.error());
  console.line(fmt::format("{}: {} of {} runs", options.svg, options.median ? "p50" : "p99", options.tables.size()));
  console.event({{"event", "plotted"}, {"file", options.svg}, {"runs", options.tables.size()}});
  return kDone;
}

}  // namespace godwit::cli
