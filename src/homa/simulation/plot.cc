#include "homa/simulation/plot.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/check.h"

namespace godwit::homa::simulation {

namespace {

constexpr double kLeft = 70, kRight = 780, kTop = 50, kBottom = 430, kLegendTop = 496, kLegendLine = 18;
constexpr std::array<std::string_view, 8> kColours = {"#c33", "#36c", "#393", "#e80", "#839", "#088", "#855", "#555"};
// What a run may differ in, in the order of the legend. Those that are the same for all and among the first five are the title.
constexpr std::array<std::string_view, 11> kDescribed = {"setup",         "transport",  "workload",       "seed",
                                                         "load",          "priorities", "overcommitment", "srpt",
                                                         "fifo_permille", "warmup_ms",  "end_ms"};
constexpr std::size_t kTitleKeys = 5;
constexpr std::size_t kValueSizeMax = 64;
constexpr double kSlowdownMax = 1e12;

using Curve = std::array<std::optional<double>, 10>;
using Lengths = std::array<std::uint32_t, 10>;

// The slowdown axis is logarithmic, from 1 to `most`.
double y_of(double slowdown, double most) {
  return kBottom - (kBottom - kTop) * std::log(std::max(1.0, slowdown)) / std::log(most);
}
double x_of(std::size_t tenth) {
  return kLeft + (kRight - kLeft) * (static_cast<double>(tenth) + 0.5) / 10;
}

std::string xml_text(std::string_view text) {
  std::string xml;
  for (const char c : escaped(text)) switch (c) {
      case '&': xml += "&amp;"; break;
      case '<': xml += "&lt;"; break;
      case '>': xml += "&gt;"; break;
      case '"': xml += "&quot;"; break;
      default: xml += c;
    }
  return xml;
}

double top_of(std::span<const Curve> curves) {
  double most = 10;
  for (const Curve& curve : curves)
    for (const std::optional<double>& value : curve) most = std::max(most, value.value_or(0) * 1.1);
  return most;
}

std::string begin_svg(double height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {0}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"800\" height=\"{0}\" fill=\"white\"/>\n",
      height);
}

std::string draw(const Curve& curve, double most, std::string_view colour, std::string_view style) {
  std::string points, dots;
  for (std::size_t i = 0; i < curve.size(); ++i) {
    if (!curve[i]) continue;
    const double y = y_of(*curve[i], most);
    points += fmt::format("{:.1f},{:.1f} ", x_of(i), y);
    dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x_of(i), y, colour);
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>\n{}", points, colour, style,
                     dots);
}

// Without lengths the tenths are numbered.
std::string axes(const std::optional<Lengths>& lengths, double most) {
  std::string svg;
  for (double value = 1; value <= most; value *= 10)
    for (const double step : {1.0, 2.0, 5.0}) {
      if (value * step > most) continue;
      const double y = y_of(value * step, most);
      svg += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", kLeft, kRight, y, y);
      svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n", kLeft - 8, y + 4, value * step);
    }
  for (std::size_t i = 0; i < 10; ++i)
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x_of(i), kBottom + 18,
                       lengths ? (*lengths)[i] : i + 1);
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (kLeft + kRight) / 2, kBottom + 42,
                     lengths ? "message length (bytes, longest of each tenth of the messages)"
                             : "tenth of the messages by length, shortest first");
  return svg;
}

std::string value_of(const PlottedRun& run, std::string_view key) {
  const auto found =
      std::find_if(run.described.begin(), run.described.end(), [&](const auto& pair) { return pair.first == key; });
  return found == run.described.end() ? std::string() : found->second;
}

bool is_common(std::span<const PlottedRun> runs, std::string_view key) {
  return std::all_of(runs.begin(), runs.end(),
                     [&](const PlottedRun& run) { return value_of(run, key) == value_of(runs[0], key); });
}

std::string joined(const PlottedRun& run, std::span<const std::string_view> keys) {
  std::string text;
  for (const std::string_view key : keys) {
    const std::string value = value_of(run, key);
    if (!value.empty()) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", key, value);
  }
  return text;
}

// What tells a run from the others; its name too where that is not enough.
std::vector<std::string> labels_of(std::span<const PlottedRun> runs) {
  std::vector<std::string_view> differing;
  for (const std::string_view key : kDescribed)
    if (!is_common(runs, key)) differing.push_back(key);
  std::vector<std::string> labels;
  for (const PlottedRun& run : runs) labels.push_back(joined(run, differing));
  std::vector<std::string> full = labels;
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (labels[i].empty() || std::count(labels.begin(), labels.end(), labels[i]) > 1)
      full[i] += (full[i].empty() ? "" : ", ") + runs[i].name;
  return full;
}

std::string title_of(std::span<const PlottedRun> runs) {
  std::vector<std::string_view> common;
  for (std::size_t i = 0; i < kTitleKeys; ++i)
    if (is_common(runs, kDescribed[i])) common.push_back(kDescribed[i]);
  return joined(runs[0], common);
}

std::optional<Lengths> common_lengths(std::span<const PlottedRun> runs) {
  const auto lengths_of = [](const PlottedRun& run) {
    Lengths lengths{};
    for (std::size_t i = 0; i < lengths.size(); ++i) lengths[i] = run.tenths[i].length_max;
    return lengths;
  };
  const Lengths first = lengths_of(runs[0]);
  const bool same = std::all_of(runs.begin(), runs.end(), [&](const PlottedRun& run) { return lengths_of(run) == first; });
  return same ? std::optional(first) : std::nullopt;
}

}  // namespace

std::string to_svg(const Setup& setup, const Results& results) {
  std::array<Curve, 2> curves;
  for (std::size_t i = 0; i < results.tenths.size(); ++i) {
    if (results.tenths[i].count() == 0) continue;
    curves[0][i] = results.tenths[i].quantile(0.99);
    curves[1][i] = results.tenths[i].quantile(0.5);
  }
  const double most = top_of(curves);
  std::string svg = begin_svg(490);
  svg += fmt::format(
      "<text x=\"{}\" y=\"24\" font-size=\"15\">{} {} w{}, load {}, seed {}: slowdown, "
      "<tspan fill=\"{}\">p99</tspan> and <tspan fill=\"{}\">p50</tspan></text>\n",
      kLeft, setup.options.setup, name_of(setup.options.transport), setup.options.workload, setup.load, setup.options.seed,
      kColours[0], kColours[1]);
  svg +=
      axes(tenth_lengths(setup.workload), most) + draw(curves[0], most, kColours[0], "") + draw(curves[1], most, kColours[1], "");
  return svg + "</svg>\n";
}

std::string to_svg(std::span<const PlottedRun> runs, PlottedQuantile quantile) {
  GODWIT_CHECK(!runs.empty() && runs.size() <= kPlottedRunsMax);
  std::vector<Curve> curves(runs.size());
  for (std::size_t run = 0; run < runs.size(); ++run)
    for (std::size_t i = 0; i < curves[run].size(); ++i)
      curves[run][i] = quantile == PlottedQuantile::p50 ? runs[run].tenths[i].p50 : runs[run].tenths[i].p99;
  const double most = top_of(curves);
  std::string svg = begin_svg(kLegendTop + kLegendLine * static_cast<double>(runs.size()));
  svg += fmt::format("<text x=\"{}\" y=\"24\" font-size=\"15\">{} slowdown: {}</text>\n", kLeft,
                     quantile == PlottedQuantile::p50 ? "p50" : "p99", xml_text(title_of(runs)));
  svg += axes(common_lengths(runs), most);
  const std::vector<std::string> labels = labels_of(runs);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::string_view colour = kColours[i % kColours.size()];
    const std::string_view style = i < kColours.size() ? "" : " stroke-dasharray=\"6 4\"";
    const double y = kLegendTop + kLegendLine * static_cast<double>(i);
    svg += draw(curves[i], most, colour, style);
    svg += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" stroke=\"{}\" stroke-width=\"2\"{}/>\n", kLeft, kLeft + 30,
                       y - 4, y - 4, colour, style);
    svg += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", kLeft + 40, y, xml_text(labels[i]));
  }
  return svg + "</svg>\n";
}

namespace {

template <class T>
std::optional<T> number_of(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  while (true) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

void read_comment(std::string_view line, PlottedRun& run) {
  line.remove_prefix(std::min(line.find_first_not_of("# "), line.size()));
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos) return;
  const std::string_view key = line.substr(0, colon), value = line.substr(colon + 2);
  if (std::find(kDescribed.begin(), kDescribed.end(), key) == kDescribed.end() || !value_of(run, key).empty()) return;
  run.described.emplace_back(key, value.substr(0, kValueSizeMax));
}

// Which columns hold what.
struct Columns {
  std::size_t tenth = 0, length = 0, p50 = 0, p99 = 0, count = 0;
};

Result<Columns> read_head(std::string_view line) {
  const std::vector<std::string_view> cells = cells_of(line);
  Columns columns{.count = cells.size()};
  for (const auto& [name, column] : {std::pair("tenth", &columns.tenth), std::pair("length_max_bytes", &columns.length),
                                     std::pair("slowdown_p50", &columns.p50), std::pair("slowdown_p99", &columns.p99)}) {
    *column = static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
    if (*column == cells.size())
      return fail(ErrorKind::invalid,
                  fmt::format("no column is called {}: this is not what `godwit homa simulate --csv` wrote", name));
  }
  return columns;
}

// An empty cell: nothing was measured.
Result<std::optional<double>> read_slowdown(std::string_view cell) {
  if (cell.empty()) return std::optional<double>();
  const std::optional<double> value = number_of<double>(cell);
  if (!value || !(*value >= 0 && *value <= kSlowdownMax))
    return fail(ErrorKind::invalid, fmt::format("'{}' is not a slowdown", escaped(cell.substr(0, kValueSizeMax))));
  return value;
}

Result<void> read_row(std::string_view line, const Columns& columns, PlottedRun& run) {
  const std::vector<std::string_view> cells = cells_of(line);
  if (cells.size() != columns.count)
    return fail(ErrorKind::invalid, fmt::format("{} cells, where the head has {}", cells.size(), columns.count));
  if (cells[columns.tenth] == "half") return {};
  const std::optional<std::uint32_t> tenth = number_of<std::uint32_t>(cells[columns.tenth]);
  const std::optional<std::uint32_t> length = number_of<std::uint32_t>(cells[columns.length]);
  if (!tenth || *tenth < 1 || *tenth > run.tenths.size() || !length || *length == 0)
    return fail(ErrorKind::invalid, "the tenth must be 1 to 10 or half, its length a number above 0");
  PlottedRun::Tenth& into = run.tenths[*tenth - 1];
  if (into.length_max != 0) return fail(ErrorKind::invalid, fmt::format("tenth {} a second time: one run a file", *tenth));
  Result<std::optional<double>> p50 = read_slowdown(cells[columns.p50]), p99 = read_slowdown(cells[columns.p99]);
  if (!p50) return fail(std::move(p50).error());
  if (!p99) return fail(std::move(p99).error());
  into = {*length, *p50, *p99};
  return {};
}

}  // namespace

Result<PlottedRun> parse_csv(std::string_view csv) {
  PlottedRun run;
  std::optional<Columns> columns;
  for (std::size_t number = 1; !csv.empty(); ++number) {
    const std::size_t end = csv.find('\n');
    std::string_view line = csv.substr(0, end);
    csv.remove_prefix(end == std::string_view::npos ? csv.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (line.front() == '#') {
      read_comment(line, run);
    } else if (!columns) {
      Result<Columns> head = read_head(line);
      if (!head) return fail(std::move(head).error().within(fmt::format("line {}", number)));
      columns = *head;
    } else if (Result<void> row = read_row(line, *columns, run); !row) {
      return fail(std::move(row).error().within(fmt::format("line {}", number)));
    }
  }
  for (std::size_t i = 0; i < run.tenths.size(); ++i)
    if (run.tenths[i].length_max == 0)
      return fail(ErrorKind::invalid, fmt::format("no line for tenth {}: the table is not whole", i + 1));
  return run;
}

}  // namespace godwit::homa::simulation
