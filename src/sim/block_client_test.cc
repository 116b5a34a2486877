#include "sim/block_client.h"

#include <gtest/gtest.h>

#include "sim/host.h"

namespace godwit::sim {
namespace {

// A client on a machine with a disk, and nothing between them.
struct Setting {
  explicit Setting(std::uint64_t seed) : world(seed), fabric(world), host(fabric, "a") {
    auto made = wait_for<std::unique_ptr<store::BlockDevice>>(
        world, [&](auto done) { host.directory().create_device("v", 64 * 4096, std::move(done)); });
    EXPECT_TRUE(made);
    device = std::move(*made);
  }
  std::unique_ptr<BlockClient> make_client(BlockClientOptions options) {
    return std::make_unique<BlockClient>(
        host.scheduler(), world.random().fork(), history, [this] { return device.get(); }, options);
  }
  void check() {
    const auto good = wait_for<std::uint64_t>(world, [&](auto done) { check_all(*device, history, 64, std::move(done)); });
    EXPECT_EQ(good.value_or(0), world.failed() ? good.value_or(0) : 64);
  }

  World world;
  Fabric fabric;
  Host host;
  History history{world, 1, 4096};
  std::unique_ptr<store::BlockDevice> device;
};

TEST(BlockClient, EndsAfterItsOperationsAndADiskIsARegister) {
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Setting run(seed);
    const auto client = run.make_client({.operations = 500});
    client->start();
    ASSERT_TRUE(run.world.run_until([&] { return client->is_finished(); }, Duration::seconds(100))) << run.world.report();
    EXPECT_EQ(client->count_ended(), 500);
    EXPECT_EQ(client->count_failed(), 0);
    EXPECT_GT(run.history.count_writes_acknowledged(), 100);
    run.check();
    EXPECT_EQ(run.world.report(), "");
  }
}

TEST(BlockClient, ADiskKeepsItsPromisesThroughPowerLosses) {
  std::uint64_t torn = 0;
  for (const std::uint64_t seed : scenario_seeds(40)) {
    Setting run(seed);
    for (int round = 0; round < 3; ++round) {
      const auto client = run.make_client({.block_count = 64, .depth = 8});
      client->start();
      run.world.run_for(Duration::milliseconds(static_cast<std::int64_t>(5 + run.world.random().below(50))));
      run.host.crash();
      run.history.power_loss();
      run.host.restart();
      auto opened = wait_for<std::unique_ptr<store::BlockDevice>>(
          run.world, [&](auto done) { run.host.directory().open_device("v", false, std::move(done)); });
      ASSERT_TRUE(opened);
      run.device = std::move(*opened);
      run.check();
      ASSERT_EQ(run.world.report(), "");
    }
    torn += run.history.count_torn();
  }
  EXPECT_GT(torn, 0) << "the seeds tear no block: they test little";
}

TEST(BlockClient, ADiskThatForgetsItsFlushesIsFoundOut) {
  std::uint64_t found = 0;
  const Seeds seeds = scenario_seeds(20);
  for (const std::uint64_t seed : seeds) {
    Setting run(seed);
    const auto client = run.make_client({.block_count = 64, .depth = 8});
    client->start();
    run.world.run_for(Duration::milliseconds(30));
    client->stop();
    ASSERT_TRUE(run.world.run_until([&] { return client->is_idle(); }, Duration::seconds(10)));
    // The history believes in a flush that never reached the disk.
    run.history.end_flush(run.history.begin_flush(), true);
    run.host.crash();
    run.history.power_loss();
    run.host.restart();
    auto opened = wait_for<std::unique_ptr<store::BlockDevice>>(
        run.world, [&](auto done) { run.host.directory().open_device("v", false, std::move(done)); });
    run.device = std::move(*opened);
    run.check();
    found += run.world.failed();
  }
  EXPECT_GT(found, seeds.count / 2);
}

TEST(BlockClient, FailedRequestsAreUnacknowledged) {
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Setting run(seed);
    const auto client = run.make_client({.operations = 300});
    for (std::uint64_t i = 1; i < 10; ++i) run.host.disk().fail_nth(DiskOp::write, i * 7);
    client->start();
    ASSERT_TRUE(run.world.run_until([&] { return client->is_finished(); }, Duration::seconds(100))) << run.world.report();
    EXPECT_GE(client->count_failed(), 9);
    run.check();
    EXPECT_EQ(run.world.report(), "");
  }
}

TEST(BlockClient, WaitsWhereThereIsNoDevice) {
  Setting run(1);
  const std::unique_ptr<store::BlockDevice> device = std::move(run.device);
  const auto client = run.make_client({.operations = 10});
  client->start();
  run.world.run_for(Duration::milliseconds(20));
  EXPECT_EQ(client->count_ended(), 0);
  run.device = wait_for<std::unique_ptr<store::BlockDevice>>(run.world, [&](auto done) {
                 run.host.directory().open_device("v", false, std::move(done));
               }).value();
  EXPECT_TRUE(run.world.run_until([&] { return client->is_finished(); }, Duration::seconds(1)));
}

}  // namespace
}  // namespace godwit::sim
