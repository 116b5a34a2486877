#include "chunks/driver/chunk_store.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "store/memory_blobs.h"

using namespace godwit;
using namespace godwit::chunks;
using store::conformance::wait_for;

namespace {

class ChunkStoreTest : public ::testing::Test {
 protected:
  static constexpr Digest kDigest = Digest::sha512_256;

  std::unique_ptr<ChunkStore> open(const std::string& name, Compression compression = Compression::zstd) {
    return std::move(open_local_store(folder_ / name, true, {.compression = compression, .level = {}}, *workers_, loop_).value());
  }
  template <class T, class Start>
  Result<T> wait(Start start) {
    return wait_for<T>([this] { loop_.run(); }, start);
  }
  Result<Bytes> get(ChunkStore& store, const ChunkId& id, std::uint64_t size_max = 1 << 20, Digest digest = kDigest) {
    return wait<Bytes>([&](auto done) { store.get(id, digest, size_max, std::move(done)); });
  }
  Result<bool> put(ChunkStore& store, std::string_view text) {
    return wait<bool>([&](auto done) { store.put(id_of(text), as_bytes(text), std::move(done)); });
  }
  bool has(ChunkStore& store, std::string_view text) {
    return wait<std::vector<bool>>([&](auto done) { store.has({id_of(text)}, std::move(done)); }).value().at(0);
  }
  static ChunkId id_of(std::string_view text) { return chunk_id_of(as_bytes(text), kDigest); }
  std::string path_of(const std::string& store, std::string_view text, bool compressed) {
    return folder_ / store + "/" + chunk_name(id_of(text), compressed);
  }
  void write(const std::string& path, std::string_view content) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::filesystem::remove(path);
    std::ofstream(path, std::ios::binary) << content;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
};

TEST_F(ChunkStoreTest, NamesAreCasyncs) {
  const ChunkId id = id_of("abc");
  EXPECT_EQ(chunk_name(id, true), "5304/53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23.cacnk");
  EXPECT_EQ(chunk_name(id, false), "5304/53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
  EXPECT_EQ(parse_chunk_name(chunk_name(id, true))->id, id);
  EXPECT_FALSE(parse_chunk_name(chunk_name(id, false))->compressed);
  for (const std::string& bad : {std::string(), "5305" + chunk_name(id, true).substr(4), chunk_name(id, true) + ".tmp",
                                 chunk_name(id, true).substr(1), "5304/" + std::string(64, 'g')})
    EXPECT_FALSE(parse_chunk_name(bad)) << bad;
}

TEST_F(ChunkStoreTest, WhatIsPutComesBackInEveryForm) {
  for (const Compression compression : {Compression::zstd, Compression::xz, Compression::gzip, Compression::none}) {
    const std::string name(name_of(compression));
    const auto store = open(name, compression);
    EXPECT_FALSE(has(*store, "abc"));
    EXPECT_EQ(get(*store, id_of("abc")).error().kind(), ErrorKind::not_found);
    EXPECT_TRUE(put(*store, "abc").value());
    EXPECT_FALSE(put(*store, "abc").value());
    EXPECT_TRUE(has(*store, "abc"));
    EXPECT_EQ(as_text(get(*store, id_of("abc")).value()), "abc");
    EXPECT_TRUE(std::filesystem::exists(path_of(name, "abc", compression != Compression::none)));
    EXPECT_TRUE(wait<void>([&](auto done) { store->sync(std::move(done)); }));
    EXPECT_TRUE(wait<void>([&](auto done) { store->remove(id_of("abc"), std::move(done)); }));
    EXPECT_FALSE(has(*store, "abc"));
    EXPECT_EQ(wait<void>([&](auto done) { store->remove(id_of("abc"), std::move(done)); }).error().kind(), ErrorKind::not_found);
  }
}

TEST_F(ChunkStoreTest, TheOtherFormIsAsGood) {
  const auto raw = open("store", Compression::none);
  const auto packed = open("store", Compression::xz);
  ASSERT_TRUE(put(*raw, "raw chunk"));
  ASSERT_TRUE(put(*packed, "packed chunk"));
  for (ChunkStore* store : {raw.get(), packed.get()}) {
    for (const char* text : {"raw chunk", "packed chunk"}) {
      EXPECT_TRUE(has(*store, text));
      EXPECT_EQ(as_text(get(*store, id_of(text)).value()), text);
    }
  }
}

TEST_F(ChunkStoreTest, EveryReadIsVerifiedAndTheErrorNamesTheChunkAndTheStore) {
  const auto store = open("store");
  struct Row {
    const char* name;
    bool compressed;
    std::string content;
  };
  const std::string good = [&] {
    Bytes out;
    EXPECT_TRUE(ChunkEncoder::of(Compression::zstd, {})->encode(as_bytes("other"), out));
    return std::string(as_text(out));
  }();
  const Row rows[] = {
      {"another chunk's bytes", true, good},
      {"raw bytes under a compressed name", true, "abc"},
      {"nothing", true, ""},
      {"cut off", true, good.substr(0, good.size() - 1)},
      {"other raw bytes", false, "abd"},
      {"empty raw", false, ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    write(path_of("store", "abc", row.compressed), row.content);
    const Result<Bytes> chunk = get(*store, id_of("abc"));
    ASSERT_FALSE(chunk);
    EXPECT_EQ(chunk.error().kind(), ErrorKind::corrupt);
    EXPECT_NE(chunk.error().message().find(id_of("abc").hex()), std::string::npos) << chunk.error().message();
    EXPECT_NE(chunk.error().message().find(folder_ / "store"), std::string::npos) << chunk.error().message();
    std::filesystem::remove(path_of("store", "abc", row.compressed));
  }
}

TEST_F(ChunkStoreTest, AChunkLargerThanTheIndexAllowsIsRefused) {
  const auto store = open("store");
  const std::string text(1000, 'x');
  ASSERT_TRUE(put(*store, text));
  EXPECT_TRUE(get(*store, id_of(text), 1000));
  EXPECT_FALSE(get(*store, id_of(text), 999));
  EXPECT_FALSE(get(*store, id_of(text), 1000, Digest::sha256)) << "and so is one under the other digest";
}

TEST_F(ChunkStoreTest, AChainReadsTheFirstGoodOneAndWritesToTheFirst) {
  std::vector<std::unique_ptr<ChunkStore>> stores;
  stores.push_back(open("first"));
  stores.push_back(open("second"));
  const auto chain = make_store_chain(std::move(stores));
  const auto second = open("second");
  ASSERT_TRUE(put(*second, "abc"));
  EXPECT_EQ(as_text(get(*chain, id_of("abc")).value()), "abc");
  EXPECT_FALSE(has(*chain, "abc")) << "it is not in the store that is written";
  ASSERT_TRUE(put(*chain, "new"));
  EXPECT_TRUE(std::filesystem::exists(path_of("first", "new", true)));
  write(path_of("first", "abc", true), "damage");
  EXPECT_EQ(as_text(get(*chain, id_of("abc")).value()), "abc");
  std::filesystem::remove(path_of("second", "abc", true));
  EXPECT_EQ(get(*chain, id_of("abc")).error().kind(), ErrorKind::corrupt);
  EXPECT_EQ(get(*chain, id_of("none")).error().kind(), ErrorKind::not_found);
}

TEST_F(ChunkStoreTest, AnyBlobsWillDo) {
  const auto store = std::move(make_chunk_store(store::make_memory_blobs(loop_), {}, *workers_).value());
  ASSERT_TRUE(put(*store, "abc"));
  EXPECT_EQ(as_text(get(*store, id_of("abc")).value()), "abc");
  EXPECT_EQ(
      make_chunk_store(store::make_memory_blobs(loop_), {.compression = Compression::xz, .level = 77}, *workers_).error().kind(),
      ErrorKind::usage);
}

TEST_F(ChunkStoreTest, AReaderGivesWhatIsThereInEitherFormAndNothingElse) {
  const auto store = open("store");
  ASSERT_TRUE(put(*store, "packed"));
  ASSERT_TRUE(put(*open("store", Compression::none), "raw"));
  write(path_of("store", "damaged", true), "not a chunk");
  write(path_of("store", "another's", false), "Another's");
  write(path_of("store", "too long", false), "too long by far");
  const std::shared_ptr<ChunkReader> reader = store->reader();
  ASSERT_NE(reader, nullptr);
  struct Row {
    const char* text;
    bool got;
  };
  const Row rows[] = {{"packed", true},     {"raw", true},       {"damaged", false},
                      {"another's", false}, {"too long", false}, {"absent", false}};
  std::vector<WantedChunk> wanted;
  std::vector<Bytes> memory;
  for (const Row& row : rows) memory.emplace_back(std::string_view(row.text).size());
  for (std::size_t i = 0; i < memory.size(); ++i) wanted.push_back({.id = id_of(rows[i].text), .into = memory[i], .got = false});
  reader->read(wanted, kDigest);
  for (std::size_t i = 0; i < memory.size(); ++i) {
    EXPECT_EQ(wanted[i].got, rows[i].got) << rows[i].text;
    if (rows[i].got) {
      EXPECT_EQ(as_text(memory[i]), rows[i].text);
    }
  }
  // A size that is not the chunk's is no reason to read further.
  Bytes small(3);
  WantedChunk wrong{.id = id_of("packed"), .into = small, .got = false};
  reader->read(std::span(&wrong, 1), kDigest);
  EXPECT_FALSE(wrong.got);
}

TEST_F(ChunkStoreTest, AChainReadsWhereItsFirstStoreLies) {
  std::vector<std::unique_ptr<ChunkStore>> stores;
  stores.push_back(std::move(make_chunk_store(store::make_memory_blobs(loop_), {}, *workers_).value()));
  stores.push_back(open("store"));
  EXPECT_EQ(make_store_chain(std::move(stores))->reader(), nullptr);
}

}  // namespace
