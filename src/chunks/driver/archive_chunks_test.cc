// Indexes of trees made with what is known and without, on real files.
#include "chunks/driver/archive_chunks.h"

#include <sys/stat.h>

#include <limits>

#include <gtest/gtest.h>

#include "base/random.h"
#include "chunks/core/golden_inputs.h"
#include "chunks/driver/encoder_cache_folder.h"
#include "chunks/driver/make_blob.h"
#include "chunks/driver/tree_scene_test.h"
#include "chunks/driver/tree_walker.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

namespace godwit::chunks {
namespace {

using store::conformance::wait_for;
namespace fs = std::filesystem;

constexpr ChunkSizes kSizes{.min = 1024, .avg = 4096, .max = 16384};
// Later than every file: what a test has just made counts as settled, and each change of it sets a time that it never had.
constexpr std::int64_t kFarAway = std::numeric_limits<std::int64_t>::max();

class ArchiveChunksTest : public ::testing::Test {
 protected:
  ArchiveChunksTest() { fs::create_directories(folder_ / "t/sub"); }

  static FeatureFlags features() { return normalized(scene::kPlain | kDefaultModes); }
  std::unique_ptr<ChunkStore> open_store(const std::string& name) {
    return std::move(
        open_local_store(folder_ / name, true, {.compression = Compression::zstd, .level = 1}, *workers_, loop_).value());
  }
  MakeBlobOptions options() const {
    MakeBlobOptions options;
    options.stream = {.rule = *CutRule::of(kSizes), .threads = 2};
    options.flags = features();
    options.sync = false;
    return options;
  }
  MakeBlobResult run(Result<std::unique_ptr<MakeBlob>> making) {
    GODWIT_CHECK(making);
    return wait_for<MakeBlobResult>([this] { loop_.run(); }, [&](auto done) { (*making)->start(std::move(done)); }).value();
  }

  Bytes index_read_whole() {
    const auto store = open_store("whole");
    auto tree = std::move(TreeSource::open(folder_ / "t", {features(), {}}).value());
    auto source =
        ByteSource::made_by([tree = std::move(tree)](MutableBytes into) { return tree->read(into); }, folder_ / "t", 0666);
    run(MakeBlob::create(std::move(source), folder_ / "whole.caidx", *store, options(), *workers_, loop_));
    return golden::file(folder_ / "whole.caidx");
  }

  struct Made {
    Bytes index;
    MakeBlobResult result;
  };
  Made make(std::int64_t settled_before = kFarAway) {
    const auto store = open_store("store");
    auto tree = std::move(
        TreeWalker::open(folder_ / "t", {.features = features(), .shift = {}, .settled_before_ns = settled_before}).value());
    EncoderCache cache = kept_.load(folder_ / "t", features(), kSizes, Digest::sha512_256);
    auto chunks = std::make_unique<ArchiveChunks>(std::move(tree), cache, store.get(), options().stream, *workers_, loop_);
    Made made;
    made.result = run(MakeBlob::create(std::move(chunks), 0666, folder_ / "known.caidx", *store, options(), *workers_));
    GODWIT_CHECK(kept_.save(folder_ / "t", features(), cache));
    made.index = golden::file(folder_ / "known.caidx");
    return made;
  }

  // A file with a time that no other state of a file had.
  void write(const std::string& name, ConstBytes content) {
    scene::write(folder_ / name, as_text(content));
    touch(name);
  }
  void write_random(const std::string& name, std::size_t size) { write(name, golden::random_bytes(++clock_, size)); }
  void touch(const std::string& name) {
    const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000'000 + static_cast<time_t>(++clock_), 0}};
    GODWIT_CHECK(::utimensat(AT_FDCWD, (folder_ / name).c_str(), times, 0) == 0);
  }
  void fill_tree() {
    for (int i = 0; i < 30; ++i) write_random("t/sub/" + std::to_string(i), static_cast<std::size_t>(i) * 700);
    write_random("t/large", 900'000);
    write("t/zeros", Bytes(100'000));
    fs::create_symlink("large", folder_ / "t/link");
  }
  // Not where the tests' folder lies on a file system whose files are never told apart.
  bool are_changes_told() {
    struct stat status{};
    GODWIT_CHECK(::stat((folder_ / "t").c_str(), &status) == 0);
    const Descriptor descriptor(::open((folder_ / "t").c_str(), O_RDONLY | O_CLOEXEC));
    return traits_of_file_system(descriptor.get()).value().tells_changes;
  }
  std::string cache_file() {
    for (const auto& entry : fs::directory_iterator(folder_ / "cache")) return entry.path();
    return "";
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 3);
  EncoderCacheFolder kept_{folder_ / "cache"};
  std::uint64_t clock_ = 0;
};

TEST_F(ArchiveChunksTest, AnUnchangedTreeIsNotReadAgainWhereTheFileSystemTellsEveryChange) {
  fill_tree();
  const Made first = make();
  EXPECT_EQ(first.result.stream.known_bytes, 0);
  EXPECT_EQ(first.index, index_read_whole());
  const Made second = make();
  EXPECT_EQ(second.index, first.index);
  if (are_changes_told())
    EXPECT_EQ(second.result.stream.known_bytes, second.result.stream.size);
  else
    EXPECT_LT(second.result.stream.known_bytes, 10'000);  // of records between files
  EXPECT_EQ(second.result.new_chunks, 0);
}

TEST_F(ArchiveChunksTest, AFileThatHasJustChangedIsReadAgain) {
  fill_tree();
  const Made first = make(0);
  const Made second = make(0);
  EXPECT_EQ(second.index, first.index);
  EXPECT_LT(second.result.stream.known_bytes, 10'000);  // of records between files
  // The same size and times, and other bytes, as one who writes in the same tick leaves them.
  struct stat before{};
  ASSERT_EQ(::stat((folder_ / "t/large").c_str(), &before), 0);
  scene::write(folder_ / "t/large", as_text(golden::random_bytes(77, 900'000)));
  const timespec times[2] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / "t/large").c_str(), times, 0), 0);
  const Made third = make(0);
  EXPECT_EQ(third.index, index_read_whole());
  EXPECT_NE(third.index, first.index);
}

TEST_F(ArchiveChunksTest, AChunkThatTheStoreHasLostIsReadAndStoredAgain) {
  fill_tree();
  const Made first = make();
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder_ / "store"))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::ranges::sort(files);
  for (std::size_t i = 0; i < files.size(); i += 3) fs::remove(files[i]);
  const Made second = make();
  EXPECT_EQ(second.index, first.index);
  for (std::size_t i = 0; i < files.size(); ++i) EXPECT_TRUE(fs::exists(files[i])) << files[i];
}

TEST_F(ArchiveChunksTest, ADamagedOrForeignCacheIsIgnored) {
  fill_tree();
  const Made first = make();
  const std::string good = scene::read(cache_file());
  std::string damaged = good;
  damaged[damaged.size() / 2] ^= 1;
  struct Row {
    const char* name;
    std::string content;
    mode_t mode;
  };
  const Row rows[] = {
      {"empty", "", 0600},
      {"cut off", good.substr(0, good.size() / 2), 0600},
      {"a bit changed", damaged, 0600},
      {"another file", "#!/bin/sh\n", 0600},
      {"one that others may write", good, 0666},
  };
  for (const Row& row : rows) {
    scene::write(cache_file(), row.content);
    ASSERT_EQ(::chmod(cache_file().c_str(), row.mode), 0);
    const Made made = make();
    EXPECT_EQ(made.index, first.index) << row.name;
    EXPECT_EQ(made.result.stream.known_bytes, 0) << row.name;
    EXPECT_EQ(scene::read(cache_file()), good) << row.name;
  }
}

// What any sequence of changes leaves is made as if nothing were known.
TEST_F(ArchiveChunksTest, ChangedTreesMakeTheIndexThatReadingThemMakes) {
  fill_tree();
  Random random(7);
  std::uint64_t known_bytes = 0;
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE(round);
    const Made made = make();
    ASSERT_EQ(made.index, index_read_whole());
    known_bytes += made.result.stream.known_bytes;
    for (std::uint64_t changes = 1 + random.below(3); changes > 0; --changes) {
      std::vector<std::string> names;
      for (const auto& entry : fs::directory_iterator(folder_ / "t/sub"))
        names.push_back("t/sub/" + entry.path().filename().string());
      std::ranges::sort(names);
      names.emplace_back("t/large");
      const std::string name = names[random.below(names.size())];
      const std::size_t size = fs::file_size(folder_ / name);
      switch (random.below(8)) {
        case 0: write_random(name, size); break;
        case 1: touch(name); break;
        case 2:
          fs::resize_file(folder_ / name, size / 2);
          touch(name);
          break;
        case 3:
          fs::resize_file(folder_ / name, size + 30'000);
          touch(name);
          break;
        case 4: write_random("t/sub/new" + std::to_string(random.below(1000)), random.below(50'000)); break;
        case 5:
          if (names.size() > 5 && name != "t/large") fs::remove(folder_ / name);
          break;
        case 6: ::chmod((folder_ / name).c_str(), random.below(2) == 0 ? 0600 : 0644); break;
        default:
          if (name != "t/large") fs::rename(folder_ / name, folder_ / ("t/sub/moved" + std::to_string(random.below(1000))));
      }
    }
  }
  if (are_changes_told()) {
    EXPECT_GT(known_bytes, 15'000'000);
  }
}

}  // namespace
}  // namespace godwit::chunks
