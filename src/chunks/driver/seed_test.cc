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

// Seeds that are folders: an index of the archive of one, and what a map has of it.
class SeedFolderTest : public SeedTest {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "tree/sub");
    write("tree/a", golden::random_bytes(1, 700'000));
    write("tree/m", golden::random_bytes(2, 500'000));
    write("tree/sub/z", golden::random_bytes(3, 600'000));
    for (int i = 0; i < 200; ++i)
      write("tree/sub/" + std::to_string(i),
            golden::random_bytes(100 + static_cast<unsigned>(i), static_cast<std::size_t>(i) * 7));
    index_tree();
  }
  void index_tree(const ChunkSizes& sizes = {}) {
    const FeatureFlags flags = normalized((feature::kWithAll & ~feature::kPrivileged) | kDefaultModes);
    index_ = {.header = {.flags = flags, .sizes = sizes}, .entries = {}};
    Result<std::unique_ptr<TreeSource>> tree = TreeSource::open(folder_ / "tree", {index_.header.flags, {}});
    ASSERT_TRUE(tree);
    content_.resize(4'000'000);
    content_.resize((*tree)->read(content_).value());
    cut();
  }
  SeedMap::Folder seed(bool will_change = false) const {
    return {.path = folder_ / "tree", .shift = {}, .spool_folder = folder_.path(), .will_change = will_change};
  }
  Result<void> add_tree(SeedMap& map, const SeedMap::Folder& folder) {
    return wait_for<void>([this] { loop_.run(); },
                          [&](auto done) { map.add_folder(folder, 2, *workers_, loop_, std::move(done)); });
  }
  // What another map reads now, and that it has all of the index that was made last.
  std::uint64_t read_again() {
    SeedMap map(index_, &cache_);
    const Result<void> added = add_tree(map, seed());
    EXPECT_TRUE(added);
    EXPECT_EQ(had(map), index_.entries.size());
    EXPECT_EQ(map.bytes_read() + map.bytes_known(), content_.size());
    return map.bytes_read();
  }
};

TEST_F(SeedFolderTest, GivesTheChunksOfItsArchiveAlsoWhereItChangesMeanwhile) {
  SeedMap files(index_, nullptr);
  SeedMap held(index_, nullptr);
  for (SeedMap* map : {&files, &held}) {
    const Result<void> added = add_tree(*map, seed(map == &held));
    ASSERT_TRUE(added) << added.error().message();
    EXPECT_EQ(map->bytes_read(), content_.size());
    EXPECT_EQ(map->bytes_known(), 0U);
    EXPECT_EQ(had(*map), index_.entries.size());
  }
  // Other bytes at their place are not taken for the chunk's.
  fs::remove(folder_ / "tree/m");
  write("tree/m", Bytes(500'000, std::byte{1}));
  EXPECT_LT(had(files), index_.entries.size());
  EXPECT_EQ(had(held), index_.entries.size());
  fs::remove_all(folder_ / "tree");
  EXPECT_EQ(had(held), index_.entries.size());
  EXPECT_TRUE(kept().empty());
}

TEST_F(SeedFolderTest, ASecondRunKnowsTheChunksWithoutReadingAFile) {
  EXPECT_EQ(read_again(), content_.size());
  EXPECT_EQ(kept().size(), 1U);
  EXPECT_EQ(kept().at(0).extension(), ".gwseedtree");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(read_again(), 0U);
  // What is held of a folder that changes is read, but neither cut nor hashed.
  SeedMap held(index_, &cache_);
  ASSERT_TRUE(add_tree(held, seed(true)));
  EXPECT_EQ(held.bytes_read(), 0U);
  fs::remove_all(folder_ / "tree");
  EXPECT_EQ(had(held), index_.entries.size());
}

TEST_F(SeedFolderTest, WhatChangesIsNoticedAndTheRestStaysKnown) {
  const auto overwrite = [this](const std::string& name) {
    std::fstream file(folder_ / name, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(1000);
    file << "changed";
  };
  const auto set_time = [this](const std::string& name, timespec time) {
    const timespec times[2] = {{0, UTIME_OMIT}, time};
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / name).c_str(), times, 0), 0);
  };
  struct Row {
    const char* name;
    std::function<void()> change;
    std::uint64_t read_max;  // chunks around what changed
  };
  const Row rows[] = {
      {"nothing", [] {}, 0},
      {"some bytes of a file",
       [&] {
         overwrite("tree/m");
         set_time("tree/m", {7, 0});
       },
       900'000},
      {"bytes, and the time set back: ctime tells",
       [&] {
         overwrite("tree/a");
         overwrite("tree/m");
         set_time("tree/m", {7, 0});
       },
       1'700'000},
      {"a file's size", [this] { fs::resize_file(folder_ / "tree/m", 400'000); }, 800'000},
      {"only its time", [&] { set_time("tree/m", {9, 0}); }, 900'000},
      {"another file with the same bytes and time",
       [&] {
         struct stat status{};
         ASSERT_EQ(::stat((folder_ / "tree/m").c_str(), &status), 0);
         fs::copy_file(folder_ / "tree/m", folder_ / "tree/copy");
         set_time("tree/copy", status.st_mtim);
         fs::rename(folder_ / "tree/copy", folder_ / "tree/m");
       },
       900'000},
      {"a new file", [this] { write("tree/new", golden::random_bytes(9, 300'000)); }, 900'000},
      {"a file less", [this] { fs::remove(folder_ / "tree/new"); }, 600'000},
      {"a file with another name", [this] { fs::rename(folder_ / "tree/sub/100", folder_ / "tree/sub/hundred"); }, 1'100'000},
      {"all files in another folder",
       [this] {
         fs::rename(folder_ / "tree/sub", folder_ / "tree/b");
         fs::create_directory(folder_ / "tree/sub");
       },
       2'000'000},
  };
  (void)read_again();
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    row.change();
    index_tree();
    const std::uint64_t read = read_again();
    EXPECT_LE(read, row.read_max);
    EXPECT_EQ(read == 0, row.read_max == 0);
    EXPECT_EQ(read_again(), 0U);
    EXPECT_EQ(kept().size(), 1U) << "the new state takes the old one's place";
  }
}

TEST_F(SeedFolderTest, ATreeThatWasExtractedIsKnownWithoutHavingBeenRead) {
  remember_extracted_tree(cache_, folder_ / "tree", {}, index_);
  EXPECT_EQ(read_again(), 0U);
  fs::remove_all(folder_ / "cache");
  // Not one that is not what the index says.
  write("tree/more", golden::random_bytes(5, 1000));
  remember_extracted_tree(cache_, folder_ / "tree", {}, index_);
  fs::remove(folder_ / "tree/more");
  fs::remove(folder_ / "tree/m");
  remember_extracted_tree(cache_, folder_ / "tree", {}, index_);
  EXPECT_TRUE(kept().empty());
}

TEST_F(SeedFolderTest, OtherSizesAreKeptApart) {
  (void)read_again();
  index_tree({.min = 1024, .avg = 4096, .max = 16384});
  EXPECT_EQ(read_again(), content_.size());
  EXPECT_EQ(kept().size(), 2U);
  EXPECT_EQ(read_again(), 0U);
}

TEST_F(SeedFolderTest, ADamagedCacheOrNoneIsNoHindrance) {
  (void)read_again();
  const fs::path file = kept().at(0);
  std::ofstream(file, std::ios::binary) << "GODWITEC and nothing else";
  EXPECT_EQ(read_again(), content_.size());
  EXPECT_EQ(read_again(), 0U) << "the damaged one was replaced";
  write("in the way", content_);
  const SeedCache impossible(folder_ / "in the way/cache");
  SeedMap map(index_, &impossible);
  ASSERT_TRUE(add_tree(map, seed()));
  EXPECT_EQ(had(map), index_.entries.size());
}

// As if a file's bytes had changed and nothing else of it.
TEST_F(SeedFolderTest, WhatIsKnownWronglyGivesNoWrongByte) {
  (void)read_again();
  const FeatureFlags flags = index_.header.flags;
  EncoderCache known = cache_.load_tree(folder_ / "tree", flags, index_.header.sizes, kDigest);
  ASSERT_GT(known.chunks.size(), 3U);
  std::swap(known.chunks[0].id, known.chunks[1].id);
  ASSERT_TRUE(cache_.save_tree(folder_ / "tree", flags, known));
  SeedMap map(index_, &cache_);
  ASSERT_TRUE(add_tree(map, seed()));
  EXPECT_EQ(map.bytes_read(), 0U);
  EXPECT_EQ(had(map), index_.entries.size() - 2);
}

TEST_F(SeedFolderTest, WhatHasNoRoomToBeHeldIsAnErrorAndNothingOfItIsHad) {
  SeedMap map(index_, nullptr);
  SeedMap::Folder folder = seed(true);
  folder.spool_bytes_max = 100'000;  // names and attributes; not the small files
  const Result<void> added = add_tree(map, folder);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind(), ErrorKind::limit);
  EXPECT_EQ(map.chunk_count(), 0U);
  EXPECT_EQ(had(map), 0U);
}

TEST_F(SeedTest, ASeedThatIsNotThereIsNamed) {
  SeedMap map(index_, &cache_);
  const Result<void> added = add(map, "none");
  ASSERT_FALSE(added);
  EXPECT_NE(added.error().message().find("/none"), std::string::npos) << added.error().message();
}

}  // namespace
