// Files of seeds that become files of what is extracted, by a link or by their blocks. Blocks are shared on few file systems:
// what they come to on one that can is shown by tests/end_to_end/tree_seeds_test.sh.
#include <functional>

#include "chunks/driver/tree_maker.h"
#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

using scene::archive_of;
using scene::extract;
namespace fs = std::filesystem;

ino_t inode_of(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

void set_time(const std::string& path, std::int64_t seconds) {
  const timespec times[2] = {{0, UTIME_OMIT}, {seconds, 5}};
  GODWIT_CHECK(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

std::string large(char last) {
  std::string text;
  for (int i = 0; text.size() < 700'000; ++i) text += std::to_string(i);
  return text + last;
}

struct Scene {
  Scene() {
    scene::make_tree(folder / "t");
    scene::write(folder / "t/large", large('a'));
    set_time(folder / "t/large", 1'000'000);
    set_time(folder / "t/hello", 1'000'000);
    archive = *archive_of(folder / "t");
    options = scene::plain_options();
    options.seeds = {folder / "t"};
    options.hardlink = true;
  }
  void expect_extracted(const std::string& name) const {
    const Result<Bytes> again = archive_of(folder / name);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(*again == archive);
  }
  bool is_link(const std::string& name, const std::string& of) const {
    return inode_of(folder / name) != 0 && inode_of(folder / name) == inode_of(folder / of);
  }

  TemporaryFolder folder;
  Bytes archive;
  TreeExtractorOptions options;
};

// Little by little, and does something on the way, once the extractor knows its seeds.
class InterruptedSource final : public ArchiveStream {
 public:
  InterruptedSource(ConstBytes bytes, std::size_t at, std::function<void()> interrupt)
      : bytes_(bytes), at_(at), interrupt_(std::move(interrupt)) {}
  Result<std::size_t> read(MutableBytes into) override {
    if (offset_ >= at_ && interrupt_) std::exchange(interrupt_, nullptr)();
    const std::size_t count = std::min({into.size(), bytes_.size() - offset_, std::size_t{200}});
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset_), count, into.begin());
    offset_ += count;
    return count;
  }

 private:
  ConstBytes bytes_;
  std::size_t at_;
  std::size_t offset_ = 0;
  std::function<void()> interrupt_;
};

TEST(TreeLinks, FilesThatASeedHasJustSoBecomeLinksToThem) {
  for (const unsigned threads : {1U, 4U}) {
    SCOPED_TRACE(threads);
    Scene s;
    s.options.threads = threads;
    const Result<void> done = extract(s.archive, s.folder / "out", s.options);
    ASSERT_TRUE(done) << done.error().message();
    s.expect_extracted("out");
    for (const char* name : {"hello", "nothing", "large", "sub/data", "sub/deep/x", "sub.dot"}) {
      SCOPED_TRACE(name);
      EXPECT_TRUE(s.is_link(std::string("out/") + name, std::string("t/") + name));
    }
    EXPECT_FALSE(s.is_link("out/sub/link", "t/sub/link"));
    EXPECT_FALSE(s.is_link("out/fifo", "t/fifo"));
  }
}

TEST(TreeLinks, WithoutHardlinkFilesAreFilesOfTheirOwn) {
  Scene s;
  s.options.hardlink = false;
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.expect_extracted("out");
  for (const char* name : {"hello", "nothing", "large"})
    EXPECT_EQ(fs::hard_link_count(s.folder / (std::string("t/") + name)), 1U);
}

TEST(TreeLinks, TheNameDoesNotMatter) {
  Scene s;
  fs::create_directory(s.folder / "t/renamed");
  fs::rename(s.folder / "t/large", s.folder / "t/renamed/file");
  fs::rename(s.folder / "t/hello", s.folder / "t/renamed/hi");
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.expect_extracted("out");
  EXPECT_TRUE(s.is_link("out/large", "t/renamed/file"));
  EXPECT_TRUE(s.is_link("out/hello", "t/renamed/hi"));
}

TEST(TreeLinks, TheSecondSeedIsAskedAfterTheFirst) {
  Scene s;
  fs::create_directory(s.folder / "first");
  s.options.seeds = {s.folder / "first", s.folder / "t"};
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  EXPECT_TRUE(s.is_link("out/large", "t/large"));
}

TEST(TreeLinks, OfFilesThatBeginAlikeTheSameOneIsTaken) {
  Scene s;
  scene::write(s.folder / "t/a-large", large('b'));  // before it in the order, and different in its last byte
  set_time(s.folder / "t/a-large", 1'000'000);
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.expect_extracted("out");
  EXPECT_TRUE(s.is_link("out/large", "t/large"));
}

TEST(TreeLinks, WhatReplacesAnotherFileMayBeALink) {
  Scene s;
  fs::create_directories(s.folder / "out/hello/a/folder");
  scene::write(s.folder / "out/large", "other");
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.expect_extracted("out");
  EXPECT_TRUE(s.is_link("out/hello", "t/hello"));
  EXPECT_TRUE(s.is_link("out/large", "t/large"));
}

// Renaming a file over another link to it does nothing: no temporary name may stay.
TEST(TreeLinks, AFolderMayBeItsOwnSeed) {
  Scene s;
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.options.seeds = {s.folder / "out"};
  const ino_t inode = inode_of(s.folder / "out/large");
  const Result<void> done = extract(s.archive, s.folder / "out", s.options);
  ASSERT_TRUE(done) << done.error().message();
  s.expect_extracted("out");
  EXPECT_EQ(inode_of(s.folder / "out/large"), inode);
}

TEST(TreeLinks, ASeedThatIsChangedMeanwhileGivesNoLinkAndNoWrongByte) {
  struct Case {
    const char* name;
    const char* file;
    std::size_t at;  // of the archive's bytes
    std::function<void(const std::string&)> change;
  };
  const auto overwrite = [](const std::string& path, std::size_t at, bool keep_time) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    GODWIT_CHECK(::pwrite(file.get(), "!", 1, static_cast<off_t>(at)) == 1);
    if (keep_time) set_time(path, 1'000'000);
  };
  const Case cases[] = {
      {"other bytes", "hello", 600, [&](const std::string& path) { overwrite(path, 1, false); }},
      {"other bytes and the old time", "hello", 600, [&](const std::string& path) { overwrite(path, 1, true); }},
      {"another mode", "hello", 600, [](const std::string& path) { GODWIT_CHECK(::chmod(path.c_str(), 0600) == 0); }},
      {"longer", "hello", 600, [&](const std::string& path) { overwrite(path, 6, true); }},
      {"gone", "hello", 600, [](const std::string& path) { fs::remove(path); }},
      {"a large one, at its end", "large", 600, [&](const std::string& path) { overwrite(path, 690'000, true); }},
      {"a large one, behind what has been compared", "large", 500'000,
       [&](const std::string& path) { overwrite(path, 5'000, false); }},
      {"a large one, in front of what is compared", "large", 300'000,
       [&](const std::string& path) { overwrite(path, 650'000, true); }},
      {"a large one, cut off", "large", 300'000, [](const std::string& path) { fs::resize_file(path, 1000); }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Scene s;
    ASSERT_TRUE(extract(s.archive, s.folder / "seed"));
    s.options.seeds = {s.folder / "seed"};
    auto extractor = TreeExtractor::open(s.folder / "out", s.options);
    ASSERT_TRUE(extractor);
    InterruptedSource source(s.archive, c.at, [&] { c.change(s.folder / (std::string("seed/") + c.file)); });
    const Result<void> done = extract_tree(source, {}, **extractor);
    ASSERT_TRUE(done) << done.error().message();
    s.expect_extracted("out");
    EXPECT_FALSE(s.is_link(std::string("out/") + c.file, std::string("seed/") + c.file));
    const char* other = std::string_view(c.file) == "hello" ? "large" : "hello";
    EXPECT_TRUE(s.is_link(std::string("out/") + other, std::string("seed/") + other));
  }
}

TEST(TreeLinks, WhatTheMaskLeavesOutNoLinkCanLeaveOut) {
  Scene s;
  s.options.mask.allowed &= ~feature::kPermissions;
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  EXPECT_EQ(fs::hard_link_count(s.folder / "t/hello"), 1U);
  EXPECT_EQ(fs::status(s.folder / "out/hello").permissions(), fs::perms(0644));
}

TEST(TreeLinks, WhereOwnersAreShiftedFilesAreCopied) {
  Scene s;
  s.options.mask.shift = {.shift = 0, .range = 65536};
  ASSERT_TRUE(extract(s.archive, s.folder / "out", s.options));
  s.expect_extracted("out");
  EXPECT_EQ(fs::hard_link_count(s.folder / "t/hello"), 1U);
}

// A new folder on another file system than `here`; every Linux has one of these two places apart from the other.
std::string folder_elsewhere(const std::string& here) {
  struct stat ours{};
  EXPECT_EQ(::stat(here.c_str(), &ours), 0);
  for (const char* place : {"/dev/shm", "/var/tmp"}) {
    struct stat status{};
    std::string pattern = std::string(place) + "/godwit_XXXXXX";
    if (::stat(place, &status) == 0 && status.st_dev != ours.st_dev && ::mkdtemp(pattern.data()) != nullptr) return pattern;
  }
  return "";
}

TEST(TreeLinks, BetweenTwoFileSystemsFilesAreCopied) {
  Scene s;
  const std::string elsewhere = folder_elsewhere(s.folder.path());
  ASSERT_NE(elsewhere, "") << "neither /dev/shm nor /var/tmp is a second file system that can be written to";
  const Result<void> done = extract(s.archive, elsewhere + "/out", s.options);
  const Result<Bytes> again = archive_of(elsewhere + "/out");
  const auto links = fs::hard_link_count(elsewhere + "/out/large");
  fs::remove_all(elsewhere);
  ASSERT_TRUE(done) << done.error().message();
  ASSERT_TRUE(again);
  EXPECT_TRUE(*again == s.archive);
  EXPECT_EQ(links, 1U);
}

// Links are made by one checked name, in a folder that was opened without following anything.
TEST(TreeLinks, NoLinkIsMadeOutsideOfTheTarget) {
  Scene s;
  fs::create_directory(s.folder / "outside");
  fs::create_directory(s.folder / "out");
  fs::create_symlink(s.folder / "outside", s.folder / "out/sub");
  fs::create_symlink(s.folder / "outside/large", s.folder / "out/large");
  const Result<void> done = extract(s.archive, s.folder / "out", s.options);
  ASSERT_TRUE(done) << done.error().message();
  s.expect_extracted("out");
  EXPECT_TRUE(fs::is_empty(s.folder / "outside"));

  // And an archive whose name leads out of it is refused before.
  Bytes hostile = s.archive;
  const std::string_view name = "hello";
  const auto at = std::search(hostile.begin(), hostile.end(), as_bytes(name).begin(), as_bytes(name).end());
  ASSERT_NE(at, hostile.end());
  std::ranges::copy(as_bytes("../hi"), at);
  EXPECT_FALSE(extract(hostile, s.folder / "again", s.options));
  EXPECT_FALSE(fs::exists(s.folder / "hi"));
  EXPECT_EQ(inode_of(s.folder / "t/hello"), inode_of(s.folder / "out/hello"));
  EXPECT_EQ(fs::hard_link_count(s.folder / "t/hello"), 2U);  // its own, and out's
}

}  // namespace
}  // namespace godwit::chunks
