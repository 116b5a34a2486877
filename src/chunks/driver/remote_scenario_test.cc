// Client and server of the remote protocol against each other in a simulated world: every operation, links that are cut at a
// moment the seed chooses, and peers that say what they like. GODWIT_SEEDS sets the number of seeds.
#include "chunks/driver/remote_scene_test.h"

namespace godwit::chunks {
namespace {

constexpr Duration kLong = Duration::seconds(100);

// Fetches all chunks; what came, by id.
struct Fetch {
  Fetch(RemoteStore& store, const std::vector<ChunkId>& ids) : left(ids.size()) {
    for (const ChunkId& id : ids)
      store.get(id, Digest::sha512_256, 1 << 20, [this, id](Result<Bytes> chunk) {
        --left;
        if (chunk)
          came[id] = std::move(*chunk);
        else
          errors.push_back(chunk.error());
      });
  }
  std::size_t left;
  std::map<ChunkId, Bytes> came;
  std::vector<Error> errors;
};

TEST(Remote, ChunksArePulledWhateverTheirForm) {
  for (const std::uint64_t seed : sim::scenario_seeds(20)) {
    RemoteScene scene(seed);
    std::vector<ChunkId> ids;
    for (int i = 0; i < 60; ++i)
      ids.push_back(scene.add_chunk(*scene.far_blobs, 1 + scene.world.random().below(100'000), i % 3 != 0));
    scene.serve({false, "", "", {scene.far_blobs.get()}});
    auto store = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
    Fetch fetch(*store, ids);
    ASSERT_TRUE(scene.world.run_until([&] { return fetch.left == 0; }, kLong)) << scene.world.report();
    EXPECT_EQ(fetch.came, scene.content) << "seed " << seed;
    std::optional<Result<void>> closed;
    store->close([&](Result<void> result) { closed = std::move(result); });
    ASSERT_TRUE(scene.world.run_until([&] { return closed && !scene.server_results.empty(); }, kLong));
    EXPECT_TRUE(*closed);
    EXPECT_TRUE(scene.server_results[0]);
  }
}

TEST(Remote, AMissingChunkIsMissedAloneAndADamagedOneEndsTheSession) {
  RemoteScene scene(1);
  const ChunkId good = scene.add_chunk(*scene.far_blobs, 1000, true);
  ChunkId absent, damaged;
  absent.bytes[0] = std::byte{1};
  damaged.bytes[0] = std::byte{2};
  scene.put(*scene.far_blobs, chunk_name(damaged, true), to_bytes(as_bytes("no zstd")));
  scene.serve({false, "", "", {scene.far_blobs.get()}});
  auto store = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
  Fetch first(*store, {absent, good});
  ASSERT_TRUE(scene.world.run_until([&] { return first.left == 0; }, kLong));
  EXPECT_EQ(first.came.count(good), 1u);
  ASSERT_EQ(first.errors.size(), 1u);
  EXPECT_EQ(first.errors[0].kind(), ErrorKind::not_found);
  Fetch second(*store, {damaged});
  ASSERT_TRUE(scene.world.run_until([&] { return second.left == 0; }, kLong));
  ASSERT_EQ(second.errors.size(), 1u);
  EXPECT_NE(second.errors[0].message().find(damaged.hex()), std::string::npos) << second.errors[0].message();
}

TEST(Remote, AChunkAskedForAgainComesInAFreshSession) {
  RemoteScene scene(2);
  const ChunkId id = scene.add_chunk(*scene.far_blobs, 1000, true);
  scene.serve({false, "", "", {scene.far_blobs.get()}});
  auto store = make_remote_store("far", scene.connector(3), scene.near.scheduler(), scene.near.workers());
  for (int i = 1; i <= 3; ++i) {
    Fetch fetch(*store, {id, id});
    ASSERT_TRUE(scene.world.run_until([&] { return fetch.left == 0; }, kLong));
    EXPECT_EQ(fetch.came, scene.content);
    EXPECT_EQ(scene.sessions, i) << "two who want it at once share one request";
  }
}

TEST(Remote, ACutWhilePullingIsTakenUpInAnotherSession) {
  for (const std::uint64_t seed : sim::scenario_seeds(30)) {
    RemoteScene scene(seed);
    std::vector<ChunkId> ids;
    for (int i = 0; i < 60; ++i) ids.push_back(scene.add_chunk(*scene.far_blobs, 1 + scene.world.random().below(100'000), true));
    scene.serve({false, "", "", {scene.far_blobs.get()}});
    // One stream at first, so that the cut takes one; a second one lies ready behind it.
    RemoteConnector connect = scene.connector(1);
    auto store = make_remote_store("far", connect, scene.near.scheduler(), scene.near.workers());
    Fetch fetch(*store, ids);
    scene.world.run_until([&] { return fetch.came.size() > scene.world.seed() % 50; }, kLong);
    ASSERT_GT(fetch.came.size(), 0u);
    scene.fabric.cut("near", "far");
    if (Result<RemoteConnection> second = scene.connect()) scene.ready.push_back(std::move(*second));
    ASSERT_TRUE(scene.world.run_until([&] { return fetch.left == 0; }, kLong)) << scene.world.report();
    // What came is right, and what did not is told; with a second stream in time everything came.
    for (const auto& [id, data] : fetch.came) EXPECT_EQ(data, scene.content.at(id));
    EXPECT_EQ(fetch.came.size() + fetch.errors.size(), ids.size());
    for (const Error& error : fetch.errors) EXPECT_EQ(error.kind(), ErrorKind::connection_lost) << error.message();
  }
}

// What a push leaves at the far end: all or nothing.
void check_push(RemoteScene& scene, const std::string& source, const std::vector<ChunkId>& ids, const Result<void>& result) {
  const std::vector<std::string> names = scene.file_names();
  const bool installed = std::ranges::find(names, "far.caibx") != names.end();
  EXPECT_TRUE(installed || !result) << "a success means that it is there";
  if (!installed) return;
  EXPECT_EQ(scene.file("far.caibx"), scene.file(source));
  for (const ChunkId& id : ids) {
    const auto has = sim::wait_for<std::vector<bool>>(scene.world, [&](net::Done<std::vector<bool>> done) {
      scene.far_blobs->has({chunk_name(id, true), chunk_name(id, false)}, std::move(done));
    });
    ASSERT_TRUE(has);
    EXPECT_TRUE((*has)[0] || (*has)[1]) << "an index names a chunk that is not stored";
  }
}

struct PushScene : RemoteScene {
  explicit PushScene(std::uint64_t seed) : RemoteScene(seed) {
    for (int i = 0; i < 40; ++i) ids.push_back(add_chunk(*near_blobs, 1 + world.random().below(60'000), i % 4 != 0));
    for (int i = 0; i < 5; ++i) ids.push_back(ids[static_cast<std::size_t>(i)]);  // some come twice
    write_index("near.caibx", ids);
    serve({true, folder / "far.caibx", "", {far_blobs.get()}});
  }
  void start(HelloFlags wants = 0xe00) {
    Result<RemoteConnection> connection = connect();
    ASSERT_TRUE(connection);
    auto pushing = push_to_remote(near.scheduler(), near.workers(), std::move(*connection),
                                  {wants, folder / "near.caibx", {near_blobs.get()}},
                                  [this](Result<void> done) { result = std::move(done); });
    ASSERT_TRUE(pushing);
    transfer = std::move(*pushing);
  }
  std::vector<ChunkId> ids;
  std::unique_ptr<RemoteTransfer> transfer;
  std::optional<Result<void>> result;
};

TEST(Remote, APushIsThereWhenItSaysSo) {
  for (const std::uint64_t seed : sim::scenario_seeds(20)) {
    PushScene scene(seed);
    scene.start();
    ASSERT_TRUE(scene.world.run_until([&] { return scene.result && !scene.server_results.empty(); }, kLong))
        << scene.world.report();
    ASSERT_TRUE(*scene.result) << scene.result->error().message();
    EXPECT_TRUE(scene.server_results[0]);
    check_push(scene, "near.caibx", scene.ids, *scene.result);
    EXPECT_EQ(scene.file_names(), (std::vector<std::string>{"far.caibx", "near.caibx"})) << "nothing temporary stays";
  }
}

TEST(Remote, AnIndexPushedAloneIsConfirmed) {
  PushScene scene(3);
  scene.start(0x400);
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result.has_value(); }, kLong));
  ASSERT_TRUE(*scene.result) << scene.result->error().message();
  EXPECT_EQ(scene.file("far.caibx"), scene.file("near.caibx"));
}

TEST(Remote, APushThatIsCutInstallsAllOrNothing) {
  for (const std::uint64_t seed : sim::scenario_seeds(30)) {
    PushScene scene(seed);
    scene.start();
    scene.world.run_for(Duration::milliseconds(static_cast<std::int64_t>(scene.world.random().below(400))));
    scene.fabric.cut("near", "far");
    ASSERT_TRUE(scene.world.run_until([&] { return scene.result && !scene.server_results.empty(); }, kLong))
        << scene.world.report();
    check_push(scene, "near.caibx", scene.ids, *scene.result);
    scene.links.clear();
    scene.world.run_for(Duration::seconds(1));
    for (const std::string& name : scene.file_names())
      EXPECT_TRUE(name == "near.caibx" || name == "far.caibx") << name << " stayed; seed " << seed;
  }
}

TEST(Remote, AClientWithoutOneOfItsChunksIsRefused) {
  PushScene scene(4);
  ASSERT_TRUE(sim::wait_for<void>(
      scene.world, [&](net::Done<void> done) { scene.near_blobs->remove(chunk_name(scene.ids[1], true), std::move(done)); }));
  scene.start();
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result && !scene.server_results.empty(); }, kLong));
  ASSERT_FALSE(*scene.result);
  EXPECT_NE(scene.result->error().message().find(scene.ids[1].hex()), std::string::npos) << scene.result->error().message();
  check_push(scene, "near.caibx", scene.ids, *scene.result);
}

TEST(Remote, AClientThatSendsAnotherChunkIsRefused) {
  PushScene scene(5);
  const std::string name = chunk_name(scene.ids[1], true);
  ASSERT_TRUE(sim::wait_for<void>(scene.world, [&](net::Done<void> done) { scene.near_blobs->remove(name, std::move(done)); }));
  Bytes other;
  ASSERT_TRUE(ChunkEncoder::of(Compression::zstd, std::nullopt)->encode(as_bytes("another"), other));
  scene.put(*scene.near_blobs, name, other);
  scene.start();
  ASSERT_TRUE(scene.world.run_until([&] { return scene.result && !scene.server_results.empty(); }, kLong));
  EXPECT_FALSE(*scene.result);
  EXPECT_EQ(scene.server_results[0].error().kind(), ErrorKind::corrupt) << scene.server_results[0].error().message();
  check_push(scene, "near.caibx", scene.ids, *scene.result);
}

// A peer that says what the seed tells it to: frames of every kind in any order, cut anywhere.
Bytes babble(Random& random, HelloFlags hello) {
  Bytes out;
  wire::encode_message(wire::Hello{random.chance(0.9) ? hello : random.below(0x4000) + 1}, out);
  Bytes data(1 + random.below(300));
  for (int i = 0; i < 30; ++i) {
    ChunkId id;
    id.bytes[0] = static_cast<std::byte>(random.below(4));
    switch (random.below(9)) {
      case 0: wire::encode_message(wire::Piece{wire::File::index, data}, out); break;
      case 1: wire::encode_message(wire::PieceEof{wire::File::index}, out); break;
      case 2: wire::encode_message(wire::Request{wire::Priority::high, {id, id}}, out); break;
      case 3:
      case 4: wire::encode_message(wire::Chunk{id, random.chance(0.5), data}, out); break;
      case 5: wire::encode_message(wire::Missing{id}, out); break;
      case 6: wire::encode_message(wire::Goodbye{}, out); break;
      case 7: wire::encode_message(wire::Abort{random.below(200), "words"}, out); break;
      default:
        if (random.chance(0.1)) append(out, data);  // no frame at all
    }
  }
  if (random.chance(0.5)) out.resize(random.below(out.size()) + 1);
  return out;
}

TEST(Remote, AHostileServerCausesErrorsOnly) {
  for (const std::uint64_t seed : sim::scenario_seeds(100)) {
    RemoteScene scene(seed);
    std::unique_ptr<net::Stream> peer;
    Bytes said = babble(scene.world.random(), 0x05), room(65'536);
    scene.listener =
        std::move(*scene.far.network().listen(*net::Address::parse("far:22", 22), [&](std::unique_ptr<net::Stream> stream) {
          peer = std::move(stream);
          const ConstBytes from[] = {said};
          peer->write(from, [&](Result<void>) { peer->shut_down_sending(); });
        }));
    auto store = make_remote_store("far", scene.connector(1), scene.near.scheduler(), scene.near.workers());
    bool index_ended = false;
    store->fetch_index([](ConstBytes) -> Result<void> { return {}; }, [&](Result<void>) { index_ended = true; });
    std::vector<ChunkId> ids(4);
    for (int i = 0; i < 4; ++i) ids[static_cast<std::size_t>(i)].bytes[0] = static_cast<std::byte>(i);
    Fetch fetch(*store, ids);
    ASSERT_TRUE(scene.world.run_until([&] { return fetch.left == 0 && index_ended; }, Duration::seconds(1000)))
        << scene.world.report() << seed;
    EXPECT_TRUE(fetch.came.empty()) << "none of it was a chunk";
  }
}

TEST(Remote, AHostileClientInstallsAndStoresNothing) {
  for (const std::uint64_t seed : sim::scenario_seeds(100)) {
    RemoteScene scene(seed);
    scene.serve({true, scene.folder / "far.caibx", "", {scene.far_blobs.get()}});
    Result<RemoteConnection> connection = scene.connect();
    ASSERT_TRUE(connection);
    const Bytes said = babble(scene.world.random(), 0xe00);
    const ConstBytes from[] = {said};
    connection->stream->write(from, [&](Result<void>) { connection->stream->shut_down_sending(); });
    ASSERT_TRUE(scene.world.run_until([&] { return !scene.server_results.empty(); }, kLong)) << scene.world.report() << seed;
    EXPECT_FALSE(scene.server_results[0]);
    scene.links.clear();
    scene.world.run_for(Duration::seconds(1));
    EXPECT_TRUE(scene.file_names().empty()) << scene.file_names().front();
  }
}

TEST(Remote, AnArchiveTravelsBothWays) {
  RemoteScene scene(7);
  Bytes archive(300'000);
  for (std::byte& b : archive) b = static_cast<std::byte>(scene.world.random().next());
  std::ofstream(scene.folder / "near.catar", std::ios::binary) << as_text(archive);
  scene.serve({true, "", scene.folder / "far.catar", {}});
  std::optional<Result<void>> result;
  auto connection = scene.connect();
  auto push = push_to_remote(scene.near.scheduler(), scene.near.workers(), std::move(*connection),
                             {hello::kPushArchive, scene.folder / "near.catar", {}},
                             [&](Result<void> done) { result = std::move(done); });
  ASSERT_TRUE(push);
  ASSERT_TRUE(scene.world.run_until([&] { return result.has_value(); }, kLong));
  ASSERT_TRUE(*result) << result->error().message();
  EXPECT_EQ(scene.file("far.catar"), as_text(archive));

  scene.listener.reset();
  scene.serve({false, "", scene.folder / "far.catar", {}});
  Bytes back;
  result.reset();
  connection = scene.connect();
  auto pull = pull_from_remote(
      scene.near.scheduler(), std::move(*connection), wire::File::archive,
      [&](ConstBytes piece) -> Result<void> {
        append(back, piece);
        return {};
      },
      [&](Result<void> done) { result = std::move(done); });
  ASSERT_TRUE(pull);
  ASSERT_TRUE(scene.world.run_until([&] { return result.has_value(); }, kLong));
  ASSERT_TRUE(*result) << result->error().message();
  EXPECT_EQ(back, archive);
}

TEST(Remote, AnIndexThatIsNotThereIsNamed) {
  RemoteScene scene(8);
  scene.serve({false, scene.folder / "none.caibx", "", {}});
  std::optional<Result<void>> result;
  auto pull = pull_from_remote(
      scene.near.scheduler(), std::move(*scene.connect()), wire::File::index, [](ConstBytes) -> Result<void> { return {}; },
      [&](Result<void> done) { result = std::move(done); });
  ASSERT_TRUE(scene.world.run_until([&] { return result.has_value(); }, kLong));
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error().kind(), ErrorKind::not_found);
  EXPECT_NE(result->error().message().find("none.caibx"), std::string::npos) << result->error().message();
}

}  // namespace
}  // namespace godwit::chunks
