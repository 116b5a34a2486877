#include "chunks/driver/seed_tree.h"

#include "base/random.h"
#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

namespace fs = std::filesystem;

constexpr FeatureFlags kFeatures = normalized(scene::kPlain | kDefaultModes);

struct Scene {
  Scene() {
    scene::make_tree(folder / "t");
    scene::write(folder / "t/large", std::string(300'000, 'l'));
    scene::write(folder / "t/zeros", std::string(50'000, '\0'));
    archive = *scene::archive_of(folder / "t");
  }
  // All of it was read once, by pieces.
  std::unique_ptr<SeedTree> tree(bool copies_all, std::size_t piece_size = 10'000) const {
    Result<std::unique_ptr<SeedTree>> tree = SeedTree::open(folder / "t", {{kFeatures, {}}, folder.path(), copies_all});
    GODWIT_CHECK(tree.has_value());
    Bytes all;
    Bytes piece(piece_size);
    for (;;) {
      const Result<std::size_t> count = (*tree)->read(piece);
      GODWIT_CHECK(count.has_value());
      if (*count == 0) break;
      append(all, ConstBytes(piece).first(*count));
    }
    EXPECT_TRUE(all == archive);
    return std::move(*tree);
  }

  TemporaryFolder folder;
  Bytes archive;
};

TEST(SeedTree, EveryPartOfTheArchiveIsHadAgain) {
  const Scene s;
  Random random(1);
  for (const bool copies_all : {false, true}) {
    for (const std::size_t piece : {std::size_t{37}, std::size_t{10'000}, std::size_t{1'000'000}}) {
      SCOPED_TRACE(testing::Message() << (copies_all ? "copies, by " : "files, by ") << piece);
      const std::unique_ptr<SeedTree> tree = s.tree(copies_all, piece);
      for (int i = 0; i < 300; ++i) {
        const std::size_t offset = random.below(s.archive.size());
        const std::size_t size = std::min<std::size_t>(s.archive.size() - offset, random.below(i % 2 == 0 ? 100 : 200'000));
        Bytes bytes(size);
        ASSERT_TRUE(tree->read_at(offset, bytes)) << offset << " " << size;
        ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), s.archive.begin() + static_cast<std::ptrdiff_t>(offset)));
      }
      Bytes behind(1);
      EXPECT_FALSE(tree->read_at(s.archive.size(), behind));
    }
  }
}

TEST(SeedTree, WhatIsGoneIsNotHadUnlessItWasCopied) {
  const Scene s;
  const std::unique_ptr<SeedTree> files = s.tree(false);
  const std::unique_ptr<SeedTree> copies = s.tree(true);
  fs::remove(s.folder / "t/large");
  Bytes bytes(s.archive.size());
  EXPECT_FALSE(files->read_at(0, bytes));
  EXPECT_TRUE(files->read_at(0, MutableBytes(bytes).first(100)));
  EXPECT_TRUE(copies->read_at(0, bytes));
  EXPECT_TRUE(bytes == s.archive);
}

TEST(SeedTree, ACopyThatHasNoRoomIsAnErrorAndNothingOfItIsHad) {
  const Scene s;
  for (const std::uint64_t room : {std::uint64_t{0}, std::uint64_t{100}, s.archive.size() - 1, std::uint64_t{s.archive.size()}}) {
    SCOPED_TRACE(room);
    const Result<std::unique_ptr<SeedTree>> tree = SeedTree::open(s.folder / "t", {{kFeatures, {}}, s.folder.path(), true, room});
    ASSERT_TRUE(tree.has_value());
    Bytes piece(50);
    Result<std::size_t> count = 0;
    do count = (*tree)->read(piece);
    while (count && *count > 0);
    const bool fits = room == s.archive.size();
    ASSERT_EQ(count.has_value(), fits);
    if (!fits) {
      EXPECT_EQ(count.error().kind(), ErrorKind::limit);
    }
    EXPECT_EQ((*tree)->read_at(0, piece), fits);
  }
}

TEST(SeedTree, NoSymlinkLeadsToOtherBytes) {
  const Scene s;
  const std::unique_ptr<SeedTree> tree = s.tree(false);
  fs::rename(s.folder / "t/large", s.folder / "large");
  fs::create_symlink("../large", s.folder / "t/large");
  Bytes bytes(s.archive.size());
  EXPECT_FALSE(tree->read_at(0, bytes));
}

}  // namespace
}  // namespace godwit::chunks
