// Turns, timers and signals of the event loop, and the workers beside it.
#include "net/event_loop.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "net/worker_pool.h"

namespace godwit::net {
namespace {

TEST(EventLoop, RunsPostedTasksInOrderAndEndsWhenNothingIsLeft) {
  EventLoop loop;
  std::vector<int> order;
  loop.post([&] {
    order.push_back(1);
    loop.post([&] { order.push_back(3); });
  });
  loop.post([&] { order.push_back(2); });
  EXPECT_TRUE(order.empty());
  loop.run();
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
  loop.post([&] { order.push_back(4); });
  loop.run();
  EXPECT_EQ(order.back(), 4);
}

TEST(EventLoop, TimersRunInTheOrderOfTheirTimesAndThenOfTheirCalls) {
  EventLoop loop;
  std::vector<int> order;
  const Instant now = loop.now();
  loop.schedule(now + Duration::milliseconds(3), [&] { order.push_back(3); });
  loop.schedule(now + Duration::milliseconds(1), [&] { order.push_back(1); });
  loop.schedule(now + Duration::milliseconds(3), [&] { order.push_back(4); });
  loop.schedule(now + Duration::milliseconds(2), [&] {
    order.push_back(2);
    EXPECT_GE(loop.now(), now + Duration::milliseconds(2));
  });
  loop.schedule(Instant{0}, [&] { order.push_back(0); });
  loop.run();
  EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
}

TEST(EventLoop, ACancelledTimerNeitherRunsNorKeepsTheLoopFromEnding) {
  EventLoop loop;
  bool ran = false;
  const TimerId far = loop.schedule(loop.now() + Duration::seconds(3600), [&] { ran = true; });
  const TimerId near = loop.schedule(loop.now() + Duration::milliseconds(1), [&] { ran = true; });
  loop.schedule(loop.now(), [&] {
    loop.cancel(far);
    loop.cancel(near);
    loop.cancel(near);
    loop.cancel(TimerId{});
  });
  loop.run();
  EXPECT_FALSE(ran);
}

TEST(EventLoop, ATimerSetInATimerRunsInALaterTurnEvenWhenItIsDue) {
  EventLoop loop;
  int rounds = 0;
  std::function<void()> again = [&] {
    if (++rounds == 1000) return loop.stop();
    loop.schedule(Instant{0}, again);
  };
  loop.schedule(Instant{0}, again);
  bool other = false;
  loop.post([&] { other = true; });
  loop.run();
  EXPECT_EQ(rounds, 1000);
  EXPECT_TRUE(other);
}

TEST(EventLoop, TasksPostedFromOtherThreadsAllRunOnItsOwnInTheOrderOfEach) {
  EventLoop loop;
  constexpr int kThreads = 4, kEach = 5000;
  std::vector<int> last(kThreads, -1);
  int total = 0;
  bool in_order = true, own_thread = true;
  const auto self = std::this_thread::get_id();
  loop.hold();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i)
        loop.post([&, t, i] {
          own_thread &= std::this_thread::get_id() == self;
          in_order &= last[t] + 1 == i;
          last[t] = i;
          if (++total == kThreads * kEach) loop.release();
        });
    });
  loop.run();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(total, kThreads * kEach);
  EXPECT_TRUE(in_order);
  EXPECT_TRUE(own_thread);
}

TEST(EventLoop, StopEndsTheRunAndTheNextRunGoesOn) {
  EventLoop loop;
  loop.schedule(loop.now() + Duration::seconds(3600), [] {});
  loop.post([&] { loop.stop(); });
  loop.run();
  std::thread other([&] { loop.stop(); });
  loop.run();
  other.join();
  bool ran = false;
  loop.post([&] {
    ran = true;
    loop.stop();
  });
  loop.run();
  EXPECT_TRUE(ran);
}

TEST(EventLoop, WhatStillWaitsAtItsEndIsDroppedWithoutBeingCalled) {
  auto witness = std::make_shared<int>(0);
  {
    EventLoop loop;
    loop.post([&loop, witness] { *witness = 1; });
    loop.schedule(loop.now() + Duration::seconds(3600), [witness] { *witness = 1; });
    int sockets[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    auto left = loop.adopt(sockets[0]);
    auto right = std::shared_ptr<Stream>(loop.adopt(sockets[1]));
    auto room = std::make_shared<std::byte>();
    const MutableBytes into[] = {{room.get(), 1}};
    left->read(into, [witness, room](Result<std::size_t>) { *witness = 1; });
    loop.post([right, witness] { *witness = 1; });
  }
  EXPECT_EQ(*witness, 0);
  EXPECT_EQ(witness.use_count(), 1);
}

TEST(EventLoop, ATerminationSignalIsHandedToTheProgram) {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    EventLoop loop;
    int seen = 0;
    loop.on_termination([&](int came) {
      seen = came;
      loop.stop();
    });
    loop.post([signal] { ::raise(signal); });
    loop.run();
    EXPECT_EQ(seen, signal);
  }
}

TEST(EventLoop, AHangupThatIsIgnoredStaysIgnored) {
  const auto before = std::signal(SIGHUP, SIG_IGN);
  EventLoop loop;
  int seen = 0;
  loop.on_termination([&](int came) {
    seen = came;
    loop.stop();
  });
  loop.post([] {
    ::raise(SIGHUP);
    ::raise(SIGTERM);
  });
  loop.run();
  EXPECT_EQ(seen, SIGTERM);
  (void)std::signal(SIGHUP, before);
}

TEST(EventLoopDeathTest, ASecondTerminationSignalEndsTheProcessAtOnce) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        EventLoop loop;
        loop.on_termination([](int) { ::raise(SIGINT); });
        loop.post([] { ::raise(SIGTERM); });
        loop.run();
      },
      ::testing::KilledBySignal(SIGINT), "");
}

TEST(Workers, WorkRunsElsewhereAndItsEndIsToldHere) {
  EventLoop loop;
  auto workers = make_workers(loop, 3);
  const auto self = std::this_thread::get_id();
  std::atomic<int> elsewhere = 0;
  int told = 0;
  for (int i = 0; i < 1000; ++i)
    workers->run([&] { elsewhere += std::this_thread::get_id() != self; },
                 [&] {
                   EXPECT_EQ(std::this_thread::get_id(), self);
                   ++told;
                 });
  loop.run();
  EXPECT_EQ(elsewhere, 1000);
  EXPECT_EQ(told, 1000);
}

TEST(Workers, TheEndOfThePoolFinishesWhatWasGiven) {
  EventLoop loop;
  int told = 0;
  std::atomic<int> worked = 0;
  {
    auto workers = make_workers(loop, 1);
    for (int i = 0; i < 100; ++i) workers->run([&] { ++worked; }, [&] { ++told; });
  }
  EXPECT_EQ(worked, 100);
  EXPECT_EQ(told, 0);
  loop.run();
  EXPECT_EQ(told, 100);
}

}  // namespace
}  // namespace godwit::net
