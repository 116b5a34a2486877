// The port that volumes declare for blocks by their hash, and the chunk engine's answer to it: that the two fit.
#include "chunks/driver/block_lookup.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "volume/driver/block_source.h"

using namespace godwit;
using store::conformance::wait_for;

namespace {

constexpr std::size_t kBlock = 65536;

class ChunkBlocks final : public volume::BlockSource {
 public:
  explicit ChunkBlocks(chunks::ChunkStore& store) : lookup_(store, kBlock) {}
  void fetch(const Sha256& hash, net::Done<Bytes> done) override { lookup_.fetch(hash, std::move(done)); }

 private:
  chunks::BlockLookup lookup_;
};

class BlockLookupTest : public ::testing::Test {
 protected:
  Result<Bytes> fetch(const Sha256& hash) {
    return wait_for<Bytes>(pump_, [&](auto done) { source_->fetch(hash, std::move(done)); });
  }
  // As `make --fixed` does: the chunk's id is the block's SHA-256.
  Sha256 put(const Bytes& block) {
    const Sha256 hash = sha256(block);
    EXPECT_TRUE(wait_for<bool>(pump_, [&](auto done) { store_->put(id_of(hash), block, std::move(done)); }));
    return hash;
  }
  static chunks::ChunkId id_of(const Sha256& hash) {
    chunks::ChunkId id;
    std::ranges::copy(hash, id.bytes.begin());
    return id;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  store::conformance::Pump pump_ = [this] { loop_.run(); };
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<chunks::ChunkStore> store_ =
      std::move(*chunks::open_local_store(folder_ / "store", true, {}, *workers_, loop_));
  std::unique_ptr<volume::BlockSource> source_ = std::make_unique<ChunkBlocks>(*store_);
};

TEST_F(BlockLookupTest, AVolumesBlockIsFoundByItsHashAndVerified) {
  Random random(1);
  const Bytes block = store::conformance::patterned(kBlock, random);
  const Bytes zeros(kBlock);
  const Bytes last = store::conformance::patterned(512, random);  // of a volume that is no multiple
  for (const Bytes& one : {block, zeros, last}) EXPECT_EQ(fetch(put(one)).value(), one);
}

TEST_F(BlockLookupTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(fetch(sha256(Bytes(kBlock))).error().kind(), ErrorKind::not_found);
}

TEST_F(BlockLookupTest, WhatIsDamagedOrNoBlockIsNeverGiven) {
  const Sha256 hash = put(Bytes(kBlock, std::byte{1}));
  const std::string path = folder_ / "store" + "/" + chunks::chunk_name(id_of(hash), true);
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << "damage";
  EXPECT_EQ(fetch(hash).error().kind(), ErrorKind::corrupt);
  EXPECT_EQ(fetch(put(Bytes(kBlock + 1, std::byte{2}))).error().kind(), ErrorKind::corrupt);
}

}  // namespace
