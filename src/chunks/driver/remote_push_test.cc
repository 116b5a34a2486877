// Pushes that are cut and go on, and transfers that keep to a rate, in a simulated world.
#include "chunks/driver/remote_scene_test.h"

namespace godwit::chunks {
namespace {

constexpr Duration kLong = Duration::seconds(100);

// A store, which of its blobs were read, and on demand one whose disk takes its time.
class WatchedBlobs final : public store::BlobStore {
 public:
  explicit WatchedBlobs(store::BlobStore& inner) : inner_(inner) {}
  const std::string& title() const override { return inner_.title(); }
  void get(std::string name, std::uint64_t size_max, Done<Bytes> done) override {
    read.push_back(name);
    inner_.get(std::move(name), size_max, std::move(done));
  }
  void has(std::vector<std::string> names, Done<std::vector<bool>> done) override {
    inner_.has(std::move(names), std::move(done));
  }
  void put(std::string name, Bytes content, Done<bool> done) override {
    inner_.put(std::move(name), std::move(content), std::move(done));
  }
  void sync(Done<void> done) override {
    if (holds_syncs)
      held_sync = std::move(done);
    else
      inner_.sync(std::move(done));
  }
  void remove(std::string name, Done<void> done) override { inner_.remove(std::move(name), std::move(done)); }
  void list(std::string folder, Done<std::vector<store::BlobEntry>> done) override {
    inner_.list(std::move(folder), std::move(done));
  }

  std::vector<std::string> read;
  bool holds_syncs = false;
  Done<void> held_sync;

 private:
  store::BlobStore& inner_;
};

struct PushScene : RemoteScene {
  explicit PushScene(std::uint64_t seed) : RemoteScene(seed), watched(*near_blobs) {
    for (int i = 0; i < 60; ++i) ids.push_back(add_chunk(*near_blobs, 1 + world.random().below(60'000), true));
    write_index("near.caibx", ids);
    serve({true, folder / "far.caibx", "", {far_blobs.get()}, nullptr});
  }
  void push(RemoteConnector connector) {
    auto started =
        push_over_cuts(near.scheduler(), near.workers(), std::move(connector), {0xe00, folder / "near.caibx", {&watched}},
                       Duration::seconds(1), [this](Result<void> done) { result = std::move(done); });
    ASSERT_TRUE(started) << started.error().message();
    transfer = std::move(*started);
  }
  // By id, whether the far end has it.
  std::vector<bool> stored() {
    std::vector<std::string> names;
    for (const ChunkId& id : ids) names.push_back(chunk_name(id, true));
    return *sim::wait_for<std::vector<bool>>(
        world, [&](Done<std::vector<bool>> done) { far_blobs->has(std::move(names), std::move(done)); });
  }

  WatchedBlobs watched;
  std::vector<ChunkId> ids;
  std::unique_ptr<RemoteTransfer> transfer;
  std::optional<Result<void>> result;
};

TEST(RemotePush, ACutPushGoesOnAndSendsNothingThatIsStored) {
  int resumed = 0;
  for (const std::uint64_t seed : sim::scenario_seeds(40)) {
    SCOPED_TRACE(seed);
    PushScene scene(seed);
    scene.push(scene.connector(1));
    // In the midst of it: one chunk to half of them have been taken from the store to be sent.
    const std::size_t begun = 1 + seed % (scene.ids.size() / 2);
    ASSERT_TRUE(scene.world.run_until([&] { return scene.watched.read.size() >= begun; }, kLong)) << scene.world.report();
    scene.world.run_for(Duration::microseconds(static_cast<std::int64_t>(scene.world.random().below(5000))));
    scene.fabric.cut("near", "far");
    // The far end notices and stores what it has; the pause of a second is longer than that.
    ASSERT_TRUE(scene.world.run_until([&] { return !scene.server_results.empty(); }, Duration::milliseconds(500)))
        << scene.world.report();
    scene.world.run_for(Duration::milliseconds(100));
    const std::vector<bool> stored = scene.stored();
    scene.watched.read.clear();
    if (Result<RemoteConnection> second = scene.connect()) scene.ready.push_back(std::move(*second));
    ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong)) << scene.world.report();
    for (std::size_t i = 0; i < scene.ids.size(); ++i)
      EXPECT_FALSE(stored[i] && std::ranges::count(scene.watched.read, chunk_name(scene.ids[i], true)) > 0)
          << "chunk " << i << " was there and is sent again";
    if (scene.sessions < 2) continue;  // it was through, or nothing had been asked for yet
    ++resumed;
    ASSERT_TRUE(*scene.result) << scene.result->error().message();
    EXPECT_EQ(scene.file("far.caibx"), scene.file("near.caibx"));
    // What was lost on the way counts twice, what nobody got to send the first time does not.
    const RemoteCounts counts = scene.transfer->so_far();
    EXPECT_GE(counts.chunks_sent, scene.ids.size());
    EXPECT_EQ(counts.chunks_asked, counts.chunks_sent);
    EXPECT_EQ(counts.file_bytes, scene.file("near.caibx").size());
    EXPECT_EQ(std::ranges::count(scene.stored(), false), 0);
  }
  EXPECT_GT(resumed, 0) << "no push was cut in its midst: it tests nothing";
}

TEST(RemotePush, WhatWasAskedForAndSentIsCounted) {
  PushScene scene(11);
  // The far end has every other chunk.
  std::uint64_t bytes = 0;
  std::size_t there = 0;
  for (std::size_t i = 0; i < scene.ids.size(); ++i) {
    Bytes chunk = *sim::wait_for<Bytes>(
        scene.world, [&](Done<Bytes> done) { scene.near_blobs->get(chunk_name(scene.ids[i], true), 1 << 20, std::move(done)); });
    if (i % 2 == 1) {
      bytes += chunk.size();
      continue;
    }
    ++there;
    (void)sim::wait_for<bool>(scene.world, [&](Done<bool> done) {
      scene.far_blobs->put(chunk_name(scene.ids[i], true), std::move(chunk), std::move(done));
    });
  }
  scene.push(scene.connector(1));
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong)) << scene.world.report();
  ASSERT_TRUE(*scene.result) << scene.result->error().message();
  const RemoteCounts counts = scene.transfer->so_far();
  EXPECT_EQ(counts.file_bytes, scene.file("near.caibx").size());
  EXPECT_EQ(counts.chunks_asked, scene.ids.size() - there);
  EXPECT_EQ(counts.chunks_sent, scene.ids.size() - there);
  EXPECT_EQ(counts.chunk_bytes, bytes);
}

TEST(RemotePush, ACutBeforeAnythingWasAskedForIsTheEnd) {
  PushScene scene(1);
  scene.push(scene.connector(2));
  scene.fabric.cut("near", "far");
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong));
  ASSERT_FALSE(*scene.result);
  EXPECT_EQ(scene.result->error().kind(), ErrorKind::connection_lost) << scene.result->error().message();
  EXPECT_EQ(scene.sessions, 1);
}

// As a real casync does it whose disk is full: it asks, and is gone without a word.
TEST(RemotePush, AServerThatLeavesEachTimeIsGivenUp) {
  PushScene scene(4);
  Bytes said;
  wire::encode_message(wire::Hello{hello::kWritableStore | hello::kWritableIndex}, said);
  wire::encode_message(wire::Request{wire::Priority::low, {scene.ids[0]}}, said);
  std::vector<std::unique_ptr<net::Stream>> streams;
  scene.listener.reset();
  scene.listener =
      std::move(*scene.far.network().listen(*net::Address::parse("far:22", 22), [&](std::unique_ptr<net::Stream> stream) {
        net::Stream* const raw = streams.emplace_back(std::move(stream)).get();
        const ConstBytes from[] = {said};
        raw->write(from, [raw](Result<void>) { raw->shut_down_sending(); });
      }));
  scene.push(scene.connector(20));
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong));
  ASSERT_FALSE(*scene.result);
  EXPECT_EQ(scene.result->error().kind(), ErrorKind::connection_lost) << scene.result->error().message();
  EXPECT_EQ(scene.sessions, static_cast<int>(kPushSessionsMax));
}

TEST(RemotePush, ARefusalIsNotTriedAgain) {
  PushScene scene(2);
  ASSERT_TRUE(sim::wait_for<void>(
      scene.world, [&](Done<void> done) { scene.near_blobs->remove(chunk_name(scene.ids[30], true), std::move(done)); }));
  scene.push(scene.connector(2));
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong));
  ASSERT_FALSE(*scene.result);
  EXPECT_EQ(scene.result->error().kind(), ErrorKind::not_found) << scene.result->error().message();
  EXPECT_EQ(scene.sessions, 1);
}

TEST(RemotePush, NothingIsCalledAfterItIsGone) {
  PushScene scene(3);
  scene.push(scene.connector(2));
  ASSERT_TRUE(scene.world.run_until([&] { return scene.watched.read.size() >= 5; }, kLong));
  scene.fabric.cut("near", "far");
  scene.world.run_for(Duration::milliseconds(500));
  ASSERT_FALSE(scene.result) << "it was cut after it was through";
  scene.transfer.reset();  // in its pause
  scene.world.run_for(Duration::seconds(5));
  EXPECT_FALSE(scene.result);
  EXPECT_EQ(scene.sessions, 1);
}

// 60 chunks of random bytes, some 1.8 MB, at 100 kB/s.
TEST(RemoteRate, BothEndsCanKeepToIt) {
  for (const bool at_client : {true, false}) {
    for (const bool is_push : {true, false}) {
      SCOPED_TRACE(at_client ? "client's limit" : "server's limit");
      SCOPED_TRACE(is_push ? "push" : "pull");
      RemoteScene scene(5);
      std::vector<ChunkId> ids;
      std::uint64_t bytes = 0;
      for (int i = 0; i < 60; ++i) {
        ids.push_back(scene.add_chunk(is_push ? *scene.near_blobs : *scene.far_blobs, 30'000, true));
        bytes += 30'000;
      }
      const auto rate = std::make_shared<RemoteRate>(100'000, (at_client ? scene.near : scene.far).scheduler().now());
      if (at_client) scene.rate = rate;
      scene.write_index("near.caibx", ids);
      scene.serve({is_push, is_push ? scene.folder / "far.caibx" : "", "", {scene.far_blobs.get()}, at_client ? nullptr : rate});
      const Instant begun = scene.world.now();
      bool ended = false;
      std::unique_ptr<RemoteTransfer> transfer;
      std::unique_ptr<RemoteStore> store;
      std::size_t left = ids.size();
      if (is_push) {
        transfer = *push_over_cuts(scene.near.scheduler(), scene.near.workers(), scene.connector(1),
                                   {0xe00, scene.folder / "near.caibx", {scene.near_blobs.get()}}, Duration::seconds(1),
                                   [&](Result<void> done) {
                                     EXPECT_TRUE(done) << done.error().message();
                                     ended = true;
                                   });
      } else {
        store = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
        for (const ChunkId& id : ids)
          store->get(id, Digest::sha512_256, 1 << 20, [&](Result<Bytes> chunk) {
            EXPECT_TRUE(chunk && chunk->size() == 30'000);
            ended = --left == 0;
          });
      }
      ASSERT_TRUE(scene.world.run_until([&] { return ended; }, kLong)) << scene.world.report();
      const double seconds = (scene.world.now() - begun).as_seconds();
      EXPECT_GE(seconds, static_cast<double>(bytes) / 100'000 - 1);
      EXPECT_LE(seconds, static_cast<double>(bytes) / 100'000 * 1.05 + 1);
    }
  }
}

// An index's session and a store's have the rate together.
TEST(RemoteRate, LinksOfAProcessShareIt) {
  RemoteScene scene(6);
  std::vector<ChunkId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(scene.add_chunk(*scene.far_blobs, 30'000, true));
  scene.rate = std::make_shared<RemoteRate>(100'000, scene.near.scheduler().now());
  scene.serve({false, "", "", {scene.far_blobs.get()}, nullptr});
  auto first = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
  std::size_t left = ids.size();
  const Instant begun = scene.world.now();
  const auto count = [&](Result<Bytes> chunk) {
    EXPECT_TRUE(chunk);
    --left;
  };
  for (std::size_t i = 0; i < 20; ++i) first->get(ids[i], Digest::sha512_256, 1 << 20, count);
  auto second = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
  for (std::size_t i = 20; i < 40; ++i) second->get(ids[i], Digest::sha512_256, 1 << 20, count);
  ASSERT_TRUE(scene.world.run_until([&] { return left == 0; }, kLong)) << scene.world.report();
  EXPECT_GE((scene.world.now() - begun).as_seconds(), 11.0);
}

TEST(RemotePush, AnIndexHasItsPlaceOnlyWhenItsChunksAreDurable) {
  RemoteScene scene(1);
  std::vector<ChunkId> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(scene.add_chunk(*scene.near_blobs, 10'000, true));
  scene.write_index("near.caibx", ids);
  WatchedBlobs far(*scene.far_blobs);
  far.holds_syncs = true;
  scene.serve({true, scene.folder / "far.caibx", "", {&far}, nullptr});
  std::optional<Result<void>> result;
  auto transfer = push_over_cuts(scene.near.scheduler(), scene.near.workers(), scene.connector(1),
                                 {0xe00, scene.folder / "near.caibx", {scene.near_blobs.get()}}, Duration::seconds(1),
                                 [&](Result<void> done) { result = std::move(done); });
  ASSERT_TRUE(transfer) << transfer.error().message();
  ASSERT_TRUE(scene.world.run_until([&] { return far.held_sync != nullptr; }, kLong)) << scene.world.report();
  scene.world.run_for(Duration::seconds(1));
  EXPECT_FALSE(std::filesystem::exists(scene.folder / "far.caibx"));
  EXPECT_FALSE(result) << "the client is told that all is there";
  far.held_sync({});
  ASSERT_TRUE(scene.world.run_until([&] { return result.has_value(); }, kLong)) << scene.world.report();
  EXPECT_TRUE(*result) << result->error().message();
  EXPECT_EQ(scene.file("far.caibx"), scene.file("near.caibx"));
}

}  // namespace
}  // namespace godwit::chunks
