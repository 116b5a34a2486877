#include "sim/world.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace godwit::sim {
namespace {

TEST(World, EventsRunByTimeAndThenInTheOrderOfAsking) {
  World world(1);
  std::vector<int> order;
  world.schedule(Duration::microseconds(2), [&] { order.push_back(3); });
  world.schedule(Duration::microseconds(1), [&] { order.push_back(1); });
  world.schedule(Duration::microseconds(1), [&] { order.push_back(2); });
  world.run_for(Duration::milliseconds(1));
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
  EXPECT_EQ(world.now(), Instant{1'000'000});
}

TEST(World, ACancelledTaskDoesNotRunAndItsTimerIsNotAnotherOnes) {
  World world(1);
  int runs = 0;
  const net::TimerId first = world.schedule(Duration::microseconds(1), [&] { runs += 1; });
  world.cancel(first);
  world.schedule(Duration::microseconds(1), [&] { runs += 10; });
  world.cancel(first);
  world.cancel({});
  world.run_for(Duration::milliseconds(1));
  EXPECT_EQ(runs, 10);
}

TEST(World, RunUntilStopsAtTheConditionAtTheLimitAndWhenNothingIsLeft) {
  World world(1);
  int ticks = 0;
  std::function<void()> tick = [&] {
    ++ticks;
    world.schedule(Duration::milliseconds(1), [&] { tick(); });
  };
  tick();
  EXPECT_TRUE(world.run_until([&] { return ticks == 5; }, Duration::seconds(1)));
  EXPECT_EQ(world.now(), Instant{4'000'000});
  EXPECT_FALSE(world.run_until([&] { return ticks == 500; }, Duration::milliseconds(10)));
  EXPECT_EQ(world.now(), Instant{14'000'000});
  EXPECT_EQ(ticks, 15);

  World empty(1);
  empty.schedule(Instant::never(), [] { FAIL(); });
  EXPECT_FALSE(empty.run_until([] { return false; }, Duration::seconds(3)));
  EXPECT_EQ(empty.now(), Instant{3'000'000'000});
}

TEST(World, ALivelockIsAFailureThatTellsHowToRepeatIt) {
  World world(42, {.steps_max = 100, .trace_lines = 2});
  std::function<void()> again = [&] { world.schedule(Duration{}, [&] { again(); }); };
  again();
  world.trace("one");
  world.trace("two");
  world.trace("three");
  EXPECT_FALSE(world.run_until([] { return false; }, Duration::seconds(1)));
  EXPECT_TRUE(world.failed());
  EXPECT_FALSE(world.step());
  const std::string report = world.report();
  EXPECT_NE(report.find("within 100 steps"), std::string::npos) << report;
  EXPECT_NE(report.find("--seeds-from 42"), std::string::npos) << report;
  EXPECT_NE(report.find("three"), std::string::npos) << report;
  EXPECT_EQ(report.find("one"), std::string::npos) << report;
}

TEST(World, AGroupThatIsOverRunsNothingAndItsTasksDieInALaterStep) {
  World world(1);
  const Group group = world.new_group();
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> weak = held;
  world.schedule(Duration::milliseconds(2), [held = std::move(held)] { ++*held; }, group);
  world.schedule(Duration::milliseconds(1), [&] {
    world.end(group);
    world.schedule(Duration{}, [] { FAIL(); }, group);
    EXPECT_FALSE(weak.expired());
  });
  world.schedule(Duration::milliseconds(3), [&] { EXPECT_TRUE(weak.expired()); });
  EXPECT_TRUE(world.run_until([&] { return world.now() >= Instant{3'000'000}; }, Duration::seconds(1)));
  EXPECT_TRUE(world.is_over(group));
}

TEST(World, AStalledGroupRunsLateAndInOrderWhileOthersGoOn) {
  World world(1);
  const Group group = world.new_group();
  std::vector<int> order;
  world.schedule(Duration::milliseconds(1), [&] { order.push_back(2); }, group);
  world.schedule(Duration::milliseconds(2), [&] { order.push_back(3); }, group);
  world.schedule(Duration::milliseconds(3), [&] { order.push_back(1); });
  world.stall(group, Instant{10'000'000});
  world.run_for(Duration::milliseconds(9));
  EXPECT_EQ(order, (std::vector{1}));
  world.run_for(Duration::milliseconds(1));
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
}

TEST(World, TheTraceHashTellsRunsApart) {
  const auto run = [](std::uint64_t seed, int events) {
    World world(seed);
    for (int i = 0; i < events; ++i) {
      const auto delay = static_cast<std::int64_t>(world.random().below(1000));
      world.schedule(Duration::microseconds(delay), [] {});
    }
    world.run_for(Duration::seconds(1));
    return world.trace_hash();
  };
  EXPECT_EQ(run(1, 10), run(1, 10));
  EXPECT_NE(run(1, 10), run(2, 10));
  EXPECT_NE(run(1, 10), run(1, 11));
}

TEST(World, WhatWaitsWhenTheWorldEndsIsDestroyed) {
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> weak = held;
  {
    World world(1);
    world.schedule(Duration::seconds(1), [held = std::move(held)] {});
  }
  EXPECT_TRUE(weak.expired());
}

TEST(Seeds, AreARangeFromTheFirst) {
  std::vector<std::uint64_t> seen;
  for (const std::uint64_t seed : Seeds{5, 3}) seen.push_back(seed);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{5, 6, 7}));
}

}  // namespace
}  // namespace godwit::sim
