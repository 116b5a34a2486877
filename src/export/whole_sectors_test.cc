#include "export/whole_sectors.h"

#include <gtest/gtest.h>

#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace test;

class WholeSectorsTest : public testing::Test {
 protected:
  WholeSectorsTest() { std::ranges::copy(pattern(1300, 1), device.content().begin()); }

  Result<Bytes> read(std::uint64_t offset, std::size_t length) {
    Bytes into(length, std::byte{0x55});
    Told<void> told;
    sectors.read(offset, into, told.done());
    EXPECT_FALSE(told.result) << "answered within the call";
    scheduler.run();
    if (!told.ok()) return fail(told.error(), "read");
    return into;
  }

  TestScheduler scheduler;
  TestDevice device{scheduler, 1300};
  WholeSectors sectors{device, scheduler};
};

TEST_F(WholeSectorsTest, TheSizeIsThatOfTheSectorsThatHoldEverything) {
  const std::pair<std::uint64_t, std::uint64_t> rows[] = {{0, 0}, {1, 512}, {511, 512}, {512, 512}, {513, 1024}, {4096, 4096}};
  for (const auto& [bytes, expected] : rows) {
    TestDevice other(scheduler, bytes);
    EXPECT_EQ(WholeSectors(other, scheduler).size(), expected) << bytes;
  }
}

TEST_F(WholeSectorsTest, WhatLiesBeyondTheEndIsZeros) {
  Bytes expected = pattern(1300, 1);
  expected.resize(1536);
  const std::pair<std::uint64_t, std::size_t> ranges[] = {{0, 1536}, {0, 512},    {1024, 512}, {1299, 2},
                                                          {1300, 1}, {1301, 235}, {1536, 0},   {0, 0}};
  for (const auto& [offset, length] : ranges) {
    SCOPED_TRACE(offset);
    const Result<Bytes> got = read(offset, length);
    ASSERT_TRUE(got);
    EXPECT_TRUE(std::ranges::equal(*got, ConstBytes(expected).subspan(offset, length)));
  }
}

TEST_F(WholeSectorsTest, BeyondTheLastSectorThereIsNothing) {
  for (const auto& [offset, length] : {std::pair<std::uint64_t, std::size_t>{1536, 1}, {1024, 513}, {~std::uint64_t{0}, 2}}) {
    const Result<Bytes> got = read(offset, length);
    ASSERT_FALSE(got) << offset;
    EXPECT_EQ(got.error().kind(), ErrorKind::invalid);
  }
}

TEST_F(WholeSectorsTest, TheDevicesErrorIsPassedOn) {
  device.error = Error(ErrorKind::corrupt, "a chunk");
  const Result<Bytes> got = read(1024, 512);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::corrupt);
}

TEST_F(WholeSectorsTest, ExtentsGoOnBehindTheEndAsZeros) {
  Told<std::vector<store::Extent>> first, second;
  sectors.extents(0, 1536, first.done());
  sectors.extents(1300, 236, second.done());
  scheduler.run();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(**first.result, (std::vector<store::Extent>{{0, 1300, false, false}}));
  EXPECT_EQ(**second.result, (std::vector<store::Extent>{{1300, 236, false, true}}));
  Told<std::vector<store::Extent>> beyond;
  sectors.extents(1024, 513, beyond.done());
  scheduler.run();
  EXPECT_EQ(beyond.error(), ErrorKind::invalid);
}

TEST_F(WholeSectorsTest, PrefetchAsksForWhatThereIs) {
  sectors.prefetch(1024, 512);
  sectors.prefetch(1300, 236);
  EXPECT_EQ(device.log, std::vector<std::string>{"prefetch 1024+276"});
}

TEST_F(WholeSectorsTest, NothingCanBeChanged) {
  Told<void> written, zeroed, discarded, flushed;
  sectors.write(0, pattern(512, 2), store::Durability::written, written.done());
  sectors.zero(0, 512, store::ZeroMode::may_punch, store::Durability::written, zeroed.done());
  sectors.discard(0, 512, discarded.done());
  sectors.flush(flushed.done());
  scheduler.run();
  EXPECT_TRUE(sectors.read_only());
  for (const Told<void>* told : {&written, &zeroed, &discarded}) EXPECT_EQ(told->error(), ErrorKind::read_only);
  EXPECT_TRUE(flushed.ok());
  EXPECT_TRUE(device.log.empty());
}

}  // namespace
}  // namespace godwit::exports
