#include "chunks/driver/local_store_sweep.h"

#include <limits>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class LocalStoreSweep : public ::testing::Test {
 protected:
  static ChunkId id_of(const std::string& text) { return chunk_id_of(as_bytes(text), Digest::sha512_256); }
  std::string add(const std::string& text, bool compressed, const std::string& store = "store") {
    const std::string path = folder_ / (store + "/" + chunk_name(id_of(text), compressed));
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
    return path;
  }

  Result<GarbageResult> collect(const std::unordered_set<ChunkId>& wanted, const GarbageOptions& options) {
    const Result<StoreLock> lock = StoreLock::take(store_, StoreLock::Kind::removing);
    if (!lock) return fail(lock.error());
    return collect_garbage(*lock, store_, wanted, options);
  }

  TemporaryFolder folder_;
  std::string store_ = folder_ / "store";
};

TEST_F(LocalStoreSweep, WhatNoIndexNamesGoesInEitherFormAndWithItItsFolder) {
  const std::string kept = add("kept", true);
  const std::string kept_raw = add("kept raw", false);
  const std::string gone = add("gone", true);
  const std::string gone_raw = add("gone raw", false);
  const std::unordered_set<ChunkId> wanted = {id_of("kept"), id_of("kept raw"), id_of("missing")};

  const Result<GarbageResult> tried = collect(wanted, {.dry_run = true, .temporary_before_seconds = 0});
  ASSERT_TRUE(tried) << tried.error().message();
  EXPECT_EQ(tried->removed_chunks, 2u);
  EXPECT_EQ(tried->remaining_chunks, 2u);
  EXPECT_TRUE(std::filesystem::exists(gone));

  const Result<GarbageResult> done = collect(wanted, {});
  ASSERT_TRUE(done);
  EXPECT_EQ(done->removed_chunks, 2u);
  EXPECT_EQ(done->removed_folders, 2u);
  EXPECT_EQ(done->removed_bytes, 12u);
  EXPECT_TRUE(std::filesystem::exists(kept) && std::filesystem::exists(kept_raw));
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(gone).parent_path()));
  EXPECT_FALSE(std::filesystem::exists(gone_raw));
}

TEST_F(LocalStoreSweep, WhoWatchesARemovalSeesItAndCanEndIt) {
  const std::string kept = add("kept", true);
  const std::string gone = add("gone", true);
  GarbageWatch watch;
  watch.is_stopped = true;
  const Result<GarbageResult> stopped = collect({}, {.watch = &watch});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().kind(), ErrorKind::cancelled);
  EXPECT_TRUE(std::filesystem::exists(kept) && std::filesystem::exists(gone));
  EXPECT_EQ(watch.folders_total, 2u);
  EXPECT_EQ(watch.folders_done, 0u);

  GarbageWatch whole;
  ASSERT_TRUE(collect({id_of("kept")}, {.watch = &whole}));
  EXPECT_EQ(whole.folders_done, 2u);
  EXPECT_EQ(whole.bytes_seen, 8u);
  EXPECT_EQ(whole.removed_chunks, 1u);
}

// casync.md 5: the original also walks the folder above the store.
TEST_F(LocalStoreSweep, NothingBesideTheStoreIsTouched) {
  std::filesystem::create_directory(store_);
  const std::string hex = id_of("beside").hex();
  const std::vector<std::string> others = {folder_ / (hex + ".cacnk"), folder_ / ("store/" + hex + ".cacnk"),
                                           folder_ / ("store/other/" + hex + ".cacnk"), add("elsewhere", true, "abcd")};
  std::filesystem::create_directory(folder_ / "store/other");
  for (const std::string& path : others) std::ofstream(path) << "x";
  std::filesystem::create_directory_symlink(folder_ / "abcd", folder_ / "store/abcd");
  const Result<GarbageResult> done = collect({}, {});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->removed_chunks, 0u);
  for (const std::string& path : others) EXPECT_TRUE(std::filesystem::exists(path)) << path;
}

TEST_F(LocalStoreSweep, LeftOversOfWritersGoWhenTheyAreOld) {
  const std::string chunk = add("chunk", true);
  const std::string theirs = chunk.substr(0, chunk.rfind('/')) + "/.tmp-cacnk123";
  const std::string ours = chunk + ".0123456789abcdef.tmp";
  const std::string other = chunk.substr(0, chunk.rfind('/')) + "/README";
  for (const std::string& path : {theirs, ours, other}) std::ofstream(path) << "x";
  EXPECT_EQ(collect({id_of("chunk")}, {.dry_run = false, .temporary_before_seconds = 1})->removed_temporaries, 0u);
  const auto later = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(collect({id_of("chunk")}, {.dry_run = false, .temporary_before_seconds = later})->removed_temporaries, 2u);
  EXPECT_TRUE(std::filesystem::exists(chunk) && std::filesystem::exists(other));
}

TEST_F(LocalStoreSweep, NobodyRemovesWhileSomebodyAdds) {
  add("chunk", true);
  {
    const Result<StoreLock> adding = StoreLock::take(store_, StoreLock::Kind::adding);
    const Result<StoreLock> another = StoreLock::take(store_, StoreLock::Kind::adding);
    ASSERT_TRUE(adding && another);
    EXPECT_EQ(collect({}, {}).error().kind(), ErrorKind::busy);
  }
  EXPECT_EQ(collect({}, {})->removed_chunks, 1u);
  const Result<StoreLock> removing = StoreLock::take(store_, StoreLock::Kind::removing);
  EXPECT_EQ(StoreLock::take(store_, StoreLock::Kind::adding).error().kind(), ErrorKind::busy);
}

TEST_F(LocalStoreSweep, AWalkSeesEveryChunkAndNothingElse) {
  add("one", true);
  add("two", false);
  std::ofstream(add("three", true) + ".tmp") << "x";
  std::vector<std::pair<ChunkId, bool>> seen;
  ASSERT_TRUE(walk_local_store(store_, [&](const StoredChunk& chunk) -> Result<void> {
    seen.emplace_back(chunk.name.id, chunk.name.compressed);
    return {};
  }));
  std::vector<std::pair<ChunkId, bool>> expected = {{id_of("one"), true}, {id_of("two"), false}, {id_of("three"), true}};
  std::ranges::sort(seen);
  std::ranges::sort(expected);
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(walk_local_store(folder_ / "none", [](const StoredChunk&) -> Result<void> { return {}; }).error().kind(),
            ErrorKind::not_found);
}

}  // namespace
