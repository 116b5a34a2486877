#include "chunks/driver/held_chunk.h"

#include <gtest/gtest.h>

#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "store/memory_blobs.h"

namespace godwit::chunks {
namespace {

// A store that has nothing, and counts what it is asked for.
class CountingStore final : public ChunkStore {
 public:
  CountingStore(int& asked, net::Scheduler& scheduler) : asked_(asked), scheduler_(scheduler) {}
  const std::string& title() const override { return title_; }
  void get(const ChunkId&, Digest, std::uint64_t, Done<Bytes> done) override {
    ++asked_;
    scheduler_.post([done = std::move(done)]() mutable { done(fail(ErrorKind::not_found, "none")); });
  }
  void has(std::vector<ChunkId>, Done<std::vector<bool>>) override { FAIL(); }
  void put(const ChunkId&, ConstBytes, Done<bool>) override { FAIL(); }
  void sync(Done<void>) override { FAIL(); }
  void remove(const ChunkId&, Done<void>) override { FAIL(); }
  std::shared_ptr<ChunkReader> reader() override { return std::make_shared<Reader>(asked_); }

 private:
  class Reader final : public ChunkReader {
   public:
    explicit Reader(int& asked) : asked_(asked) {}
    void read(std::span<WantedChunk> wanted, Digest) override {
      asked_ += static_cast<int>(std::ranges::count(wanted, false, &WantedChunk::got));
    }

   private:
    int& asked_;
  };
  int& asked_;
  net::Scheduler& scheduler_;
  const std::string title_ = "counting";
};

class HeldChunkTest : public ::testing::Test {
 protected:
  Result<Bytes> get(const ChunkId& id, Digest digest, std::uint64_t size_max) {
    return store::conformance::wait_for<Bytes>([this] { loop_.run(); },
                                               [&](auto done) { store_->get(id, digest, size_max, std::move(done)); });
  }
  const Bytes data_ = to_bytes(as_bytes("abc"));
  const ChunkId id_ = chunk_id_of(data_, Digest::sha256);
  int asked_ = 0;
  net::EventLoop loop_;
  std::unique_ptr<ChunkStore> store_ =
      make_store_with_chunk(std::make_unique<CountingStore>(asked_, loop_), id_, Digest::sha256, data_, loop_);
};

TEST_F(HeldChunkTest, WhatIsHeldIsNotAskedFor) {
  EXPECT_EQ(get(id_, Digest::sha256, 3).value(), data_);
  EXPECT_EQ(get(id_, Digest::sha256, 1000).value(), data_) << "as often as it is wanted";
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(store_->title(), "counting");
}

TEST_F(HeldChunkTest, AllElseIs) {
  EXPECT_FALSE(get(ChunkId{}, Digest::sha256, 1000));
  EXPECT_FALSE(get(id_, Digest::sha512_256, 1000)) << "it was verified by the other digest";
  EXPECT_FALSE(get(id_, Digest::sha256, 2)) << "what may not be so long is for the store to refuse";
  EXPECT_EQ(asked_, 3);
}

TEST_F(HeldChunkTest, AReaderIsGivenItToo) {
  Bytes memory[] = {Bytes(3), Bytes(3), Bytes(4)};
  WantedChunk wanted[] = {{.id = id_, .into = memory[0], .got = false},
                          {.id = ChunkId{}, .into = memory[1], .got = false},
                          {.id = id_, .into = memory[2], .got = false}};
  store_->reader()->read(wanted, Digest::sha256);
  EXPECT_TRUE(wanted[0].got);
  EXPECT_EQ(memory[0], data_);
  EXPECT_FALSE(wanted[1].got);
  EXPECT_FALSE(wanted[2].got) << "of another length";
  EXPECT_EQ(asked_, 2);
}

TEST_F(HeldChunkTest, NobodyIsCalledOnceItIsGone) {
  store_->get(id_, Digest::sha256, 3, [](const Result<Bytes>&) { FAIL(); });
  store_.reset();
  loop_.run();
}

}  // namespace
}  // namespace godwit::chunks
