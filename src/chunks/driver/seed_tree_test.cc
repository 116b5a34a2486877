#include "chunks/driver/seed_tree.h"

#include <algorithm>

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
    scene::write(folder / "t/larger", std::string(400'000, 'm'));
    scene::write(folder / "t/zeros", std::string(50'000, '\0'));
    archive = *scene::archive_of(folder / "t");
  }
  // All of it was walked through once, looking ahead by so many bytes.
  Result<std::unique_ptr<SeedTree>> walked(std::uint64_t step, std::uint64_t spool_bytes_max = ~std::uint64_t{0}) const {
    Result<std::unique_ptr<SeedTree>> tree = SeedTree::open(folder / "t", {{kFeatures, {}}, folder.path(), spool_bytes_max});
    GODWIT_CHECK(tree.has_value());
    ArchivePieces pieces(**tree, tree->get());
    while (!pieces.ends_at(pieces.known())) {
      if (Result<void> looked = pieces.look_ahead(step); !looked) return fail(std::move(looked).error());
      pieces.drop(std::min(step, pieces.known()));
    }
    return tree;
  }
  std::unique_ptr<SeedTree> tree(std::uint64_t step = 10'000) const { return std::move(walked(step).value()); }
  // The whole archive in stretches.
  std::vector<SeedTree::Stretch> all(std::uint64_t size) const {
    std::vector<SeedTree::Stretch> stretches;
    for (std::uint64_t at = 0; at < archive.size(); at += size) stretches.push_back({at, std::min(size, archive.size() - at)});
    return stretches;
  }
  std::size_t count_had(const SeedTree& tree, const std::vector<SeedTree::Stretch>& stretches) const {
    std::size_t had = 0;
    for (const SeedTree::Stretch& stretch : stretches) {
      Bytes bytes(stretch.size);
      if (!tree.read_at(stretch.offset, bytes)) continue;
      had += std::equal(bytes.begin(), bytes.end(), archive.begin() + static_cast<std::ptrdiff_t>(stretch.offset)) ? 1 : 0;
    }
    return had;
  }

  TemporaryFolder folder;
  Bytes archive;
};

TEST(SeedTree, EveryPartOfTheArchiveIsHadAgain) {
  const Scene s;
  Random random(1);
  for (const std::uint64_t step : {37, 10'000, 1'000'000}) {
    SCOPED_TRACE(step);
    const std::unique_ptr<SeedTree> tree = s.tree(step);
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

TEST(SeedTree, WhatIsGoneIsHadWhereItIsHeldByOpenFilesAndCopies) {
  struct Row {
    const char* name;
    std::size_t files_max;
    std::size_t held;
  };
  const Row rows[] = {{"no file may be open", 0, 0}, {"one", 1, 1}, {"as many as there are", 10, 3}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Scene s;
    const std::vector<SeedTree::Stretch> stretches = s.all(30'000);
    const std::unique_ptr<SeedTree> left = s.tree();
    const std::unique_ptr<SeedTree> held = s.tree();
    EXPECT_EQ(held->hold(stretches, row.files_max).value(), row.held);
    EXPECT_EQ(s.count_had(*held, stretches), stretches.size());
    // One file is replaced, the other is gone with all that is in the folder.
    scene::write(s.folder / "t/new", std::string(400'000, 'n'));
    fs::rename(s.folder / "t/new", s.folder / "t/larger");
    EXPECT_EQ(s.count_had(*held, stretches), stretches.size());
    EXPECT_LT(s.count_had(*left, stretches), stretches.size());
    fs::remove_all(s.folder / "t");
    EXPECT_EQ(s.count_had(*held, stretches), stretches.size());
    EXPECT_LT(s.count_had(*left, stretches), stretches.size() / 2);
  }
}

TEST(SeedTree, OnlyWhatIsWantedIsHeld) {
  const Scene s;
  const std::vector<SeedTree::Stretch> stretches = s.all(30'000);
  const std::vector<SeedTree::Stretch> wanted = {stretches[1], stretches[3]};
  const std::unique_ptr<SeedTree> tree = s.tree();
  ASSERT_TRUE(tree->hold(wanted, 0).has_value());
  fs::remove_all(s.folder / "t");
  EXPECT_EQ(s.count_had(*tree, wanted), 2U);
  EXPECT_EQ(s.count_had(*tree, stretches), 2U);
}

TEST(SeedTree, ATemporaryFileThatHasNoRoomIsAnError) {
  const Scene s;
  for (const std::uint64_t room : {0, 100}) {
    SCOPED_TRACE(room);
    const Result<std::unique_ptr<SeedTree>> tree = s.walked(10'000, room);
    ASSERT_FALSE(tree.has_value());
    EXPECT_EQ(tree.error().kind(), ErrorKind::limit);
  }
  // Of the archive there is room for what is no file's, but not for copies; held files need none.
  const std::uint64_t room = s.archive.size() - 650'000;
  const std::vector<SeedTree::Stretch> inside = {{.offset = s.archive.size() / 2, .size = 1000}};
  const Result<std::unique_ptr<SeedTree>> copying = s.walked(10'000, room);
  ASSERT_TRUE(copying.has_value());
  const Result<std::size_t> copied = (*copying)->hold(s.all(30'000), 0);
  ASSERT_FALSE(copied.has_value());
  EXPECT_EQ(copied.error().kind(), ErrorKind::limit);
  const Result<std::unique_ptr<SeedTree>> holding = s.walked(10'000, room);
  ASSERT_TRUE(holding.has_value());
  EXPECT_EQ((*holding)->hold(inside, 10).value(), 1U);
}

TEST(SeedTree, NoSymlinkLeadsToOtherBytes) {
  const Scene s;
  const std::unique_ptr<SeedTree> tree = s.tree();
  fs::rename(s.folder / "t/large", s.folder / "large");
  fs::create_symlink("../large", s.folder / "t/large");
  Bytes bytes(s.archive.size());
  EXPECT_FALSE(tree->read_at(0, bytes));
}

}  // namespace
}  // namespace godwit::chunks
