#include "homa/simulation/simulation.h"

#include <gtest/gtest.h>

namespace godwit::homa::simulation {
namespace {

Setup setup_of(const Options& options) {
  Result<Setup> setup = make_setup(options);
  EXPECT_TRUE(setup) << setup.error().message();
  return *setup;
}

Options rack(int workload) {
  Options options;
  options.setup = "rack16";
  options.workload = workload;
  return options;
}

TEST(HomaSimulation, OneMessageAloneTakesItsIdealTime) {
  for (const char* name : {"sigcomm18", "rack16"}) {
    Options options;
    options.setup = name;
    const auto setup = setup_of(options);
    for (const std::uint32_t length : {1u, 10'000u, 1'000'000u}) {
      for (const std::uint32_t destination : {1u, setup.topology.hosts() - 1}) {
        SCOPED_TRACE(testing::Message() << name << " " << length << " bytes to host " << destination);
        Simulation simulation(setup);
        const auto taken = static_cast<double>(simulation.run_alone_ns(0, destination, length));
        const bool same_rack = destination < setup.topology.hosts_per_rack;
        const double slowdown = taken / static_cast<double>(ideal_ns(setup, length, same_rack));
        EXPECT_GE(slowdown, 0.999);
        EXPECT_LE(slowdown, 1.05);
      }
    }
  }
}

TEST(HomaSimulation, AnEchoOfAHundredBytesTakesThePublishedTime) {
  Options options;
  options.setup = "atc21";
  Simulation simulation(setup_of(options));
  EXPECT_NEAR(static_cast<double>(simulation.run_alone_ns(0, 1, 100)), 15'100, 100);
}

TEST(HomaSimulation, CutoffsFollowFromTheTrueDistributions) {
  constexpr std::uint32_t kInf = kCutoffInfinite;
  struct Row {
    int workload;
    std::array<std::uint32_t, 7> down_from_7;
  };
  const Row rows[] = {{1, {181, 334, 518, 780, 1210, 2236, kInf}},
                      {2, {301, 427, 853, 3151, kInf, kInf, kInf}},
                      {3, {1084, 5772, 12674, kInf, kInf, kInf, kInf}},
                      {4, {kInf, kInf, kInf, kInf, kInf, kInf, kInf}},
                      {5, {kInf, kInf, kInf, kInf, kInf, kInf, kInf}}};
  for (const Row& row : rows) {
    const auto setup = setup_of(rack(row.workload));
    for (std::size_t i = 0; i < row.down_from_7.size(); ++i)
      EXPECT_EQ(setup.config.cutoffs[7 - i], row.down_from_7[i]) << "W" << row.workload << " level " << 7 - i;
  }
}

TEST(HomaSimulation, WorkloadsHaveTheirPublishedMeans) {
  const double means[] = {189.2, 441.6, 2927.7, 127796.6, 2564689.7};
  for (int i = 1; i <= 5; ++i) EXPECT_NEAR(Workload(i).mean() / means[i - 1], 1, 1e-3) << i;
  Random random(1);
  const Workload workload(3);
  double sum = 0;
  constexpr int kDraws = 1'000'000;
  for (int i = 0; i < kDraws; ++i) sum += std::min(workload.draw(random).length, 100'000u);
  double expected = 0, before = 0;
  for (const WorkloadPoint& point : workload.points()) {
    expected += std::min(point.length, 100'000u) * (point.fraction - before);
    before = point.fraction;
  }
  EXPECT_NEAR(sum / kDraws / expected, 1, 0.02);
}

TEST(HomaSimulation, ASeedRepeatsARunAndAnotherDoesNot) {
  Options options = rack(3);
  options.warmup_ms = 0.2;
  options.end_ms = 1;
  const Results first = simulate(setup_of(options)), second = simulate(setup_of(options));
  EXPECT_EQ(first.trace_hash, second.trace_hash);
  EXPECT_EQ(to_csv(setup_of(options), first), to_csv(setup_of(options), second));
  options.seed = 2;
  EXPECT_NE(simulate(setup_of(options)).trace_hash, first.trace_hash);
}

}  // namespace
}  // namespace godwit::homa::simulation
