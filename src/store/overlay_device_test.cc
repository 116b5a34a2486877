#include "store/overlay_device.h"

#include <fcntl.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "store/directory_conformance.h"
#include "store/file_device.h"
#include "store/memory_device.h"
#include "store/real_directory.h"

namespace godwit::store {
namespace {

using conformance::Blocking;
using conformance::BlockingDirectory;

constexpr std::uint32_t kBlock = 4096;
constexpr std::uint64_t kSize = 10 * kBlock + 100;  // a short block at the end

// A device that says what happens to it, and fails the flush when told so.
class Recorded final : public BlockDevice {
 public:
  Recorded(std::unique_ptr<BlockDevice> device, std::vector<std::string>& events, bool& fail_flush)
      : device_(std::move(device)), events_(events), fail_flush_(fail_flush) {}
  std::uint64_t size() const override { return device_->size(); }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override { device_->read(offset, into, std::move(done)); }
  void write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) override {
    events_.push_back(durability == Durability::durable ? "write durably" : "write");
    device_->write(offset, from, durability, std::move(done));
  }
  void flush(Done<void> done) override {
    device_->flush([this, done = std::move(done)](Result<void> result) mutable {
      events_.push_back("flushed");
      if (fail_flush_) result = fail(ErrorKind::io, "the disk is broken");
      done(std::move(result));
    });
  }
  void zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability, Done<void> done) override {
    device_->zero(offset, length, mode, durability, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override {
    events_.push_back("discard " + std::to_string(offset) + "+" + std::to_string(length));
    device_->discard(offset, length, std::move(done));
  }
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) override {
    device_->extents(offset, length, std::move(done));
  }

 private:
  std::unique_ptr<BlockDevice> device_;
  std::vector<std::string>& events_;
  bool& fail_flush_;
};

// Only what an overlay asks of a directory, with the order of it.
class RecordedDirectory final : public Directory {
 public:
  RecordedDirectory(Directory& directory, std::vector<std::string>& events) : directory_(directory), events_(events) {}
  void list(Done<std::vector<std::string>> done) override { directory_.list(std::move(done)); }
  void read_file(const std::string& name, Done<Bytes> done) override { directory_.read_file(name, std::move(done)); }
  void replace_file(const std::string& name, Bytes content, Done<void> done) override {
    events_.push_back("replace " + name);
    directory_.replace_file(name, std::move(content), std::move(done));
  }
  void write_slot(const std::string&, std::uint64_t, Bytes, Done<void>) override { FAIL(); }
  void rename(const std::string&, const std::string&, Done<void>) override { FAIL(); }
  void remove(const std::string&, Done<void>) override { FAIL(); }
  void create_device(const std::string&, std::uint64_t, Done<std::unique_ptr<BlockDevice>>) override { FAIL(); }
  void open_device(const std::string&, bool, Done<std::unique_ptr<BlockDevice>>) override { FAIL(); }

 private:
  Directory& directory_;
  std::vector<std::string>& events_;
};

class OverlayDeviceTest : public ::testing::Test {
 protected:
  OverlayDeviceTest() {
    Random random(5);
    base_bytes_ = conformance::patterned(kSize, random);
  }

  std::unique_ptr<BlockDevice> base() {
    auto device = make_memory_device(base_bytes_.size(), loop_).value();
    std::ranges::copy(base_bytes_, device->memory().begin());
    return device;
  }

  // The overlay's file is created where there is none.
  Result<std::unique_ptr<OverlayDevice>> try_open(std::uint64_t overlay_size) {
    auto created = files_.create_device("vol", overlay_size);
    auto overlay = created ? std::move(created) : files_.open_device("vol", false);
    auto recorded = std::make_unique<Recorded>(std::move(*overlay), events_, fail_flush_);
    return conformance::wait_for<std::unique_ptr<OverlayDevice>>(pump_, [&](auto done) {
      OverlayDevice::open(base(), std::move(recorded), recorded_directory_, loop_, {"vol.cow", "vol.state", kBlock},
                          std::move(done));
    });
  }
  std::unique_ptr<OverlayDevice> open() {
    auto device = try_open(base_bytes_.size());
    EXPECT_TRUE(device) << device.error().message();
    return std::move(*device);
  }

  std::vector<std::uint64_t> blocks_of(const OverlayDevice& device) {
    std::vector<std::uint64_t> blocks;
    const Bitset& set = device.overlay_blocks();
    for (std::uint64_t b = set.next_set(0); b < set.size(); b = set.next_set(b + 1)) blocks.push_back(b);
    return blocks;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  conformance::Pump pump_ = [this] { loop_.run(); };
  std::unique_ptr<Directory> directory_ = make_directory(folder_.path(), *workers_, loop_).value();
  BlockingDirectory files_{*directory_, pump_};
  std::vector<std::string> events_;
  bool fail_flush_ = false;
  RecordedDirectory recorded_directory_{*directory_, events_};
  Bytes base_bytes_;
};

TEST_F(OverlayDeviceTest, IsABlockDeviceOnWhateverItsBaseHas) {
  Random random(6);
  for (std::uint64_t size : {std::uint64_t{1'000'003}, std::uint64_t{50 * kBlock}}) {
    SCOPED_TRACE(size);
    base_bytes_ = conformance::patterned(size, random);
    conformance::check_block_device(
        [&](std::uint64_t) -> std::unique_ptr<BlockDevice> {
          if (directory_) (void)files_.remove("vol"), (void)files_.remove("vol.cow");
          return open();
        },
        pump_, base_bytes_);
  }
}

TEST_F(OverlayDeviceTest, APartialWriteKeepsTheBasesRestAndNeverTouchesTheBase) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(kBlock + 10, as_bytes("hello")));
  ASSERT_TRUE(blocking.write(10 * kBlock + 99, as_bytes("!")));
  EXPECT_EQ(blocks_of(*device), (std::vector<std::uint64_t>{1, 10}));
  Bytes expected = base_bytes_;
  std::ranges::copy(as_bytes("hello"), expected.begin() + kBlock + 10);
  expected.back() = static_cast<std::byte>('!');
  conformance::expect_like(blocking, expected);
}

TEST_F(OverlayDeviceTest, ReadsStitchBothSides) {
  auto device = open();
  Blocking blocking(*device, pump_);
  Bytes expected = base_bytes_;
  for (std::uint64_t block : {2, 3, 7}) {
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(block * kBlock), kBlock, std::byte(block));
    ASSERT_TRUE(blocking.write(block * kBlock, Bytes(kBlock, std::byte(block))));
  }
  for (std::uint64_t from : {0ul, 1ul, kBlock * 2ul, kBlock * 3 - 1ul})
    for (std::uint64_t to : {kBlock * 4ul, kBlock * 7 + 1ul, kSize}) {
      const Bytes part = blocking.read(from, to - from).value();
      EXPECT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + static_cast<std::ptrdiff_t>(from)))
          << from << ".." << to;
    }
}

TEST_F(OverlayDeviceTest, AFlushSyncsTheOverlaysBytesBeforeItReplacesTheBitmap) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(0, Bytes(kBlock)));
  events_.clear();
  ASSERT_TRUE(blocking.flush());
  EXPECT_EQ(events_, (std::vector<std::string>{"flushed", "replace vol.cow"}));
  events_.clear();
  ASSERT_TRUE(blocking.write(5, as_bytes("x")));
  ASSERT_TRUE(blocking.flush());
  EXPECT_EQ(events_, (std::vector<std::string>{"write", "flushed"})) << "the bitmap names the block already";
}

TEST_F(OverlayDeviceTest, AFailedFlushLeavesTheBitmapAndTheNextOneTriesAgain) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(0, Bytes(kBlock)));
  events_.clear();
  fail_flush_ = true;
  EXPECT_FALSE(blocking.flush());
  EXPECT_EQ(events_, (std::vector<std::string>{"flushed"}));
  fail_flush_ = false;
  EXPECT_TRUE(blocking.flush());
  EXPECT_EQ(events_.back(), "replace vol.cow");
}

TEST_F(OverlayDeviceTest, ADurableWriteOfANewBlockIsDurableTogetherWithItsName) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(0, Bytes(kBlock, std::byte{1}), Durability::durable));
  EXPECT_EQ(events_, (std::vector<std::string>{"write", "flushed", "replace vol.cow"}));
  events_.clear();
  ASSERT_TRUE(blocking.write(0, Bytes(10, std::byte{2}), Durability::durable));
  EXPECT_EQ(events_, (std::vector<std::string>{"write durably"}));
}

TEST_F(OverlayDeviceTest, WhatWasFlushedIsThereAfterReopening) {
  {
    auto device = open();
    Blocking blocking(*device, pump_);
    ASSERT_TRUE(blocking.write(3 * kBlock + 1, as_bytes("kept")));
    ASSERT_TRUE(blocking.flush());
    ASSERT_TRUE(blocking.write(5 * kBlock, as_bytes("not flushed")));
  }
  auto device = open();
  EXPECT_EQ(blocks_of(*device), (std::vector<std::uint64_t>{3}));
  Blocking blocking(*device, pump_);
  Bytes expected = base_bytes_;
  std::ranges::copy(as_bytes("kept"), expected.begin() + 3 * kBlock + 1);
  conformance::expect_like(blocking, expected);
}

TEST_F(OverlayDeviceTest, ADroppedBlockIsTheBasesAgainAndItsSpaceGoesOnlyAfterTheBitmap) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(0, Bytes(3 * kBlock, std::byte{9}), Durability::durable));
  events_.clear();
  ASSERT_TRUE(conformance::wait_for<void>(pump_, [&](Done<void> done) { device->drop(1, 3, std::move(done)); }));
  EXPECT_EQ(blocks_of(*device), (std::vector<std::uint64_t>{0}));
  Bytes expected = base_bytes_;
  std::fill_n(expected.begin(), kBlock, std::byte{9});
  conformance::expect_like(blocking, expected);
  EXPECT_TRUE(events_.empty());
  ASSERT_TRUE(blocking.flush());
  EXPECT_EQ(events_, (std::vector<std::string>{"flushed", "replace vol.cow", "discard 4096+8192"}));
  ASSERT_TRUE(blocking.write(kBlock + 1, as_bytes("again")));
  std::ranges::copy(as_bytes("again"), expected.begin() + kBlock + 1);
  conformance::expect_like(blocking, expected);
  ASSERT_TRUE(blocking.flush());
  conformance::expect_like(blocking, expected);
}

TEST_F(OverlayDeviceTest, ABlockWrittenAgainBeforeItsSpaceIsFreedKeepsItsBytes) {
  auto device = open();
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.write(0, Bytes(kBlock, std::byte{9}), Durability::durable));
  int done = 0;
  auto count = [&](Result<void> result) { done += result.has_value(); };
  const Bytes fresh(10, std::byte{4});
  device->drop(0, 1, count);
  device->flush(count);
  device->write(20, fresh, Durability::written, count);
  device->flush(count);
  ASSERT_TRUE(conformance::run_until(pump_, [&] { return done == 4; }));
  Bytes expected = base_bytes_;
  std::ranges::copy(fresh, expected.begin() + 20);
  conformance::expect_like(blocking, expected);
  EXPECT_EQ(blocks_of(*device), (std::vector<std::uint64_t>{0}));
}

TEST_F(OverlayDeviceTest, TheOriginalsListIsWrittenAtCloseAndReadWhereThereIsNoBitmap) {
  {
    auto device = open();
    Blocking blocking(*device, pump_);
    ASSERT_TRUE(blocking.write(10 * kBlock, as_bytes("a")));
    ASSERT_TRUE(blocking.write(2 * kBlock, as_bytes("b")));
    ASSERT_TRUE(conformance::wait_for<void>(pump_, [&](Done<void> done) { device->close(std::move(done)); }));
  }
  EXPECT_EQ(to_hex(files_.read_file("vol.state").value()), "020000000a000000");
  ASSERT_TRUE(files_.remove("vol.cow"));
  auto device = open();
  EXPECT_EQ(blocks_of(*device), (std::vector<std::uint64_t>{2, 10}));
  Blocking blocking(*device, pump_);
  ASSERT_TRUE(blocking.flush());
  EXPECT_TRUE(files_.read_file("vol.cow")) << "from now on the bitmap tells";
}

TEST_F(OverlayDeviceTest, WhatDoesNotFitTogetherIsRefusedByName) {
  auto shorter = try_open(kSize - 1);
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().kind(), ErrorKind::invalid);
  ASSERT_TRUE(files_.remove("vol"));
  ASSERT_TRUE(files_.replace_file("vol.cow", "GDWTCOW nonsense"));
  auto damaged = try_open(kSize);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind(), ErrorKind::corrupt);
  EXPECT_NE(damaged.error().message().find("vol.cow"), std::string::npos);
}

TEST_F(OverlayDeviceTest, DestroyingItCallsNobody) {
  bool called = false;
  auto count = [&](Result<void>) { called = true; };
  auto device = open();
  Bytes buffer(kSize);
  device->write(1, ConstBytes(buffer).first(10), Durability::durable, count);
  device->write(2, ConstBytes(buffer).first(10), Durability::written, count);
  device->read(0, buffer, count);
  device->flush(count);
  device.reset();
  loop_.run();
  EXPECT_FALSE(called);
}

}  // namespace
}  // namespace godwit::store
