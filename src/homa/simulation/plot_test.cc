#include "homa/simulation/plot.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "homa/simulation/simulation.h"

namespace godwit::homa::simulation {
namespace {

std::string table_of(std::uint8_t priorities) {
  Options options;
  options.setup = "rack16";
  options.workload = 3;
  options.priorities = priorities;
  options.warmup_ms = 0.2;
  options.end_ms = 0.6;
  const Result<Setup> setup = make_setup(options);
  EXPECT_TRUE(setup);
  return to_csv(*setup, simulate(*setup));
}

PlottedRun run_of(const std::string& csv, const std::string& name) {
  Result<PlottedRun> run = parse_csv(csv);
  EXPECT_TRUE(run) << run.error().message();
  run->name = name;
  return *run;
}

std::size_t count(std::string_view text, std::string_view word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

TEST(HomaPlot, ATableIsReadAsItWasWritten) {
  const PlottedRun run = run_of(table_of(4), "");
  const auto has = [&](const char* key, const char* value) {
    return std::find(run.described.begin(), run.described.end(), std::pair<std::string, std::string>(key, value)) !=
           run.described.end();
  };
  EXPECT_EQ(run.described.size(), 11u);
  EXPECT_TRUE(has("setup", "rack16") && has("workload", "w3") && has("priorities", "4") && has("end_ms", "0.6"));
  EXPECT_EQ(run.tenths[9].length_max, 15'158'197u);
  for (const PlottedRun::Tenth& tenth : run.tenths) EXPECT_TRUE(tenth.p50 && tenth.p99 && *tenth.p50 <= *tenth.p99);
}

TEST(HomaPlot, EachRunHasACurveAndWhatItDiffersIn) {
  const PlottedRun runs[] = {run_of(table_of(8), "a.csv"), run_of(table_of(1), "b.csv")};
  const std::string svg = to_svg(runs, PlottedQuantile::p99);
  EXPECT_EQ(count(svg, "<polyline "), 2u);
  EXPECT_EQ(count(svg, ">priorities 8</text>"), 1u);
  EXPECT_EQ(count(svg, ">priorities 1</text>"), 1u);
  EXPECT_EQ(count(svg, "p99 slowdown: setup rack16, transport homa, workload w3, seed 1, load 0.8<"), 1u);
  EXPECT_EQ(count(svg, "a.csv"), 0u);
  EXPECT_NE(svg, to_svg(runs, PlottedQuantile::p50));
}

TEST(HomaPlot, RunsThatDifferInNothingAreToldByTheirNamesAndMarkupInThemIsText) {
  PlottedRun runs[] = {run_of(table_of(8), "<script>&\"\n"), run_of(table_of(8), "b.csv")};
  const std::string svg = to_svg(runs, PlottedQuantile::p99);
  EXPECT_EQ(svg.find("<script>"), std::string::npos);
  EXPECT_EQ(count(svg, ">&lt;script&gt;&amp;&quot;\\x0a</text>"), 1u) << svg;
  EXPECT_EQ(count(svg, ">b.csv</text>"), 1u);
  runs[1].described[0].second = "</svg>";
  EXPECT_EQ(count(to_svg(runs, PlottedQuantile::p99), "</svg>"), 1u);
}

TEST(HomaPlot, WhereNothingWasMeasuredTheCurveHasNoPoint) {
  PlottedRun run = run_of(table_of(8), "a");
  run.tenths[3].p99.reset();
  EXPECT_EQ(count(to_svg({&run, 1}, PlottedQuantile::p99), "<circle "), 9u);
  EXPECT_EQ(count(to_svg({&run, 1}, PlottedQuantile::p50), "<circle "), 10u);
}

TEST(HomaPlot, WithDifferentLengthsTheTenthsAreNumbered) {
  PlottedRun runs[] = {run_of(table_of(8), "a"), run_of(table_of(8), "b")};
  runs[1].tenths[9].length_max = 7;
  const std::string svg = to_svg(runs, PlottedQuantile::p99);
  EXPECT_EQ(count(svg, "15158197"), 0u);
  EXPECT_EQ(count(svg, "tenth of the messages by length"), 1u);
}

TEST(HomaPlot, WhatIsNoTableOfARunIsRefused) {
  const std::string head = "tenth,length_max_bytes,slowdown_p50,slowdown_p99\n";
  std::string rows;
  for (int i = 1; i <= 10; ++i) rows += std::to_string(i) + ",100,1.5,2\n";
  EXPECT_TRUE(parse_csv(head + rows + "half,100,1,1\r\n\n# more: 1"));
  struct Row {
    const char* name;
    std::string csv;
    const char* message;
  };
  const Row table[] = {
      {"nothing", "", "no line for tenth 1"},
      {"another table", "a,b\n1,2\n", "line 1: no column is called tenth"},
      {"one tenth missing", head + rows.substr(0, rows.find("10,")), "no line for tenth 10"},
      {"two runs", head + rows + rows, "line 12: tenth 1 a second time"},
      {"a cell too few", head + "1,100,1.5\n", "line 2: 3 cells, where the head has 4"},
      {"a tenth too many", head + "11,100,1,1\n", "line 2: the tenth must be"},
      {"no length", head + "1,0,1,1\n", "line 2: the tenth must be"},
      {"words", head + "1,100,fast,1\n", "'fast' is not a slowdown"},
      {"not a number", head + "1,100,nan,1\n", "'nan' is not a slowdown"},
      {"infinite", head + "1,100,1,inf\n", "'inf' is not a slowdown"},
      {"negative", head + "1,100,1,-1\n", "'-1' is not a slowdown"},
  };
  for (const Row& row : table) {
    const Result<PlottedRun> run = parse_csv(row.csv);
    ASSERT_FALSE(run) << row.name;
    EXPECT_EQ(run.error().kind(), ErrorKind::invalid) << row.name;
    EXPECT_NE(run.error().message().find(row.message), std::string::npos) << row.name << ": " << run.error().message();
  }
}

}  // namespace
}  // namespace godwit::homa::simulation
