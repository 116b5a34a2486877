#include "chunks/driver/blob_view.h"

#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/temporary_folder.h"
#include "chunks/core/cut_rule.h"
#include "net/event_loop.h"
#include "sim/host.h"
#include "store/block_device_conformance.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr std::uint64_t kChunk = 1000;

// Chunks that come when the test says so.
class HeldStore final : public ChunkStore {
 public:
  const std::string& title() const override { return title_; }
  void get(const ChunkId& id, Digest, std::uint64_t size_max, Done<Bytes> done) override {
    asked.push_back(id);
    EXPECT_LE(size_max, kChunk);
    waiting_.push_back({id, std::move(done)});
    most_waiting = std::max(most_waiting, waiting_.size());
  }
  void has(std::vector<ChunkId>, Done<std::vector<bool>>) override { FAIL(); }
  void put(const ChunkId&, ConstBytes, Done<bool>) override { FAIL(); }
  void sync(Done<void>) override { FAIL(); }
  void remove(const ChunkId&, Done<void>) override { FAIL(); }

  // Answers what was asked for first; false where nothing was.
  bool answer() {
    if (waiting_.empty()) return false;
    auto [id, done] = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    const auto found = content.find(id);
    done(found != content.end() ? Result<Bytes>(found->second)
                                : Result<Bytes>(fail(ErrorKind::not_found, "chunk " + id.hex() + " is not here")));
    return true;
  }
  void answer_all() {
    while (answer()) {
    }
  }

  std::map<ChunkId, Bytes> content;
  std::vector<ChunkId> asked;
  std::size_t most_waiting = 0;

 private:
  struct Waiting {
    ChunkId id;
    Done<Bytes> done;
  };
  std::string title_ = "held";
  std::vector<Waiting> waiting_;
};

// A blob of chunks of one size, in a simulated world: nothing happens but what the test does.
class BlobViewTest : public ::testing::Test {
 protected:
  BlobViewTest() { index_.header.sizes = {kChunk, kChunk, kChunk}; }

  void add_chunk(const Bytes& data) {
    const ChunkId id = chunk_id_of(data, index_.header.digest());
    store_.content[id] = data;
    append(blob_, data);
    index_.entries.push_back({blob_.size(), id});
  }
  void add_chunks(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      Bytes data(kChunk);
      for (std::byte& b : data) b = static_cast<std::byte>(random_.next() | 1);
      add_chunk(data);
    }
  }
  BlobView& open(const BlobViewOptions& options = without_reading_ahead()) {
    view_ = std::make_unique<BlobView>("a.caibx", index_, store_, host_.scheduler(), options, Log(log_, LogLevel::info));
    return *view_;
  }
  static BlobViewOptions without_reading_ahead() {
    BlobViewOptions options;
    options.read_ahead.window_bytes_max = 0;
    return options;
  }

  struct Reading {
    Bytes into;
    std::optional<Result<void>> result;
  };
  // Starts to read; the bytes are where the reading is when it has ended.
  std::shared_ptr<Reading> start(std::uint64_t offset, std::size_t length) {
    auto reading = std::make_shared<Reading>();
    reading->into.resize(length, std::byte{0xEE});
    view_->read(offset, reading->into, [reading](Result<void> result) {
      EXPECT_FALSE(reading->result) << "done twice";
      reading->result = std::move(result);
    });
    EXPECT_FALSE(reading->result) << "done from inside the call";
    return reading;
  }
  void turn() { world_.run_for(Duration::milliseconds(1)); }
  void expect_read(const std::shared_ptr<Reading>& reading, std::uint64_t offset) {
    turn();
    ASSERT_TRUE(reading->result) << "the read has not ended";
    ASSERT_TRUE(*reading->result) << reading->result->error().message();
    const ConstBytes expected = ConstBytes(blob_).subspan(offset, reading->into.size());
    EXPECT_TRUE(std::ranges::equal(reading->into, expected)) << "other bytes at " << offset;
  }
  // Reads and answers whatever is asked for.
  void expect_reads(std::uint64_t offset, std::size_t length) {
    const auto reading = start(offset, length);
    store_.answer_all();
    expect_read(reading, offset);
  }

  sim::World world_{1};
  sim::Fabric fabric_{world_};
  sim::Host host_{fabric_, "here"};
  Random random_{7};
  HeldStore store_;
  Index index_;
  Bytes blob_;
  std::shared_ptr<LogCapture> log_ = std::make_shared<LogCapture>();
  std::unique_ptr<BlobView> view_;
};

TEST_F(BlobViewTest, AnyRangeIsReadAndOnlyItsChunksAreFetched) {
  add_chunks(20);
  add_chunk(Bytes(300, std::byte{5}));
  open({.cache_bytes_max = 3 * kChunk, .requests_max = 4, .read_ahead = {.window_bytes_max = 0}});
  EXPECT_EQ(view_->size(), 20'300u);
  expect_reads(1500, 10);
  EXPECT_EQ(store_.asked, std::vector<ChunkId>{index_.entries[1].id});
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::size_t>>{
           {0, 1}, {0, 20'300}, {999, 2}, {1000, 1000}, {20'299, 1}, {19'999, 301}, {4321, 9876}})
    expect_reads(offset, length);
  for (int i = 0; i < 500; ++i) {
    const std::uint64_t offset = random_.next() % blob_.size();
    expect_reads(offset, 1 + random_.next() % (blob_.size() - offset));
  }
  EXPECT_LE(view_->counters().bytes_held, 3 * kChunk);
}

TEST_F(BlobViewTest, WhatLiesOutsideIsRefusedAndNothingIsRead) {
  add_chunks(2);
  open();
  for (const auto& [offset, length] : std::vector<std::pair<std::uint64_t, std::size_t>>{{1999, 2}, {2001, 0}, {UINT64_MAX, 1}}) {
    const auto reading = start(offset, length);
    turn();
    ASSERT_TRUE(reading->result);
    EXPECT_EQ(reading->result->error().kind(), ErrorKind::invalid);
  }
  expect_reads(2000, 0);
  EXPECT_TRUE(store_.asked.empty());
}

TEST_F(BlobViewTest, ReadersOfOneChunkShareOneFetch) {
  add_chunks(3);
  open();
  const auto first = start(100, 10);
  const auto second = start(0, 2500);
  const auto third = start(999, 2);
  EXPECT_EQ(store_.asked.size(), 3u);
  store_.answer_all();
  expect_read(first, 100);
  expect_read(second, 0);
  expect_read(third, 999);
  EXPECT_EQ(view_->counters().fetched, 3u);
  EXPECT_EQ(view_->counters().joined, 3u);
}

TEST_F(BlobViewTest, AChunkThatStandsInManyPlacesIsFetchedOnce) {
  const Bytes same(kChunk, std::byte{9});
  for (int i = 0; i < 5; ++i) add_chunk(same);
  open();
  expect_reads(500, 4000);
  EXPECT_EQ(store_.asked.size(), 1u);
}

TEST_F(BlobViewTest, ManyRequestsAreUnderWayButNoMoreThanTheLimit) {
  add_chunks(30);
  open({.cache_bytes_max = 100 * kChunk, .requests_max = 8, .read_ahead = {.window_bytes_max = 0}});
  expect_reads(0, 30'000);
  EXPECT_EQ(store_.most_waiting, 8u);
}

TEST_F(BlobViewTest, TheCacheKeepsToItsBytesAndForgetsWhatWasUsedLongestAgo) {
  add_chunks(10);
  open({.cache_bytes_max = 3 * kChunk, .requests_max = 64, .read_ahead = {.window_bytes_max = 0}});
  for (const std::uint64_t chunk : {0u, 1u, 2u, 0u, 3u}) expect_reads(chunk * kChunk, 10);  // 1 is forgotten
  EXPECT_EQ(store_.asked.size(), 4u);
  EXPECT_EQ(view_->counters().bytes_held, 3 * kChunk);
  expect_reads(0, 10);
  expect_reads(2 * kChunk, 10);
  EXPECT_EQ(store_.asked.size(), 4u);
  expect_reads(kChunk, 10);
  EXPECT_EQ(store_.asked.size(), 5u);
  // What is on its way counts as well: a long read is fetched in parts, and fits.
  const auto reading = start(0, 10 * kChunk);
  do {
    EXPECT_LE(view_->counters().bytes_held, 3 * kChunk);
  } while (store_.answer());
  expect_read(reading, 0);
}

TEST_F(BlobViewTest, AChunkLargerThanTheCacheIsReadAllTheSame) {
  add_chunks(3);
  open({.cache_bytes_max = 10, .requests_max = 64, .read_ahead = {}});
  expect_reads(0, 3000);
  EXPECT_EQ(store_.most_waiting, 1u);
  EXPECT_LE(view_->counters().bytes_held, kChunk);
}

TEST_F(BlobViewTest, WhoReadsOnFindsTheNextChunksThere) {
  add_chunks(40);
  open({.cache_bytes_max = 100 * kChunk,
        .requests_max = 64,
        .read_ahead = {.window_bytes_min = 2 * kChunk, .window_bytes_max = 8 * kChunk}});
  expect_reads(0, kChunk);
  EXPECT_EQ(store_.asked.size(), 3u);
  expect_reads(kChunk, kChunk);
  EXPECT_EQ(store_.asked.size(), 6u);
  for (std::uint64_t chunk = 2; chunk < 40; ++chunk) {
    const auto reading = start(chunk * kChunk, kChunk);
    expect_read(reading, chunk * kChunk);  // before anything more is answered
    store_.answer_all();
  }
  EXPECT_EQ(store_.asked.size(), 40u);
  // Jumps fetch nothing more than they need.
  view_.reset();
  store_.asked.clear();
  open({.cache_bytes_max = 100 * kChunk,
        .requests_max = 64,
        .read_ahead = {.window_bytes_min = 2 * kChunk, .window_bytes_max = 8 * kChunk}});
  for (const std::uint64_t chunk : {30u, 10u, 20u, 3u}) expect_reads(chunk * kChunk, kChunk);
  EXPECT_EQ(store_.asked.size(), 4u);
}

TEST_F(BlobViewTest, WhatSomebodyWaitsForOvertakesWhatIsFetchedAhead) {
  add_chunks(40);
  open({.cache_bytes_max = 100 * kChunk,
        .requests_max = 1,
        .read_ahead = {.window_bytes_min = 8 * kChunk, .window_bytes_max = 8 * kChunk}});
  const auto first = start(0, 10);
  const auto far = start(30 * kChunk, 10);
  const auto near = start(5 * kChunk, 10);
  store_.answer();
  store_.answer();
  store_.answer();
  expect_read(first, 0);
  expect_read(far, 30 * kChunk);
  expect_read(near, 5 * kChunk);
}

TEST_F(BlobViewTest, ReadingAheadLeavesHalfOfTheCacheAlone) {
  add_chunks(40);
  open({.cache_bytes_max = 10 * kChunk,
        .requests_max = 64,
        .read_ahead = {.window_bytes_min = 100 * kChunk, .window_bytes_max = 100 * kChunk}});
  view_->prefetch(20 * kChunk, 20 * kChunk);
  EXPECT_EQ(store_.asked.size(), 5u);
  store_.answer_all();
  EXPECT_EQ(view_->counters().bytes_held, 5 * kChunk);
  expect_reads(20 * kChunk, 5 * kChunk);
  EXPECT_EQ(view_->counters().hits, 5u);
}

TEST_F(BlobViewTest, AMissingChunkFailsThoseWhoWaitForItAndNobodyElse) {
  add_chunks(5);
  const Bytes taken = store_.content.extract(index_.entries[2].id).mapped();
  open();
  const auto good = start(3 * kChunk, 2 * kChunk);
  const auto bad = start(kChunk, 3 * kChunk);
  const auto worse = start(2 * kChunk + 5, 5);
  store_.answer_all();
  expect_read(good, 3 * kChunk);
  for (const auto& reading : {bad, worse}) {
    ASSERT_TRUE(reading->result);
    EXPECT_EQ(reading->result->error().kind(), ErrorKind::not_found);
    EXPECT_EQ(reading->result->error().message(),
              "a.caibx: chunk 2 of 5, at offset 2000: chunk " + index_.entries[2].id.hex() + " is not here");
  }
  EXPECT_EQ(log_->lines().size(), 1u);
  EXPECT_TRUE(log_->contains(index_.entries[2].id.hex()));
  // A failure is not remembered.
  store_.content[index_.entries[2].id] = taken;
  expect_reads(kChunk, 3 * kChunk);
}

TEST_F(BlobViewTest, WhatIsMissingAheadIsNoComplaintUntilSomebodyWantsIt) {
  add_chunks(5);
  store_.content.erase(index_.entries[1].id);
  open({.cache_bytes_max = 100 * kChunk,
        .requests_max = 64,
        .read_ahead = {.window_bytes_min = 4 * kChunk, .window_bytes_max = 4 * kChunk}});
  expect_reads(0, 10);
  EXPECT_TRUE(log_->lines().empty());
  EXPECT_EQ(view_->counters().failed, 1u);
  const auto reading = start(kChunk, 10);
  store_.answer_all();
  ASSERT_TRUE(reading->result);
  EXPECT_FALSE(*reading->result);
  EXPECT_EQ(log_->lines().size(), 1u);
  expect_reads(2 * kChunk, 3 * kChunk);
  EXPECT_EQ(view_->counters().bytes_held, 4 * kChunk);
}

TEST_F(BlobViewTest, AChunkOfAnotherLengthThanTheIndexTellsIsRefused) {
  add_chunks(2);
  // The index gives the first chunk's id a second place, which is too short for it.
  index_.entries.push_back({2 * kChunk + 400, index_.entries[0].id});
  open();
  expect_reads(0, 10);
  for (int i = 0; i < 2; ++i) {
    const auto reading = start(2 * kChunk, 400);
    store_.answer_all();
    turn();
    ASSERT_TRUE(reading->result);
    EXPECT_EQ(reading->result->error().kind(), ErrorKind::corrupt);
    EXPECT_NE(reading->result->error().message().find("the index says 400"), std::string::npos);
  }
  expect_reads(0, 2 * kChunk);
}

TEST_F(BlobViewTest, ZerosAreFetchedFromNowhereAndAreHoles) {
  add_chunks(1);
  for (int i = 0; i < 3; ++i) add_chunk(Bytes(kChunk));
  add_chunks(1);
  store_.content.erase(index_.entries[1].id);
  open();
  expect_reads(500, 4000);
  EXPECT_EQ(store_.asked.size(), 2u);
  std::vector<store::Extent> extents;
  view_->extents(500, 4000, [&](Result<std::vector<store::Extent>> found) { extents = found.value(); });
  turn();
  EXPECT_EQ(extents, (std::vector<store::Extent>{{500, 500, false, false}, {1000, 3000, true, true}, {4000, 500, false, false}}));
}

TEST_F(BlobViewTest, NothingCanBeWritten) {
  add_chunks(1);
  open();
  std::vector<ErrorKind> kinds;
  const auto note = [&](Result<void> result) { kinds.push_back(result.error().kind()); };
  view_->write(0, Bytes(10), store::Durability::written, note);
  view_->zero(0, 10, store::ZeroMode::may_punch, store::Durability::written, note);
  view_->discard(0, 10, note);
  turn();
  EXPECT_EQ(kinds, std::vector<ErrorKind>(3, ErrorKind::read_only));
  EXPECT_TRUE(view_->read_only());
}

TEST_F(BlobViewTest, ADoneMayReadOnOrEndTheView) {
  add_chunks(4);
  open();
  Bytes into(kChunk);
  int ended = 0;
  view_->read(0, into, [&](Result<void>) {
    ++ended;
    view_->read(kChunk, into, [&](Result<void>) {
      ++ended;
      view_.reset();
    });
    view_->read(kChunk, into, [&](Result<void>) { ++ended; });  // the view goes before its turn
  });
  store_.answer_all();
  turn();
  EXPECT_EQ(ended, 2);
  EXPECT_EQ(view_, nullptr);
}

TEST_F(BlobViewTest, WhatComesAfterTheViewHasGoneIsDropped) {
  add_chunks(2);
  open();
  bool ended = false;
  Bytes into(2 * kChunk);
  view_->read(0, into, [&](Result<void>) { ended = true; });
  view_.reset();
  store_.answer_all();
  turn();
  EXPECT_FALSE(ended);
}

TEST_F(BlobViewTest, AnEmptyBlobHasNothingToRead) {
  open();
  EXPECT_EQ(view_->size(), 0u);
  expect_reads(0, 0);
  view_->prefetch(0, 10);
  EXPECT_TRUE(store_.asked.empty());
}

// On a real store: damage, loss and recovery of its files.
TEST(BlobViewOnADirectory, DamageAndLossAreErrorsOfTheirChunksAndEndWithTheirCause) {
  const TemporaryFolder folder;
  net::EventLoop loop;
  const auto workers = net::make_workers(loop, 2);
  const auto store = std::move(*open_local_store(folder / "store", true, {}, *workers, loop));
  const store::conformance::Pump pump = [&] { loop.run(); };
  Index index;
  Bytes blob;
  Random random(3);
  for (int i = 0; i < 6; ++i) {
    const Bytes data = store::conformance::patterned(5000, random);
    const ChunkId id = chunk_id_of(data, index.header.digest());
    ASSERT_TRUE(store::conformance::wait_for<bool>(pump, [&](auto done) { store->put(id, data, std::move(done)); }));
    append(blob, data);
    index.entries.push_back({blob.size(), id});
  }
  const auto path = [&](std::size_t i) { return folder / "store" + "/" + chunk_name(index.entries[i].id, true); };
  const auto log = std::make_shared<LogCapture>();
  // So small that nothing stays between reads.
  BlobView view("b", index, *store, loop, {.cache_bytes_max = 1, .requests_max = 4, .read_ahead = {.window_bytes_max = 0}},
                Log(log, LogLevel::info));
  store::conformance::Blocking device(view, pump);
  EXPECT_EQ(device.read(0, blob.size()).value(), blob);
  std::filesystem::remove(path(1));
  std::ofstream(path(1), std::ios::binary) << "damage";
  std::filesystem::remove(path(2));
  EXPECT_EQ(device.read(5000, 10).error().kind(), ErrorKind::corrupt);
  EXPECT_EQ(device.read(10'000, 10).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(device.read(15'000, 15'000));
  for (const std::size_t i : {1u, 2u}) EXPECT_TRUE(log->contains(index.entries[i].id.hex()));
  // The whole store goes, and comes back.
  for (const auto& entry : std::filesystem::directory_iterator(folder / "store")) std::filesystem::remove_all(entry);
  EXPECT_EQ(device.read(0, 10).error().kind(), ErrorKind::not_found);
  for (std::size_t i = 0; i < index.entries.size(); ++i)
    ASSERT_TRUE(store::conformance::wait_for<bool>(
        pump, [&](auto done) { store->put(index.entries[i].id, ConstBytes(blob).subspan(i * 5000, 5000), std::move(done)); }));
  EXPECT_EQ(device.read(0, blob.size()).value(), blob);
}

}  // namespace
