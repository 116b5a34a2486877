#include "homa/simulation/results.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace godwit::homa::simulation {

double Slowdowns::quantile(double q) const {
  if (values_.empty()) return 0;
  const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(q * static_cast<double>(values_.size()) - 1e-9)));
  const auto at = values_.begin() + static_cast<std::ptrdiff_t>(rank - 1);
  std::nth_element(values_.begin(), at, values_.end());
  return *at;
}

std::array<std::uint32_t, 10> tenth_lengths(const Workload& workload) {
  std::array<std::uint32_t, 10> longest{};
  std::size_t tenth = 0;
  for (const WorkloadPoint& point : workload.points())
    for (; tenth < longest.size() && point.fraction >= static_cast<double>(tenth + 1) / 10 - 1e-12; ++tenth)
      longest[tenth] = point.length;
  while (tenth < longest.size()) longest[tenth++] = workload.points().back().length;
  return longest;
}

std::string to_csv(const Setup& setup, const Results& results) {
  std::string csv = "setup,transport,workload,seed,tenth,length_max_bytes,messages,slowdown_p50,slowdown_p99\n";
  const std::array<std::uint32_t, 10> lengths = tenth_lengths(setup.workload);
  const std::string head = fmt::format("{},{},w{},{}", setup.options.setup, name_of(setup.options.transport),
                                       setup.options.workload, setup.options.seed);
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const Slowdowns& tenth = results.tenths[i];
    csv += fmt::format("{},{},{},{},{:.4f},{:.4f}\n", head, i + 1, lengths[i], tenth.count(), tenth.quantile(0.5),
                       tenth.quantile(0.99));
  }
  const Slowdowns& half = results.shortest_half;
  return csv +
         fmt::format("{},half,{},{},{:.4f},{:.4f}\n", head, lengths[4], half.count(), half.quantile(0.5), half.quantile(0.99));
}

namespace {

constexpr double kLeft = 70, kRight = 780, kTop = 50, kBottom = 430;

// The slowdown axis is logarithmic, from 1 to `most`.
double y_of(double slowdown, double most) {
  return kBottom - (kBottom - kTop) * std::log(std::max(1.0, slowdown)) / std::log(most);
}
double x_of(std::size_t tenth) {
  return kLeft + (kRight - kLeft) * (static_cast<double>(tenth) + 0.5) / 10;
}

std::string curve(const Results& results, double q, double most, const char* colour) {
  std::string points, dots;
  for (std::size_t i = 0; i < results.tenths.size(); ++i) {
    if (results.tenths[i].count() == 0) continue;
    const double y = y_of(results.tenths[i].quantile(q), most);
    points += fmt::format("{:.1f},{:.1f} ", x_of(i), y);
    dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x_of(i), y, colour);
  }
  return fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n{}", points, colour, dots);
}

std::string axes(const Setup& setup, double most) {
  std::string svg;
  for (double value = 1; value <= most; value *= 10)
    for (const double step : {1.0, 2.0, 5.0}) {
      if (value * step > most) continue;
      const double y = y_of(value * step, most);
      svg += fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", kLeft, kRight, y, y);
      svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n", kLeft - 8, y + 4, value * step);
    }
  const std::array<std::uint32_t, 10> lengths = tenth_lengths(setup.workload);
  for (std::size_t i = 0; i < lengths.size(); ++i)
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", x_of(i), kBottom + 18, lengths[i]);
  svg += fmt::format(
      "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">message length (bytes, longest of each tenth of the "
      "messages)</text>\n",
      (kLeft + kRight) / 2, kBottom + 42);
  return svg;
}

}  // namespace

std::string to_svg(const Setup& setup, const Results& results) {
  double most = 10;
  for (const Slowdowns& tenth : results.tenths) most = std::max(most, tenth.quantile(0.99) * 1.1);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 490\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"800\" height=\"490\" fill=\"white\"/>\n";
  svg += fmt::format(
      "<text x=\"{}\" y=\"24\" font-size=\"15\">{} {} w{}, seed {}: slowdown, "
      "<tspan fill=\"#c33\">p99</tspan> and <tspan fill=\"#36c\">p50</tspan></text>\n",
      kLeft, setup.options.setup, name_of(setup.options.transport), setup.options.workload, setup.options.seed);
  svg += axes(setup, most) + curve(results, 0.99, most, "#c33") + curve(results, 0.5, most, "#36c");
  return svg + "</svg>\n";
}

}  // namespace godwit::homa::simulation
