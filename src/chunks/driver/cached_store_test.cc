#include "chunks/driver/cached_store.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

namespace godwit::chunks {
namespace {

class CachedStoreTest : public ::testing::Test {
 protected:
  static constexpr Digest kDigest = Digest::sha512_256;

  std::unique_ptr<ChunkStore> open(const std::string& name) {
    return std::move(open_local_store(folder_ / name, true, {}, *workers_, loop_).value());
  }
  template <class T, class Start>
  Result<T> wait(Start start) {
    return store::conformance::wait_for<T>([this] { loop_.run(); }, start);
  }
  static ChunkId id_of(std::string_view text) { return chunk_id_of(as_bytes(text), kDigest); }
  Result<bool> put(ChunkStore& store, std::string_view text) {
    return wait<bool>([&](auto done) { store.put(id_of(text), as_bytes(text), std::move(done)); });
  }
  Result<Bytes> get(ChunkStore& store, std::string_view text) {
    return wait<Bytes>([&](auto done) { store.get(id_of(text), kDigest, 1 << 20, std::move(done)); });
  }
  std::string file_of(const std::string& store, std::string_view text) {
    return folder_ / store + "/" + chunk_name(id_of(text), true);
  }
  void write(const std::string& path, std::string_view content) {
    std::filesystem::remove(path);
    std::ofstream(path, std::ios::binary) << content;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::shared_ptr<CacheTally> tally_ = std::make_shared<CacheTally>(0);
  std::unique_ptr<ChunkStore> store_ = make_cached_store(open("near"), open("far"), tally_);
};

TEST_F(CachedStoreTest, WhatTheCacheGivesIsCounted) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  ASSERT_TRUE(get(*store_, "a chunk"));
  EXPECT_EQ(*tally_, 0u) << "it came from behind";
  ASSERT_TRUE(get(*store_, "a chunk"));
  EXPECT_EQ(*tally_, 7u);
  Bytes memory[] = {Bytes(7), Bytes(7), Bytes(7)};
  WantedChunk wanted[] = {{.id = id_of("a chunk"), .into = memory[0], .got = false},
                          {.id = id_of("another"), .into = memory[1], .got = false},
                          {.id = id_of("a chunk"), .into = memory[2], .got = true}};
  store_->reader()->read(wanted, kDigest);
  EXPECT_TRUE(wanted[0].got);
  EXPECT_EQ(*tally_, 14u) << "neither what it has not nor what somebody else had";
}

TEST_F(CachedStoreTest, WhatWasFetchedOnceIsFoundHere) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  EXPECT_FALSE(std::filesystem::exists(file_of("near", "a chunk"))) << "it is filled by reading";
  EXPECT_EQ(as_text(get(*store_, "a chunk").value()), "a chunk");
  std::filesystem::remove(file_of("far", "a chunk"));
  EXPECT_EQ(as_text(get(*store_, "a chunk").value()), "a chunk");
}

TEST_F(CachedStoreTest, DamageHereIsFetchedAgainAndReplaced) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  ASSERT_TRUE(get(*store_, "a chunk"));
  write(file_of("near", "a chunk"), "no chunk");
  EXPECT_EQ(as_text(get(*store_, "a chunk").value()), "a chunk");
  std::filesystem::remove(file_of("far", "a chunk"));
  EXPECT_EQ(as_text(get(*store_, "a chunk").value()), "a chunk") << "the copy is good again";
}

TEST_F(CachedStoreTest, DamageBehindIsToldAndNotKept) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  write(file_of("far", "a chunk"), "no chunk");
  EXPECT_EQ(get(*store_, "a chunk").error().kind(), ErrorKind::corrupt);
  EXPECT_FALSE(std::filesystem::exists(file_of("near", "a chunk")));
}

TEST_F(CachedStoreTest, WhatIsNowhereIsNotFoundBehind) {
  const Result<Bytes> found = get(*store_, "a chunk");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::not_found);
  EXPECT_NE(found.error().message().find("far"), std::string::npos) << found.error().message();
}

TEST_F(CachedStoreTest, WhatCanNotBeKeptIsGivenAllTheSame) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  // A file where the chunk's folder would be: nothing can be written below it, by root neither.
  write(folder_ / "near/" + chunk_name(id_of("a chunk"), true).substr(0, 4), "in the way");
  EXPECT_EQ(as_text(get(*store_, "a chunk").value()), "a chunk");
}

TEST_F(CachedStoreTest, HasAsksBehind) {
  ASSERT_TRUE(put(*store_, "a chunk"));
  const auto has = [&] { return wait<std::vector<bool>>([&](auto done) { store_->has({id_of("a chunk")}, std::move(done)); }); };
  EXPECT_EQ(has().value(), std::vector<bool>{true});
  ASSERT_TRUE(get(*store_, "a chunk"));
  std::filesystem::remove(file_of("far", "a chunk"));
  EXPECT_EQ(has().value(), std::vector<bool>{false});
}

}  // namespace
}  // namespace godwit::chunks
