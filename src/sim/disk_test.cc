#include "sim/disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "sim/host.h"

namespace godwit::sim {
namespace {

using store::BlockDevice;
using store::Directory;
using store::Durability;
using store::ZeroMode;

struct Machine {
  explicit Machine(std::uint64_t seed) : world(seed), fabric(world), host(fabric, "a") {}

  Directory& directory() { return host.directory(); }

  std::unique_ptr<BlockDevice> create(const std::string& name, std::uint64_t size) {
    auto made =
        wait_for<std::unique_ptr<BlockDevice>>(world, [&](auto done) { directory().create_device(name, size, std::move(done)); });
    return made ? std::move(*made) : nullptr;
  }
  std::unique_ptr<BlockDevice> open(const std::string& name, bool read_only = false) {
    auto opened = wait_for<std::unique_ptr<BlockDevice>>(
        world, [&](auto done) { directory().open_device(name, read_only, std::move(done)); });
    return opened ? std::move(*opened) : nullptr;
  }
  Result<void> write(BlockDevice& device, std::uint64_t offset, ConstBytes bytes, Durability durability) {
    return wait_for<void>(world, [&](auto done) { device.write(offset, bytes, durability, std::move(done)); });
  }
  std::string read(BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
    Bytes bytes(length);
    const Result<void> done = wait_for<void>(world, [&](auto d) { device.read(offset, bytes, std::move(d)); });
    return done ? std::string(as_text(bytes)) : "failed";
  }
  Result<void> flush(BlockDevice& device) {
    return wait_for<void>(world, [&](auto done) { device.flush(std::move(done)); });
  }
  Result<void> replace(const std::string& name, std::string_view content) {
    return wait_for<void>(world,
                          [&](auto done) { directory().replace_file(name, to_bytes(as_bytes(content)), std::move(done)); });
  }
  std::string content(const std::string& name) {
    const auto bytes = wait_for<Bytes>(world, [&](auto done) { directory().read_file(name, std::move(done)); });
    return bytes ? std::string(as_text(*bytes)) : std::string(name_of(bytes.error().kind()));
  }

  World world;
  Fabric fabric;
  Host host;
};

TEST(Disk, ADeviceReadsWhatWasWrittenAndHolesAsZeros) {
  Machine m(1);
  const auto device = m.create("v", std::uint64_t{1} << 50);
  ASSERT_TRUE(device);
  EXPECT_TRUE(m.write(*device, (std::uint64_t{1} << 49) + 3, as_bytes("hello"), Durability::written));
  EXPECT_EQ(m.read(*device, (std::uint64_t{1} << 49) + 2, 7), std::string("\0hello\0", 7));
  EXPECT_EQ(m.host.disk().counters().of(DiskOp::write), 1);
  EXPECT_EQ(m.host.disk().counters().bytes_read, 7);
}

TEST(Disk, RequestsUnderWayTogetherEndInAnyOrder) {
  Machine m(1);
  const auto device = m.create("v", 1 << 20);
  std::vector<int> order;
  Bytes rooms[20];
  for (int i = 0; i < 20; ++i) {
    rooms[i].resize(512);
    device->read(512 * i, rooms[i], [&order, i](Result<void>) { order.push_back(i); });
    EXPECT_EQ(order.size(), 0) << "never from inside the call";
  }
  ASSERT_TRUE(m.world.run_until([&] { return order.size() == 20; }, Duration::seconds(1)));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

TEST(Disk, RequestsThatBreakTheRulesDoNothing) {
  Machine m(1);
  const auto device = m.create("v", 1000);
  const auto kind = [](const Result<void>& result) { return result ? "none" : std::string(name_of(result.error().kind())); };
  EXPECT_EQ(kind(m.write(*device, 999, as_bytes("ab"), Durability::written)), "invalid");
  EXPECT_EQ(m.read(*device, 999, 1), std::string(1, '\0'));
  EXPECT_EQ(kind(wait_for<void>(
                m.world, [&](auto done) { device->zero(~0ULL, 2, ZeroMode::may_punch, Durability::written, std::move(done)); })),
            "invalid");
  const auto locked = m.open("v", true);
  ASSERT_TRUE(locked);
  EXPECT_TRUE(locked->read_only());
  EXPECT_EQ(kind(m.write(*locked, 0, as_bytes("ab"), Durability::written)), "read-only");
  EXPECT_EQ(kind(wait_for<void>(m.world, [&](auto done) { locked->discard(0, 1, std::move(done)); })), "read-only");
}

TEST(Disk, ExtentsTellHolesZerosAndData) {
  Machine m(1);
  const auto device = m.create("v", 1 << 20);
  ASSERT_TRUE(m.write(*device, 8192, Bytes(8192, std::byte{1}), Durability::written));
  ASSERT_TRUE(wait_for<void>(
      m.world, [&](auto done) { device->zero(16384, 8192, ZeroMode::keep_allocated, Durability::written, std::move(done)); }));
  std::vector<store::Extent> all;
  for (std::uint64_t at = 0; at < device->size();) {
    const auto some = wait_for<std::vector<store::Extent>>(
        m.world, [&](auto done) { device->extents(at, device->size() - at, std::move(done)); });
    ASSERT_TRUE(some && !some->empty());
    all.insert(all.end(), some->begin(), some->end());
    at = all.back().offset + all.back().length;
  }
  const std::vector<store::Extent> expected = {
      {0, 8192, true, true}, {8192, 8192, false, false}, {16384, 8192, false, true}, {24576, (1 << 20) - 24576, true, true}};
  EXPECT_EQ(all, expected);
}

TEST(Disk, AFlushMakesDurableWhatWasDoneBeforeItWasCalled) {
  std::set<std::string> unflushed;
  for (const std::uint64_t seed : scenario_seeds(60)) {
    Machine m(seed);
    auto device = m.create("v", 4096);
    ASSERT_TRUE(m.write(*device, 0, as_bytes("flushed"), Durability::written));
    ASSERT_TRUE(m.flush(*device));
    ASSERT_TRUE(m.write(*device, 1024, as_bytes("durable"), Durability::durable));
    ASSERT_TRUE(m.write(*device, 2048, as_bytes("written"), Durability::written));
    bool called = false;
    device->write(3072, as_bytes("under way"), Durability::durable, [&](Result<void>) { called = true; });
    m.host.crash();
    m.world.run_for(Duration::seconds(1));
    EXPECT_FALSE(called) << "devices of a crashed host never complete";
    m.host.restart();
    device = m.open("v");
    ASSERT_TRUE(device);
    EXPECT_EQ(m.read(*device, 0, 7), "flushed");
    EXPECT_EQ(m.read(*device, 1024, 7), "durable");
    unflushed.insert(m.read(*device, 2048, 7));
    unflushed.insert(m.read(*device, 3072, 9));
  }
  EXPECT_EQ(unflushed, (std::set<std::string>{"written", "under way", std::string(7, '\0'), std::string(9, '\0')}));
}

TEST(Disk, ADeadProcessLeavesWhatItWroteToTheKernel) {
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Machine m(seed);
    auto device = m.create("v", 4096);
    ASSERT_TRUE(m.write(*device, 0, as_bytes("written"), Durability::written));
    m.host.crash({.power_lost = false});
    m.host.restart();
    device = m.open("v");
    EXPECT_EQ(m.read(*device, 0, 7), "written");
  }
}

TEST(Disk, ReplacingAFileLeavesTheOldOrTheNewOne) {
  std::set<std::string> seen;
  for (const std::uint64_t seed : scenario_seeds(40)) {
    Machine m(seed);
    ASSERT_TRUE(m.replace("state", "old"));
    m.directory().replace_file("state", to_bytes(as_bytes("newer")), [](Result<void>) { FAIL(); });
    m.host.crash();
    m.host.restart();
    seen.insert(m.content("state"));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"old", "newer"}));
}

TEST(Disk, NamesFollowTheDirectoryContract) {
  Machine m(1);
  const auto rename = [&](const std::string& from, const std::string& to) {
    const auto result = wait_for<void>(m.world, [&](auto done) { m.directory().rename(from, to, std::move(done)); });
    return result ? std::string("done") : std::string(name_of(result.error().kind()));
  };
  ASSERT_TRUE(m.replace("a", "1"));
  ASSERT_TRUE(m.replace("b", "2"));
  EXPECT_EQ(rename("a", "b"), "exists");
  EXPECT_EQ(rename("x", "y"), "not found");
  EXPECT_EQ(rename("a", "c/d"), "invalid");
  EXPECT_EQ(rename("a", "c"), "done");
  EXPECT_EQ(m.content("c"), "1");
  EXPECT_EQ(m.content("a"), "not found");
  EXPECT_FALSE(m.create("c", 5));
  EXPECT_FALSE(m.open("a"));
  EXPECT_FALSE(m.replace("..", "x"));
  EXPECT_TRUE(
      wait_for<void>(m.world, [&](auto done) { m.directory().write_slot("c", 3, to_bytes(as_bytes("slot")), std::move(done)); }));
  EXPECT_EQ(m.content("c"), std::string("1\0\0slot", 7));
  EXPECT_FALSE(wait_for<void>(m.world, [&](auto done) { m.directory().write_slot("a", 0, Bytes(1), std::move(done)); }));
  ASSERT_TRUE(wait_for<void>(m.world, [&](auto done) { m.directory().remove("c", std::move(done)); }));
  EXPECT_FALSE(wait_for<void>(m.world, [&](auto done) { m.directory().remove("c", std::move(done)); }));
  const auto list = wait_for<std::vector<std::string>>(m.world, [&](auto done) { m.directory().list(std::move(done)); });
  ASSERT_TRUE(list);
  EXPECT_EQ(*list, std::vector<std::string>{"b"});
  EXPECT_EQ(m.host.disk().names("data"), std::vector<std::string>{"b"});
}

TEST(Disk, LargeFilesAreNotReadAsSmallOnes) {
  Machine m(1);
  ASSERT_TRUE(m.create("v", (64 << 20) + 1));
  EXPECT_EQ(m.content("v"), "limit");
}

TEST(Disk, AFileThatIsRemovedOrRenamedStaysOpen) {
  Machine m(1);
  const auto device = m.create("v", 4096);
  ASSERT_TRUE(m.write(*device, 0, as_bytes("still"), Durability::durable));
  ASSERT_TRUE(wait_for<void>(m.world, [&](auto done) { m.directory().remove("v", std::move(done)); }));
  EXPECT_EQ(m.read(*device, 0, 5), "still");
}

TEST(Disk, ADeviceThatIsDestroyedCallsNobodyBackAndHasDoneSomeOfWhatWasAsked) {
  std::set<std::string> seen;
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Machine m(seed);
    auto device = m.create("v", 4096);
    {
      Bytes bytes = to_bytes(as_bytes("x"));  // free again after the device's end
      Bytes room(10);
      device->write(0, bytes, Durability::durable, [](Result<void>) { FAIL(); });
      device->read(0, room, [](Result<void>) { FAIL(); });
      device->flush([](Result<void>) { FAIL(); });
      device->read(4096, room, [](Result<void>) { FAIL(); });
      device.reset();
    }
    m.world.run_for(Duration::seconds(1));
    device = m.open("v");
    seen.insert(m.read(*device, 0, 1));
  }
  EXPECT_EQ(seen, (std::set<std::string>{"x", std::string(1, '\0')}));
}

TEST(Disk, TheNthOperationOfAKindFailsAsPlanned) {
  Machine m(1);
  const auto device = m.create("v", 4096);
  Disk& disk = m.host.disk();
  disk.fail_nth(DiskOp::write, 2, ErrorKind::no_space);
  EXPECT_TRUE(m.write(*device, 0, as_bytes("a"), Durability::written));
  EXPECT_EQ(m.read(*device, 0, 1), "a");
  const Result<void> second = m.write(*device, 0, as_bytes("b"), Durability::written);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::no_space);
  EXPECT_TRUE(m.write(*device, 0, as_bytes("c"), Durability::written));
  EXPECT_EQ(disk.count_failed(), 1);

  disk.fail_nth(DiskOp::any, 1, ErrorKind::io, true);
  EXPECT_EQ(m.read(*device, 0, 1), "failed");
  EXPECT_FALSE(m.flush(*device));
  EXPECT_FALSE(m.replace("x", "y"));
  disk.clear_faults();
  EXPECT_TRUE(m.flush(*device));
}

TEST(Disk, ACrashCanBePlacedBetweenAnyTwoOperations) {
  // Three operations in a row; before each of them ends, the power goes.
  std::uint64_t n = 1;
  std::vector<std::string> left;
  for (bool crashed = true; crashed; ++n) {
    Machine m(1);
    crashed = false;
    m.host.disk().call_at_nth(DiskOp::replace_file, n, [&] {
      crashed = true;
      m.host.crash();
    });
    for (const char* name : {"a", "b", "c"}) {
      if (!crashed && m.host.is_up()) (void)m.replace(name, "x");
    }
    std::string names;
    for (const std::string& name : m.host.disk().names("data")) names += name;
    left.push_back(names);
  }
  EXPECT_EQ(n, 5) << "crashes at three operations, and a run without";
  const std::string all = "abc";
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(left[i] == all.substr(0, i) || left[i] == all.substr(0, i + 1)) << left[i];
  EXPECT_EQ(left[3], all);
}

TEST(Disk, AStuckDiskGoesOnWhenItIsFreed) {
  Machine m(1);
  const auto device = m.create("v", 4096);
  m.host.disk().set_stuck(true);
  bool done = false;
  device->write(0, as_bytes("x"), Durability::written, [&](Result<void> result) { done = result.has_value(); });
  m.world.run_for(Duration::seconds(100));
  EXPECT_FALSE(done);
  m.host.disk().set_stuck(false);
  EXPECT_TRUE(m.world.run_until([&] { return done; }, Duration::seconds(1)));
}

TEST(Disk, AStuckDiskThatLosesPowerHoldsNothing) {
  Machine m(1);
  auto device = m.create("v", 4096);
  m.host.disk().set_stuck(true);
  device->write(0, as_bytes("x"), Durability::written, [](Result<void>) { FAIL(); });
  m.world.run_for(Duration::seconds(1));
  m.host.crash();
  m.host.restart();
  device = m.open("v");
  EXPECT_TRUE(device && m.write(*device, 0, as_bytes("y"), Durability::written));
}

TEST(Disk, DamageIsRead) {
  Machine m(1);
  ASSERT_TRUE(m.replace("state", "abc"));
  m.host.disk().damage("data", "state", 1, 1);
  const std::string content = m.content("state");
  EXPECT_EQ(content.size(), 3);
  EXPECT_NE(content[1], 'b');
  EXPECT_EQ(content[0], 'a');
  EXPECT_EQ(m.host.disk().find("data", "state")->size(), 3);
  EXPECT_EQ(m.host.disk().find("data", "other"), nullptr);
}

}  // namespace
}  // namespace godwit::sim
