// What each of the transport's parts is worth: short runs with and without it. Margins are well within what three to five seeds
// showed; the published figures are bench/run's business.
#include <gtest/gtest.h>

#include "homa/simulation/simulation.h"

namespace godwit::homa::simulation {
namespace {

Options rack(int workload, double load, double warmup_ms, double end_ms) {
  Options options;
  options.setup = "rack16";
  options.workload = workload;
  options.load = load;
  options.warmup_ms = warmup_ms;
  options.end_ms = end_ms;
  return options;
}

Results run(const Options& options) {
  Result<Setup> setup = make_setup(options);
  EXPECT_TRUE(setup) << setup.error().message();
  return simulate(*setup);
}

// 500 to 2600 against 2.1.
TEST(HomaAblation, WithoutSrptShortMessagesWaitForLongOnes) {
  Options options = rack(3, 0.8, 2, 8);
  const Results with = run(options);
  options.srpt = false;
  const Results without = run(options);
  EXPECT_LT(with.shortest_half.quantile(0.99), 3);
  EXPECT_GT(without.shortest_half.quantile(0.99), 20 * with.shortest_half.quantile(0.99));
  EXPECT_GT(without.shortest_half.quantile(0.5), 2 * with.shortest_half.quantile(0.5));
}

// The oldest message's share is taken from all others, from the short ones too: 2.11 becomes 2.59, and the median of the longest
// tenth 1.36 becomes 1.59. It is a price, paid so that no message starves.
TEST(HomaAblation, AShareForTheOldestMessageCostsTheOthers) {
  Options options = rack(3, 0.9, 4, 16);
  options.fifo_permille = 0;
  const Results none = run(options);
  options.fifo_permille = 200;
  const Results fifth = run(options);
  EXPECT_GT(fifth.shortest_half.quantile(0.99), 1.1 * none.shortest_half.quantile(0.99));
  EXPECT_LT(fifth.shortest_half.quantile(0.99), 1.5 * none.shortest_half.quantile(0.99));
  EXPECT_GT(fifth.tenths[9].quantile(0.5), 1.08 * none.tenths[9].quantile(0.5));
  EXPECT_LT(fifth.tenths[9].quantile(0.5), 1.5 * none.tenths[9].quantile(0.5));
}

// 12 to 17 % of the throughput, and links that idle in 22 to 25 % of the samples while others wait for grants.
TEST(HomaAblation, GrantingOneSenderAtATimeLeavesLinksIdle) {
  Options options = rack(4, 1.1, 10, 30);
  options.overcommit = 7;
  const Results seven = run(options);
  options.overcommit = 1;
  const Results one = run(options);
  EXPECT_LT(one.throughput, 0.94 * seven.throughput);
  EXPECT_GT(one.wasted, 0.1);
  EXPECT_LT(seven.wasted, 0.01);
  // Every sender that is granted has about rtt_bytes under way; the unscheduled bytes of others come on top.
  const double rtt_bytes = make_setup(options)->config.rtt_bytes;
  EXPECT_GT(one.granted_unused_mean_bytes, rtt_bytes / 2);
  EXPECT_GT(seven.granted_unused_mean_bytes, 1.5 * one.granted_unused_mean_bytes);
  EXPECT_GE(static_cast<double>(one.granted_unused_most_bytes), one.granted_unused_mean_bytes);
}

// 2.5 against 1.9: up to 2 us in the sender's own queue.
TEST(HomaAblation, TheSendersQueueOfProductionDelaysShortMessages) {
  Options options = rack(3, 0.8, 0.2, 0.6);
  options.setup = "sigcomm18";
  const double published = run(options).shortest_half.quantile(0.99);
  options.setup = "sigcomm18-host";
  const double production = run(options).shortest_half.quantile(0.99);
  EXPECT_GT(production, 1.15 * published);
  EXPECT_LT(production, 3);
}

}  // namespace
}  // namespace godwit::homa::simulation
