#include "sim/host.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

namespace godwit::sim {
namespace {

TEST(Host, ACrashEndsTasksTimersAndWorkOfTheIncarnation) {
  World world(1);
  Fabric fabric(world);
  Host host(fabric, "a");
  int runs = 0;
  const auto count = [&] { ++runs; };
  net::Scheduler& scheduler = host.scheduler();
  scheduler.post(count);
  scheduler.schedule(scheduler.now() + Duration::seconds(1), count);
  host.workers().run(count, count);
  host.crash();
  EXPECT_FALSE(host.is_up());
  scheduler.post(count);
  host.workers().run(count, count);
  world.run_for(Duration::seconds(2));
  EXPECT_EQ(runs, 0);
  host.restart();
  host.scheduler().post(count);
  scheduler.post(count);
  world.run_for(Duration::seconds(2));
  EXPECT_EQ(runs, 1) << "of the new incarnation only";
}

TEST(Host, TimersAreNeverEarlyByTheHostsOwnClock) {
  World world(1);
  Fabric fabric(world);
  Host a(fabric, "a"), b(fabric, "b");
  EXPECT_NE(a.scheduler().now(), b.scheduler().now());
  bool ran = false;
  const Instant due = a.scheduler().now() + Duration::milliseconds(5);
  const net::TimerId other = a.scheduler().schedule(due, [] { FAIL(); });
  a.scheduler().schedule(Instant::never(), [] { FAIL(); });
  a.scheduler().schedule(due, [&] {
    EXPECT_GE(a.scheduler().now(), due);
    ran = true;
  });
  a.scheduler().cancel(other);
  world.run_for(Duration::milliseconds(6));
  EXPECT_TRUE(ran);
}

TEST(Host, WorkersRunTheWorkAndThenWhatComesAfter) {
  World world(1);
  Fabric fabric(world);
  Host host(fabric, "a");
  std::string order;
  host.workers().run([&] { order += "work "; }, [&] { order += "after"; });
  EXPECT_EQ(order, "");
  world.run_for(Duration::seconds(1));
  EXPECT_EQ(order, "work after");
}

struct Server {
  explicit Server(Host& host) {
    auto made = host.network().listen({"", 80, {}}, [this](std::unique_ptr<net::Stream> s) { stream = std::move(s); });
    EXPECT_TRUE(made) << made.error().message();
    if (made) listener = std::move(*made);
  }
  std::unique_ptr<net::Listener> listener;
  std::unique_ptr<net::Stream> stream;
};

TEST(Host, AProgramStartsAgainWithItsHost) {
  World world(1);
  Fabric fabric(world);
  Host host(fabric, "a");
  std::weak_ptr<Server> running;
  int starts = 0;
  host.run([&](Host& on) {
    ++starts;
    auto server = std::make_shared<Server>(on);
    running = server;
    return server;
  });
  world.schedule(Duration::seconds(1), [&] {
    host.crash();
    EXPECT_FALSE(running.expired()) << "it may be on the stack";
  });
  world.run_for(Duration::seconds(2));
  EXPECT_TRUE(running.expired());
  host.restart();
  EXPECT_FALSE(running.expired());
  EXPECT_EQ(starts, 2);
}

// What a client that reads and writes sees when its server's host crashes and comes back.
struct Victim {
  explicit Victim(std::uint64_t seed) : world(seed) {
    server.run([](Host& host) { return std::make_shared<Server>(host); });
    auto connected = wait_for<std::unique_ptr<net::Stream>>(
        world, [&](auto done) { client.network().connect({"server", 80, {}}, std::move(done)); });
    EXPECT_TRUE(connected);
    stream = std::move(*connected);
    const MutableBytes into[] = {room};
    stream->read(into, [this](Result<std::size_t> count) { read = std::move(count); });
  }

  World world;
  Fabric fabric{world};
  Host client{fabric, "client"}, server{fabric, "server"};
  Bytes room = Bytes(100);
  std::unique_ptr<net::Stream> stream;
  std::optional<Result<std::size_t>> read;
};

TEST(Host, PeersOfADeadProcessLoseTheirConnections) {
  Victim v(1);
  v.server.crash({.notice = CrashNotice::reset});
  ASSERT_TRUE(v.world.run_until([&] { return v.read.has_value(); }, Duration::seconds(1)));
  EXPECT_EQ(v.read->error().kind(), ErrorKind::connection_lost);
  const auto again = wait_for<std::unique_ptr<net::Stream>>(
      v.world, [&](auto done) { v.client.network().connect({"server", 80, {}}, std::move(done)); });
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::connection_lost);
  v.server.restart();
  EXPECT_TRUE(wait_for<std::unique_ptr<net::Stream>>(
      v.world, [&](auto done) { v.client.network().connect({"server", 80, {}}, std::move(done)); }));
}

TEST(Host, PeersOfASilentMachineHangUntilItIsBackAndTheyWrite) {
  Victim v(1);
  v.server.crash({.notice = CrashNotice::silence});
  v.world.run_for(Duration::seconds(5));
  EXPECT_FALSE(v.read);
  v.server.restart();
  v.world.run_for(Duration::seconds(5));
  EXPECT_FALSE(v.read) << "nothing was sent that could be answered, and keep-alive has not asked yet";
  const ConstBytes from[] = {as_bytes("anyone there?")};
  v.stream->write(from, [](Result<void>) {});
  ASSERT_TRUE(v.world.run_until([&] { return v.read.has_value(); }, Duration::seconds(1)));
  EXPECT_EQ(v.read->error().kind(), ErrorKind::connection_lost);
}

TEST(Host, WhatWasSentToASilentMachineIsAnsweredWhenItIsBack) {
  Victim v(1);
  v.server.crash({.notice = CrashNotice::silence});
  const Bytes much(10'000'000);
  const ConstBytes from[] = {much};
  std::optional<Result<void>> written;
  v.stream->write(from, [&](Result<void> result) { written = std::move(result); });
  v.world.run_for(Duration::seconds(5));
  EXPECT_FALSE(written);
  v.server.restart();
  ASSERT_TRUE(v.world.run_until([&] { return v.read && written; }, Duration::seconds(1)));
  EXPECT_EQ(written->error().kind(), ErrorKind::connection_lost);
}

TEST(Host, AStalledHostIsLateButLosesNothing) {
  Victim v(1);
  v.client.stall(Duration::seconds(5));
  v.server.crash();
  v.world.run_for(Duration::seconds(4));
  EXPECT_FALSE(v.read);
  v.world.run_for(Duration::seconds(2));
  EXPECT_TRUE(v.read);
}

TEST(Host, InterfacesOfADeadIncarnationSwallowWhatTheyAreGiven) {
  Victim v(1);
  const auto device = wait_for<std::unique_ptr<store::BlockDevice>>(
      v.world, [&](auto done) { v.client.directory().create_device("v", 4096, std::move(done)); });
  ASSERT_TRUE(device);
  net::Network& network = v.client.network();
  store::Directory& directory = v.client.directory();
  v.client.crash();
  Bytes room(10);
  const ConstBytes from[] = {as_bytes("x")};
  network.connect({"server", 80, {}}, [](Result<std::unique_ptr<net::Stream>>) { FAIL(); });
  EXPECT_FALSE(network.listen({"", 1, {}}, [](std::unique_ptr<net::Stream>) {}));
  directory.list([](Result<std::vector<std::string>>) { FAIL(); });
  (*device)->read(0, room, [](Result<void>) { FAIL(); });
  v.stream->write(from, [](Result<void>) { FAIL(); });
  v.stream->close();
  v.stream.reset();
  v.world.run_for(Duration::seconds(100));
  EXPECT_FALSE(v.read);
}

}  // namespace
}  // namespace godwit::sim
