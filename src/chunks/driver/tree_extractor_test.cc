#include "chunks/driver/tree_extractor.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

using scene::archive_of;
using scene::extract;
using scene::plain_options;
namespace fs = std::filesystem;

// A tree to be extracted, where it goes, and what must stay as it is.
struct Scene {
  Scene() {
    scene::make_tree(folder / "t");
    fs::create_directory(folder / "outside");
    scene::write(folder / "outside/precious", "precious");
    archive = *archive_of(folder / "t");
  }
  void expect_outside_untouched() const {
    EXPECT_EQ(std::distance(fs::directory_iterator(folder / "outside"), fs::directory_iterator()), 1);
    EXPECT_EQ(scene::read(folder / "outside/precious"), "precious");
  }
  void expect_extracted(const std::string& name) const {
    const Result<Bytes> again = archive_of(folder / name);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(*again, archive);
  }

  TemporaryFolder folder;
  Bytes archive;
};

TEST(TreeExtractor, WhatComesOutIsWhatWentIn) {
  Scene s;
  const Result<void> done = extract(s.archive, s.folder / "out");
  ASSERT_TRUE(done) << done.error().message();
  s.expect_extracted("out");
  EXPECT_EQ(scene::read(s.folder / "out/sub/data"), std::string(100'000, 'd'));
}

TEST(TreeExtractor, AnExistingTreeBecomesTheArchives) {
  Scene s;
  fs::create_directories(s.folder / "out/sub/deep/more/and/more");
  scene::write(s.folder / "out/sub/deep/more/and/more/file", "extra");
  scene::write(s.folder / "out/zzz", "extra");
  scene::write(s.folder / "out/.first", "extra");
  scene::write(s.folder / "out/empty", "a file where a folder will be");
  fs::create_directories(s.folder / "out/hello/full/folder");
  scene::write(s.folder / "out/sub/data", "older");
  ASSERT_EQ(::chmod((s.folder / "out").c_str(), 0755), 0);
  const Result<void> done = extract(s.archive, s.folder / "out");
  ASSERT_TRUE(done) << done.error().message();
  s.expect_extracted("out");
}

TEST(TreeExtractor, OthersStayWhereTheyAreToStay) {
  Scene s;
  fs::create_directories(s.folder / "out/sub");
  scene::write(s.folder / "out/sub/other", "other");
  TreeExtractorOptions options = plain_options();
  options.remove_others = false;
  ASSERT_TRUE(extract(s.archive, s.folder / "out", options));
  EXPECT_EQ(scene::read(s.folder / "out/sub/other"), "other");
  EXPECT_EQ(scene::read(s.folder / "out/hello"), "hello\n");
}

TEST(TreeExtractor, SymlinksInTheWayAreReplacedAndNotFollowed) {
  Scene s;
  fs::create_directory(s.folder / "out");
  fs::create_symlink(s.folder / "outside", s.folder / "out/sub");
  fs::create_symlink(s.folder / "outside/precious", s.folder / "out/hello");
  fs::create_symlink(s.folder / "outside", s.folder / "out/stray");
  fs::create_directory(s.folder / "out/straying");
  fs::create_symlink(s.folder / "outside", s.folder / "out/straying/link");
  const Result<void> done = extract(s.archive, s.folder / "out");
  ASSERT_TRUE(done) << done.error().message();
  s.expect_extracted("out");
  s.expect_outside_untouched();
}

TEST(TreeExtractor, SymlinksSwappedInMeanwhileLeadNowhere) {
  Scene s;
  fs::create_directories(s.folder / "out/sub");
  std::atomic<bool> stop = false;
  const std::string place = s.folder / "out/sub";
  const std::string aside = s.folder / "aside";
  std::thread attacker([&] {
    while (!stop) {
      std::error_code ignored;  // the extractor swaps back
      fs::rename(place, aside, ignored);
      fs::create_symlink(s.folder / "outside", place, ignored);
      fs::remove(place, ignored);
      fs::rename(aside, place, ignored);
      fs::remove_all(aside, ignored);
    }
  });
  for (int round = 0; round < 40; ++round) (void)extract(s.archive, s.folder / "out");  // may fail, must not stray
  stop = true;
  attacker.join();
  s.expect_outside_untouched();
}

// A folder that was just made is empty; who puts a link there meanwhile does not get the file's bytes written behind it.
TEST(TreeExtractor, ALinkInANewFolderIsNotWrittenThrough) {
  TemporaryFolder folder;
  scene::write(folder / "outside", "as it was");
  Result<std::unique_ptr<TreeExtractor>> extractor = TreeExtractor::open(folder / "out", scene::plain_options());
  ASSERT_TRUE(extractor) << extractor.error().message();
  Node node;
  node.features = normalized(scene::kPlain | kDefaultModes);
  node.mode = S_IFDIR | 0755;
  ASSERT_TRUE((*extractor)->enter(node, ""));
  ASSERT_TRUE((*extractor)->enter(node, "new"));
  fs::create_symlink("../../outside", folder / "out/new/file");
  node.mode = S_IFREG | 0644;
  node.payload_size = 5;
  Result<void> done = (*extractor)->enter(node, "file");
  if (done) done = (*extractor)->payload(as_bytes("bytes"));
  for (int i = 0; i < 3 && done; ++i) done = (*extractor)->leave();
  if (done) done = (*extractor)->finish();
  EXPECT_FALSE(done);
  EXPECT_EQ(scene::read(folder / "outside"), "as it was");
}

TEST(TreeExtractor, AnArchiveCutAnywhereLeavesOldFilesWholeAndNoTemporaryOnes) {
  Scene s;
  fs::create_directory(s.folder / "small");
  scene::write(s.folder / "small/a", "new content of a");
  scene::write(s.folder / "small/b", "new content of b");
  const Bytes archive = *archive_of(s.folder / "small");
  fs::create_directory(s.folder / "out");
  for (std::size_t size = 0; size < archive.size(); size += 7) {
    scene::write(s.folder / "out/a", "old a");
    scene::write(s.folder / "out/b", "old b");
    const Result<void> done = extract(ConstBytes(archive).first(size), s.folder / "out");
    ASSERT_FALSE(done) << size;
    EXPECT_EQ(done.error().kind(), ErrorKind::truncated) << done.error().message();
    EXPECT_TRUE(scene::read(s.folder / "out/a") == "old a" || scene::read(s.folder / "out/a") == "new content of a");
    EXPECT_TRUE(scene::read(s.folder / "out/b") == "old b" || scene::read(s.folder / "out/b") == "new content of b");
    EXPECT_EQ(std::distance(fs::directory_iterator(s.folder / "out"), fs::directory_iterator()), 2);
  }
}

TEST(TreeExtractor, ANewFileThatStaysIncompleteIsTakenAway) {
  Scene s;
  const std::size_t inside = s.archive.size() - 1500;
  (void)extract(ConstBytes(s.archive).first(60'000), s.folder / "out");  // within the bytes of sub/data
  EXPECT_GT(inside, 60'000);
  EXPECT_TRUE(fs::exists(s.folder / "out/sub"));
  EXPECT_FALSE(fs::exists(s.folder / "out/sub/data"));
}

TEST(TreeExtractor, ZerosBecomeHoles) {
  TemporaryFolder folder;
  fs::create_directory(folder / "t");
  const std::string content = std::string(8192, 'a') + std::string(1 << 20, '\0') + "b" + std::string(1 << 20, '\0');
  scene::write(folder / "t/f", content);
  const Bytes archive = *archive_of(folder / "t");
  for (const bool punch : {true, false}) {
    TreeExtractorOptions options = plain_options();
    options.punch_holes = punch;
    ASSERT_TRUE(extract(archive, folder / "out", options));
    EXPECT_EQ(scene::read(folder / "out/f"), content);
    struct stat status{};
    ASSERT_EQ(::stat((folder / "out/f").c_str(), &status), 0);
    EXPECT_EQ(status.st_blocks * 512 < 1 << 20, punch);
  }
}

TEST(TreeExtractor, AFileOfZerosHasItsSize) {
  TemporaryFolder folder;
  fs::create_directory(folder / "t");
  for (const std::size_t size : {1, 4095, 4096, 4097, 8192})
    scene::write(folder / ("t/" + std::to_string(size)), std::string(size, '\0'));
  ASSERT_TRUE(extract(*archive_of(folder / "t"), folder / "out"));
  for (const std::size_t size : {1, 4095, 4096, 4097, 8192})
    EXPECT_EQ(scene::read(folder / ("out/" + std::to_string(size))), std::string(size, '\0'));
}

TEST(TreeExtractor, AMaskKeepsWhatIsNotToBeSet) {
  Scene s;
  TreeExtractorOptions options = plain_options();
  options.mask.allowed = 0;
  options.mask.umask = 027;
  ASSERT_TRUE(extract(s.archive, s.folder / "out", options));
  EXPECT_FALSE(fs::exists(fs::symlink_status(s.folder / "out/sub/link")));
  EXPECT_FALSE(fs::exists(s.folder / "out/fifo"));
  struct stat status{};
  ASSERT_EQ(::stat((s.folder / "out/hello").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640);
  ASSERT_EQ(::stat((s.folder / "out/empty").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0750);
  ASSERT_EQ(::stat((s.folder / "out/sub.dot").c_str(), &status), 0);
  EXPECT_GT(status.st_mtime, 0);
}

TEST(TreeExtractor, ASubtreeGoesIntoAFolderThatStaysAsItIs) {
  Scene s;
  scene::write(s.folder / "t.catar", as_text(s.archive));
  fs::create_directory(s.folder / "out");
  scene::write(s.folder / "out/other", "other");
  for (const char* path : {"sub", "hello", "fifo", "sub/link"}) {
    Result<std::unique_ptr<ArchiveFile>> file = ArchiveFile::open(s.folder / "t.catar");
    ASSERT_TRUE(file);
    const Result<ArchiveSubtree> found = find_subtree(**file, path);
    ASSERT_TRUE(found) << found.error().message();
    ArchiveRange range(**file, found->start, found->end);
    const std::string name = fs::path(path).filename();
    Result<std::unique_ptr<TreeExtractor>> extractor = TreeExtractor::open(s.folder / "out", plain_options(), name);
    ASSERT_TRUE(extractor) << extractor.error().message();
    const Result<void> done = extract_tree(range, {found->start, found->end}, **extractor);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(fs::symlink_status(s.folder / ("out/" + name)).type(),
              fs::symlink_status(s.folder / ("t/" + std::string(path))).type());
  }
  EXPECT_EQ(scene::read(s.folder / "out/other"), "other");
  EXPECT_EQ(*archive_of(s.folder / "out/sub"), *archive_of(s.folder / "t/sub"));
}

TEST(TreeExtractor, DeepTreesGoBothWays) {
  raise_descriptor_limit();
  constexpr int kDepth = 900;  // more than one path can name
  TemporaryFolder folder;
  fs::create_directory(folder / "t");
  int parent = ::open((folder / "t").c_str(), O_RDONLY | O_DIRECTORY);
  for (int i = 0; i < kDepth; ++i) {
    ASSERT_EQ(::mkdirat(parent, "folder", 0755), 0);
    const int next = ::openat(parent, "folder", O_RDONLY | O_DIRECTORY);
    ::close(parent);
    parent = next;
  }
  ::close(parent);
  const Result<Bytes> archive = archive_of(folder / "t");
  ASSERT_TRUE(archive) << archive.error().message();
  const Result<void> done = extract(*archive, folder / "out");
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(*archive_of(folder / "out"), *archive);
}

// More than a few batches, in folders of all depths, small files and one that is handed over to nobody.
void make_large_tree(const std::string& root) {
  for (int folder = 0; folder < 25; ++folder) {
    const std::string path = root + "/" + std::string(1, static_cast<char>('a' + folder)) + "/deep/er";
    fs::create_directories(path);
    for (int file = 0; file < 15; ++file)
      scene::write(path + "/" + std::to_string(file), std::string(static_cast<std::size_t>(file * 997), 'x'));
    fs::create_symlink("../0", path + "/link");
    const timespec old[2] = {{0, UTIME_OMIT}, {1'000'000 + folder, 5}};
    GODWIT_CHECK(::utimensat(AT_FDCWD, path.c_str(), old, 0) == 0);
  }
  scene::write(root + "/m/large", std::string(TreeMakers::kFileBytesMax + 1, 'l'));
}

TEST(TreeExtractor, AnyNumberOfThreadsMakesTheSameTree) {
  TemporaryFolder folder;
  make_large_tree(folder / "t");
  const Bytes archive = *archive_of(folder / "t");
  for (const unsigned threads : {1u, 2u, 4u}) {
    TreeExtractorOptions options = plain_options();
    options.threads = threads;
    for (const char* target : {"new", "over itself"}) {
      const Result<void> done = extract(archive, folder / ("out" + std::to_string(threads)), options);
      ASSERT_TRUE(done) << target << ": " << done.error().message();
      EXPECT_EQ(*archive_of(folder / ("out" + std::to_string(threads))), archive) << threads << " threads, " << target;
    }
  }
}

TEST(TreeExtractor, TheFirstErrorIsToldWhoeverMetItAndLeavesNoHalfFile) {
  TemporaryFolder folder;
  make_large_tree(folder / "t");
  for (const char* name : {"g", "k", "s", "x"})
    scene::write(folder / ("t/" + std::string(name) + "/too large"), std::string(50'000, 'x'));
  const Bytes archive = *archive_of(folder / "t");
  for (const unsigned threads : {1u, 2u, 4u}) {
    TreeExtractorOptions options = plain_options();
    options.threads = threads;
    const std::string out = folder / ("out" + std::to_string(threads));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{.rlim_cur = 40'000, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const Result<void> done = extract(archive, out, options);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)std::signal(SIGXFSZ, handler);
    ASSERT_FALSE(done) << threads;
    EXPECT_NE(done.error().message().find("/g/too large'"), std::string::npos) << threads << ": " << done.error().message();
    for (const char* name : {"g", "k", "s", "x"}) EXPECT_FALSE(fs::exists(out + "/" + name + "/too large"));
    EXPECT_TRUE(fs::exists(out + "/f/deep/er/14"));
  }
}

TEST(TreeExtractor, WhatComesBeforeADamagedPlaceIsMade) {
  TemporaryFolder folder;
  make_large_tree(folder / "t");
  const Bytes archive = *archive_of(folder / "t");
  for (const unsigned threads : {1u, 4u}) {
    TreeExtractorOptions options = plain_options();
    options.threads = threads;
    const std::string out = folder / ("out" + std::to_string(threads));
    const Result<void> done = extract(ConstBytes(archive).first(archive.size() - 300), out, options);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::truncated) << done.error().message();
    EXPECT_EQ(*archive_of(out + "/x"), *archive_of(folder / "t/x")) << threads;
  }
}

TEST(TreeExtractor, TheLongestNameIsExtractedOverAnOldOne) {
  TemporaryFolder folder;
  const std::string name(255, 'n');
  fs::create_directories(folder / "t");
  fs::create_directories(folder / "out");
  scene::write(folder / ("t/" + name), "new");
  scene::write(folder / ("out/" + name), "old");
  const Result<void> done = extract(*archive_of(folder / "t"), folder / "out");
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(scene::read(folder / ("out/" + name)), "new");
}

TEST(TreeExtractor, ATargetThatIsNoFolderIsRefused) {
  Scene s;
  scene::write(s.folder / "out", "a file");
  EXPECT_FALSE(extract(s.archive, s.folder / "out"));
  EXPECT_EQ(scene::read(s.folder / "out"), "a file");
  EXPECT_EQ(extract(s.archive, s.folder / "none/out").error().kind(), ErrorKind::not_found);
}

TEST(TreeArchive, AFileIsThereWholeOrNotAtAll) {
  Scene s;
  scene::write(s.folder / "x.catar", "old");
  scene::write(s.folder / "t/.caexclude", "..\n");
  Result<std::unique_ptr<TreeSource>> bad = TreeSource::open(s.folder / "t", {});
  EXPECT_FALSE(bad && write_archive_file(**bad, Digest::sha512_256, s.folder / "x.catar"));
  fs::remove(s.folder / "t/.caexclude");
  scene::write(s.folder / "t/sub/.caexclude", "..\n");
  bad = TreeSource::open(s.folder / "t", {});
  ASSERT_TRUE(bad);
  EXPECT_FALSE(write_archive_file(**bad, Digest::sha512_256, s.folder / "x.catar"));
  EXPECT_EQ(scene::read(s.folder / "x.catar"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(s.folder.path()), fs::directory_iterator()), 3);
  fs::remove(s.folder / "t/sub/.caexclude");
  Result<std::unique_ptr<TreeSource>> good = TreeSource::open(s.folder / "t", {normalized(scene::kPlain | kDefaultModes), {}});
  ASSERT_TRUE(good);
  const Result<ChunkId> id = write_archive_file(**good, Digest::sha256, s.folder / "x.catar");
  ASSERT_TRUE(id) << id.error().message();
  const std::string written = scene::read(s.folder / "x.catar");
  EXPECT_EQ(*id, chunk_id_of(as_bytes(written), Digest::sha256));
}

}  // namespace
}  // namespace godwit::chunks
