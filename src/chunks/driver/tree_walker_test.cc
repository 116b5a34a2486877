#include "chunks/driver/tree_walker.h"

#include <sys/stat.h>

#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

using scene::archive_of;

std::string listed(const std::string& folder, FeatureFlags features = normalized(scene::kPlain | kDefaultModes)) {
  Result<std::unique_ptr<TreeSource>> source = TreeSource::open(folder, {features, {}});
  GODWIT_CHECK(source);
  std::string lines;
  const Result<void> printed = print_tree(**source, {}, {}, [&](std::string_view line) {
    const std::string_view name = line.substr(line.find(' ') + 1);
    lines += std::string(name.substr(0, name.size() - 1)) + "|";
  });
  return printed ? lines : printed.error().message();
}

TEST(TreeWalker, NamesComeInTheOrderOfTheirBytes) {
  TemporaryFolder folder;
  scene::make_tree(folder / "t");
  EXPECT_EQ(listed(folder / "t"), ".|empty|fifo|hello|nothing|sub|sub/data|sub/deep|sub/deep/x|sub/link|sub-dash|sub.dot|");
}

TEST(TreeWalker, KindsThatTheFeaturesLackAreLeftOut) {
  TemporaryFolder folder;
  scene::make_tree(folder / "t");
  EXPECT_EQ(listed(folder / "t", 0), ".|empty|hello|nothing|sub|sub/data|sub/deep|sub/deep/x|sub-dash|sub.dot|");
}

TEST(TreeWalker, ExcludeFilesCountForTheirFolderAndBelow) {
  TemporaryFolder folder;
  scene::make_tree(folder / "t");
  scene::write(folder / "t/.caexclude", "x\nsub/data\nempty/\n");
  EXPECT_EQ(listed(folder / "t"), ".|.caexclude|fifo|hello|nothing|sub|sub/deep|sub/link|sub-dash|sub.dot|");
  scene::write(folder / "t/sub/.caexclude", "!x\nlink\n");
  EXPECT_EQ(listed(folder / "t"), ".|.caexclude|fifo|hello|nothing|sub|sub/.caexclude|sub/deep|sub/deep/x|sub-dash|sub.dot|");
  EXPECT_EQ(listed(folder / "t", normalized(scene::kPlain)),
            ".|.caexclude|empty|fifo|hello|nothing|sub|sub/.caexclude|sub/data|sub/deep|sub/deep/x|sub/link|sub-dash|sub.dot|");
}

TEST(TreeWalker, AnExcludeFileThatCannotBeReadIsNamedWithItsLine) {
  TemporaryFolder folder;
  scene::make_tree(folder / "t");
  scene::write(folder / "t/.caexclude", "ok\n..\n");
  const Result<Bytes> archive = archive_of(folder / "t");
  ASSERT_FALSE(archive);
  EXPECT_NE(archive.error().message().find(".caexclude: line 2"), std::string::npos) << archive.error().message();
}

TEST(TreeWalker, HolesAreZerosAndAreNotRead) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "t");
  std::filesystem::create_directory(folder / "full");
  std::string content(3'000'000, '\0');
  content.replace(1'000'000, 4, "data");
  content.replace(2'999'999, 1, "e");
  scene::write(folder / "full/f", content);
  const int file = ::open((folder / "t/f").c_str(), O_CREAT | O_WRONLY, 0644);
  ASSERT_EQ(::pwrite(file, "data", 4, 1'000'000), 4);
  ASSERT_EQ(::pwrite(file, "e", 1, 2'999'999), 1);
  ::close(file);
  const FeatureFlags features = kDefaultModes;  // no times, so that both are equal
  const Result<Bytes> sparse = archive_of(folder / "t", features);
  ASSERT_TRUE(sparse) << sparse.error().message();
  EXPECT_EQ(*sparse, *archive_of(folder / "full", features));
}

TEST(TreeWalker, AFileThatShrinksWhileItIsReadIsAnErrorWithItsName) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder / "t");
  scene::write(folder / "t/f", std::string(1000, 'a'));
  Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(folder / "t", {});
  ASSERT_TRUE(walker);
  ASSERT_TRUE((*walker)->next());
  ASSERT_TRUE((*walker)->next());
  ASSERT_EQ((*walker)->node().payload_size, 1000);
  std::filesystem::resize_file(folder / "t/f", 10);
  Bytes bytes(1000);
  const Result<void> read = (*walker)->read_payload(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::truncated);
  EXPECT_NE(read.error().message().find("/f' shrank"), std::string::npos) << read.error().message();
}

// Behind its end a file has no data, which is what a hole looks like.
TEST(TreeWalker, AFileWithHolesThatShrinksIsAnErrorToo) {
  for (const std::uint64_t left : {0u, 10u, 4096u, 500'000u, 2'000'000u}) {
    SCOPED_TRACE(left);
    TemporaryFolder folder;
    std::filesystem::create_directory(folder / "t");
    scene::write(folder / "t/f", std::string(1'000'000, 'a'));
    std::filesystem::resize_file(folder / "t/f", 3'000'000);
    Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(folder / "t", {});
    ASSERT_TRUE(walker);
    ASSERT_TRUE((*walker)->next());
    ASSERT_TRUE((*walker)->next());
    std::filesystem::resize_file(folder / "t/f", left);
    Bytes bytes(3'000'000);
    const Result<void> read = (*walker)->read_payload(bytes);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::truncated);
    EXPECT_NE(read.error().message().find("/f' shrank"), std::string::npos) << read.error().message();
  }
}

// Between the list of names and the opening of one of them. It is neither followed nor waited for.
TEST(TreeWalker, WhatBecomesSomethingElseBeforeItIsOpenedIsAnError) {
  const std::string_view kinds[] = {"link", "fifo", "file", "folder", "nothing"};
  for (const bool was_folder : {false, true}) {
    for (const std::string_view kind : kinds) {
      if (kind == (was_folder ? "folder" : "file")) continue;
      SCOPED_TRACE((was_folder ? "a folder, now " : "a file, now ") + std::string(kind));
      TemporaryFolder folder;
      const std::string path = folder / "t/it";
      std::filesystem::create_directories(folder / "t");
      std::filesystem::create_directories(folder / "outside");
      scene::write(folder / "outside/it", "secret");
      if (was_folder)
        std::filesystem::create_directory(path);
      else
        scene::write(path, "x");
      Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(folder / "t", {});
      ASSERT_TRUE(walker);
      ASSERT_TRUE((*walker)->next());
      std::filesystem::remove(path);
      if (kind == "link") std::filesystem::create_symlink(was_folder ? "../outside" : "../outside/it", path);
      if (kind == "fifo") {
        ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
      }
      if (kind == "file") scene::write(path, "y");
      if (kind == "folder") std::filesystem::create_directory(path);
      const Result<ArchiveTree::Step> next = (*walker)->next();
      ASSERT_FALSE(next);
      EXPECT_NE(next.error().message().find("t/it"), std::string::npos) << next.error().message();
    }
  }
}

TEST(TreeWalker, WhatIsNoFolderCannotBeWalked) {
  TemporaryFolder folder;
  scene::write(folder / "f", "x");
  EXPECT_FALSE(TreeWalker::open(folder / "f", {}));
  EXPECT_EQ(TreeWalker::open(folder / "none", {}).error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace godwit::chunks
