#include "chunks/driver/seed.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/core/chunker.h"
#include "chunks/core/golden_inputs.h"
#include "chunks/driver/tree_archive.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

using namespace godwit;
using namespace godwit::chunks;
using store::conformance::wait_for;
namespace fs = std::filesystem;

namespace {

class SeedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    write("seed", content_);
    cut();
  }
  // An index that knows each chunk of the content.
  void cut() {
    Chunker chunker(*CutRule::of(index_.header.sizes), ScanVariant::scalar);
    std::vector<std::uint64_t> cuts;
    chunker.feed(content_, cuts);
    chunker.finish(cuts);
    for (const std::uint64_t cut : cuts)
      index_.entries.push_back(
          {.end = cut, .id = chunk_id_of(ConstBytes(content_).subspan(index_.blob_size(), cut - index_.blob_size()), kDigest)});
  }
  void write(const std::string& name, ConstBytes content) {
    std::ofstream file(folder_ / name, std::ios::binary);
    file.write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
  }
  Result<void> add(SeedMap& map, const std::string& name = "seed") {
    return wait_for<void>([this] { loop_.run(); },
                          [&](auto done) { map.add(folder_ / name, 2, *workers_, loop_, std::move(done)); });
  }
  // How many of the index's chunks the map gives, and that these are right.
  std::size_t had(SeedMap& map) {
    std::size_t count = 0;
    for (std::size_t i = 0; i < index_.entries.size(); ++i) {
      Bytes bytes(index_.length_of(i));
      WantedChunk chunk{.id = index_.entries[i].id, .into = bytes, .got = false};
      map.read(std::span(&chunk, 1), kDigest);
      if (!chunk.got) continue;
      ++count;
      EXPECT_EQ(bytes, to_bytes(ConstBytes(content_).subspan(index_.start_of(i), bytes.size())));
    }
    return count;
  }
  std::vector<fs::path> kept() {
    std::vector<fs::path> files;
    if (fs::exists(folder_ / "cache"))
      for (const auto& entry : fs::directory_iterator(folder_ / "cache")) files.push_back(entry.path());
    return files;
  }
  SeedIdentity identity() {
    const Descriptor file(::open((folder_ / "seed").c_str(), O_RDONLY));
    return seed_identity_of(file.get()).value();
  }

  static constexpr Digest kDigest = Digest::sha512_256;
  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 3);
  Bytes content_ = golden::random_bytes(81, 1'500'000);
  Index index_;
  SeedCache cache_{folder_ / "cache"};
};

TEST_F(SeedTest, ASecondRunKnowsTheChunksWithoutReadingTheSeed) {
  for (const bool known : {false, true, true}) {
    SeedMap map(index_, &cache_);
    ASSERT_TRUE(add(map));
    EXPECT_EQ(map.bytes_read(), known ? 0 : content_.size());
    EXPECT_EQ(map.bytes_known(), known ? content_.size() : 0);
    EXPECT_EQ(had(map), index_.entries.size());
    EXPECT_EQ(kept().size(), 1u);
  }
}

TEST_F(SeedTest, WhatChangesTheSeedDropsWhatIsKept) {
  struct Row {
    const char* name;
    std::function<void(const std::string&)> change;
  };
  const Row rows[] = {
      {"its size", [](const std::string& path) { fs::resize_file(path, 1'490'000); }},
      {"its time",
       [](const std::string& path) {
         const timespec times[2] = {{0, UTIME_OMIT}, {5, 0}};
         ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
       }},
      {"another file",
       [](const std::string& path) {
         fs::copy_file(path, path + "2");
         fs::rename(path + "2", path);
       }},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    write("seed", content_);
    SeedMap before(index_, &cache_);
    ASSERT_TRUE(add(before));
    row.change(folder_ / "seed");
    SeedMap map(index_, &cache_);
    ASSERT_TRUE(add(map));
    EXPECT_EQ(map.bytes_known(), 0u);
    EXPECT_GT(map.bytes_read(), 0u);
    EXPECT_GE(had(map), index_.entries.size() - 3);
    EXPECT_EQ(kept().size(), 1u) << "the new state takes the old one's place";
  }
}

// As if the content had changed and no time with it.
TEST_F(SeedTest, ASeedThatIsNotWhatWasKeptGivesNoWrongByte) {
  Bytes changed = content_;
  for (std::size_t at = 400'000; at < 900'000; at += 1000) changed[at] ^= std::byte{1};
  write("seed", changed);
  remember_extracted(cache_, folder_ / "seed", index_);
  ASSERT_EQ(kept().size(), 1u);
  SeedMap map(index_, &cache_);
  ASSERT_TRUE(add(map));
  EXPECT_EQ(map.bytes_known(), content_.size());
  const std::size_t count = had(map);
  EXPECT_GT(count, 0u);
  EXPECT_LT(count, index_.entries.size());
}

TEST_F(SeedTest, AnIndexTellsWhatItsFileHoldsWithoutTheFileBeingRead) {
  write("seed.caibx", encode_index(index_));
  write("renamed", content_);
  for (const char* name : {"seed.caibx", "seed.caibx:"}) {
    SCOPED_TRACE(name);
    SeedMap map(index_, nullptr);
    const std::string seed = std::string_view(name).ends_with(':') ? name + (folder_ / "renamed") : name;
    ASSERT_TRUE(add(map, seed));
    EXPECT_EQ(map.bytes_read(), 0u);
    EXPECT_EQ(map.bytes_known(), content_.size());
    EXPECT_EQ(had(map), index_.entries.size());
  }
}

TEST_F(SeedTest, AnIndexThatIsNotOfThatFileIsRefusedAndALyingOneGivesNoWrongByte) {
  Index of_another = index_;
  of_another.entries.pop_back();
  write("seed.caibx", encode_index(of_another));
  SeedMap short_one(index_, nullptr);
  const Result<void> refused = add(short_one, "seed.caibx");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::invalid);
  EXPECT_NE(refused.error().message().find("the file has 1500000"), std::string::npos) << refused.error().message();

  Index other_digest = index_;
  other_digest.header.flags ^= feature::kSha512_256;
  write("seed.caibx", encode_index(other_digest));
  SeedMap other(index_, nullptr);
  EXPECT_FALSE(add(other, "seed.caibx"));

  Bytes changed = content_;
  changed[0] ^= std::byte{1};
  write("seed", changed);
  write("seed.caibx", encode_index(index_));
  SeedMap lying(index_, nullptr);
  ASSERT_TRUE(add(lying, "seed.caibx"));
  EXPECT_EQ(had(lying), index_.entries.size() - 1);
}

TEST_F(SeedTest, ASeedThatIsCutOffAfterItWasReadIsUsedAsFarAsItGoes) {
  SeedMap map(index_, nullptr);
  ASSERT_TRUE(add(map));
  fs::resize_file(folder_ / "seed", 700'000);
  const std::size_t count = had(map);
  EXPECT_GT(count, 0u);
  EXPECT_LT(count, index_.entries.size());
}

TEST_F(SeedTest, OtherSizesAndDigestsAreKeptApart) {
  SeedMap first(index_, &cache_);
  ASSERT_TRUE(add(first));
  Index other = index_;
  other.header.sizes = {.min = 1024, .avg = 4096, .max = 16384};
  SeedMap second(other, &cache_);
  ASSERT_TRUE(add(second));
  EXPECT_EQ(second.bytes_known(), 0u);
  other = index_;
  other.header.flags = with_digest(other.header.flags, Digest::sha256);
  SeedMap third(other, &cache_);
  ASSERT_TRUE(add(third));
  EXPECT_EQ(third.bytes_known(), 0u);
  EXPECT_EQ(kept().size(), 3u);
}

TEST_F(SeedTest, ADamagedCacheOrNoneIsNoHindrance) {
  SeedMap first(index_, &cache_);
  ASSERT_TRUE(add(first));
  const fs::path file = kept().at(0);
  std::ofstream(file, std::ios::binary) << "GODWITSI and nothing else";
  SeedMap second(index_, &cache_);
  ASSERT_TRUE(add(second));
  EXPECT_EQ(second.bytes_read(), content_.size());
  SeedMap third(index_, &cache_);
  ASSERT_TRUE(add(third));
  EXPECT_EQ(third.bytes_known(), content_.size()) << "the damaged one was replaced";

  write("in the way", content_);
  const SeedCache impossible(folder_ / "in the way/cache");
  SeedMap fourth(index_, &impossible);
  ASSERT_TRUE(add(fourth));
  EXPECT_EQ(had(fourth), index_.entries.size());
}

TEST_F(SeedTest, WhatWasNotWrittenForAHundredDaysGoes) {
  fs::create_directory(folder_ / "cache");
  for (const char* name : {"old.gwseed", "old.gwseed.1.partial", "young.gwseed", "of somebody else"})
    std::ofstream(folder_ / ("cache/" + std::string(name))) << "x";
  for (const char* name : {"old.gwseed", "old.gwseed.1.partial", "of somebody else"})
    fs::last_write_time(folder_ / ("cache/" + std::string(name)),
                        fs::last_write_time(folder_ / "cache/young.gwseed") - std::chrono::hours(24 * 101));
  SeedMap map(index_, &cache_);
  ASSERT_TRUE(add(map));
  EXPECT_TRUE(fs::exists(folder_ / "cache/young.gwseed"));
  EXPECT_TRUE(fs::exists(folder_ / "cache/of somebody else"));
  EXPECT_EQ(kept().size(), 3u);
}

TEST_F(SeedTest, AFolderGivesTheChunksOfItsArchive) {
  fs::create_directories(folder_ / "tree/sub");
  write("tree/sub/data", content_);
  write("tree/a", ConstBytes(content_).first(1000));
  index_ = {.header = {.flags = normalized((feature::kWithAll & ~feature::kPrivileged) | kDefaultModes), .sizes = {}},
            .entries = {}};
  Result<std::unique_ptr<TreeSource>> tree = TreeSource::open(folder_ / "tree", {index_.header.flags, {}});
  ASSERT_TRUE(tree);
  content_.resize(3'000'000);
  content_.resize((*tree)->read(content_).value());
  cut();
  SeedMap files(index_, &cache_);
  SeedMap copies(index_, &cache_);
  for (SeedMap* map : {&files, &copies}) {
    const SeedMap::Folder folder{
        .path = folder_ / "tree", .shift = {}, .spool_folder = folder_.path(), .copies_all = map == &copies};
    const Result<void> added = wait_for<void>([this] { loop_.run(); },
                                              [&](auto done) { map->add_folder(folder, 2, *workers_, loop_, std::move(done)); });
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ(had(*map), index_.entries.size());
  }
  // Other bytes at their place are not taken for the chunk's.
  write("tree/sub/data", Bytes(content_.size(), std::byte{1}));
  EXPECT_LT(had(files), index_.entries.size());
  fs::remove_all(folder_ / "tree");
  EXPECT_EQ(had(copies), index_.entries.size());
  EXPECT_TRUE(kept().empty());
}

TEST_F(SeedTest, ASeedThatIsNotThereIsNamed) {
  SeedMap map(index_, &cache_);
  const Result<void> added = add(map, "none");
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message().find("/none"), std::string::npos) << added.error().message();
}

}  // namespace
