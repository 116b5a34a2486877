#include "chunks/driver/indexed_archive.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/core/golden_inputs.h"
#include "net/event_loop.h"
#include "store/memory_blobs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr std::size_t kChunkSize = 50'000;

class IndexedArchiveTest : public ::testing::Test {
 protected:
  // Cut at equal distances: where does not matter here.
  void fill(ChunkStore& store) {
    for (std::size_t at = 0; at < content_.size(); at += kChunkSize) {
      const ConstBytes chunk = ConstBytes(content_).subspan(at, std::min(kChunkSize, content_.size() - at));
      index_.entries.push_back({.end = at + chunk.size(), .id = chunk_id_of(chunk, index_.header.digest())});
      store.put(index_.entries.back().id, chunk, [](Result<bool> stored) { ASSERT_TRUE(stored); });
    }
    loop_.run();
  }
  // As users do: on a thread of its own, while the loop runs.
  template <class Work>
  void read(ChunkStore& store, Work work) {
    IndexedArchive archive(index_, store, nullptr, *workers_, loop_);
    loop_.hold();
    std::thread reader([&] {
      work(archive);
      loop_.post([this] { loop_.release(); });
    });
    loop_.run();
    reader.join();
  }
  static Result<Bytes> bytes_at(IndexedArchive& archive, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length);
    if (Result<void> done = archive.read(offset, bytes); !done) return fail(done.error());
    return bytes;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 3);
  Index index_;
  // More than is kept ahead.
  Bytes content_ = golden::random_bytes(71, kIndexedArchiveBytesMax + kIndexedArchiveBytesMax / 4 + 12'345);
};

TEST_F(IndexedArchiveTest, ReadsAnywhereWhatTheStoreHas) {
  const auto local = open_local_store(folder_ / "store", true, {.compression = Compression::none, .level = {}}, *workers_, loop_);
  const auto remote =
      make_chunk_store(store::make_memory_blobs(loop_), {.compression = Compression::none, .level = {}}, *workers_);
  for (ChunkStore* store : {local->get(), remote->get()}) {
    index_.entries.clear();
    fill(*store);
    read(*store, [&](IndexedArchive& archive) {
      ASSERT_EQ(archive.size(), content_.size());
      archive.will_read(0, content_.size());
      Bytes all;
      for (std::size_t at = 0; at < content_.size();) {
        const std::size_t length = std::min<std::size_t>(content_.size() - at, 777'777);
        append(all, *bytes_at(archive, at, length));
        at += length;
      }
      EXPECT_EQ(all, content_);
      EXPECT_EQ(archive.so_far().fetched, content_.size());
      EXPECT_EQ(archive.so_far().reused, 0U);
      for (const std::uint64_t at :
           {content_.size() - 10, std::size_t{0}, content_.size() / 2, kChunkSize - 5, content_.size() / 3})
        EXPECT_EQ(*bytes_at(archive, at, 10), to_bytes(ConstBytes(content_).subspan(at, 10))) << at;
    });
  }
}

TEST_F(IndexedArchiveTest, AChunkThatIsDamagedOrMissingIsNamedWhereItIsReadAndNowhereElse) {
  const auto store = open_local_store(folder_ / "store", true, {.compression = Compression::none, .level = {}}, *workers_, loop_);
  fill(**store);
  const ChunkId damaged = index_.entries[7].id;
  const ChunkId missing = index_.entries[9].id;
  std::filesystem::remove(folder_ / ("store/" + chunk_name(damaged, false)));
  std::ofstream(folder_ / ("store/" + chunk_name(damaged, false))) << "damaged";
  std::filesystem::remove(folder_ / ("store/" + chunk_name(missing, false)));
  read(**store, [&](IndexedArchive& archive) {
    EXPECT_TRUE(bytes_at(archive, 0, 7 * kChunkSize));
    Result<Bytes> bytes = bytes_at(archive, 7 * kChunkSize, 1);
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().kind(), ErrorKind::corrupt);
    EXPECT_NE(bytes.error().message().find(damaged.hex()), std::string::npos) << bytes.error().message();
    EXPECT_TRUE(bytes_at(archive, 8 * kChunkSize, kChunkSize));
    bytes = bytes_at(archive, 9 * kChunkSize, 1);
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().kind(), ErrorKind::not_found);
    EXPECT_NE(bytes.error().message().find(missing.hex()), std::string::npos) << bytes.error().message();
    EXPECT_TRUE(bytes_at(archive, 10 * kChunkSize, 3 * kChunkSize));
  });
}

TEST_F(IndexedArchiveTest, OnlyWhatIsReadAndWhatWillBeIsFetched) {
  const auto store =
      std::move(*make_chunk_store(store::make_memory_blobs(loop_), {.compression = Compression::none, .level = {}}, *workers_));
  fill(*store);
  read(*store, [&](IndexedArchive& archive) {
    // Who looks for something jumps, though he begins at the beginning.
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{content_.size() - 10}, std::uint64_t{0}})
      EXPECT_EQ(*bytes_at(archive, at, 10), to_bytes(ConstBytes(content_).subspan(at, 10)));
    const std::size_t looked = archive.so_far().fetched;
    EXPECT_LE(looked, 3 * kChunkSize);
    const std::uint64_t start = content_.size() / 2, length = 10 * kChunkSize;
    archive.will_read(start, start + length);
    for (std::uint64_t at = start; at < start + length; at += kChunkSize / 2)
      EXPECT_EQ(*bytes_at(archive, at, kChunkSize / 2), to_bytes(ConstBytes(content_).subspan(at, kChunkSize / 2)));
    EXPECT_LE(archive.so_far().fetched, looked + length + 2 * kChunkSize);
  });
}

TEST_F(IndexedArchiveTest, WhatSeedsHadIsToldApartFromWhatWasFetched) {
  const auto store = open_local_store(folder_ / "store", true, {.compression = Compression::none, .level = {}}, *workers_, loop_);
  fill(**store);
  // A seed that has every other chunk.
  class Half final : public ChunkReader {
   public:
    Half(const Index& index, ConstBytes content) : index_(index), content_(content) {}
    void read(std::span<WantedChunk> wanted, Digest digest) override {
      read_verified(wanted, digest, [&](WantedChunk& chunk) {
        for (std::size_t i = 0; i < index_.entries.size(); i += 2)
          if (index_.entries[i].id == chunk.id) {
            std::ranges::copy(content_.subspan(index_.start_of(i), chunk.into.size()), chunk.into.begin());
            return true;
          }
        return false;
      });
    }

   private:
    const Index& index_;
    const ConstBytes content_;
  } half(index_, content_);
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < index_.entries.size(); i += 2) expected += index_.length_of(i);
  IndexedArchive archive(index_, **store, &half, *workers_, loop_);
  loop_.hold();
  std::thread reader([&] {
    EXPECT_EQ(bytes_at(archive, 0, content_.size()).value(), content_);
    loop_.post([this] { loop_.release(); });
  });
  loop_.run();
  reader.join();
  EXPECT_EQ(archive.so_far().reused, expected);
  EXPECT_EQ(archive.so_far().fetched, content_.size() - expected);
}

TEST_F(IndexedArchiveTest, ReadsEndWhenItIsGivenUp) {
  const auto store = open_local_store(folder_ / "store", true, {.compression = Compression::none, .level = {}}, *workers_, loop_);
  fill(**store);
  read(**store, [&](IndexedArchive& archive) {
    archive.cancel();
    const Result<Bytes> bytes = bytes_at(archive, 0, 1);
    ASSERT_FALSE(bytes);
    EXPECT_EQ(bytes.error().kind(), ErrorKind::cancelled);
  });
}

}  // namespace
