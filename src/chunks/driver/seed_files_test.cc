#include "chunks/driver/seed_files.h"

#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

namespace fs = std::filesystem;

constexpr FeatureFlags kFeatures = normalized(scene::kPlain | kDefaultModes);

Node node_of_size(std::uint64_t size) {
  Node node;
  node.mode = S_IFREG;
  node.payload_size = size;
  return node;
}

std::string content_of(const Descriptor& file) {
  return file.is_open() ? scene::read(path_of_descriptor(file.get())) : "nothing";
}

TEST(SeedFiles, AFileIsFoundByItsSizeAndItsBeginningWhateverItsName) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "seed/sub");
  const std::string text = "begins " + std::string(10'000, 'x');
  scene::write(folder / "seed/sub/one", text);
  scene::write(folder / "seed/other", "begins " + std::string(10'001, 'x'));
  SeedFiles seeds(kFeatures, false);
  ASSERT_TRUE(seeds.add_folder(folder / "seed"));
  EXPECT_EQ(content_of(seeds.alike(node_of_size(text.size()), as_bytes(text), "two")), text);
  EXPECT_EQ(content_of(seeds.alike(node_of_size(text.size()), as_bytes(text).first(4096), "two")), text);
  EXPECT_FALSE(seeds.alike(node_of_size(text.size() - 1), as_bytes(text), "two").is_open());
  EXPECT_FALSE(seeds.alike(node_of_size(text.size()), as_bytes("Begins"), "two").is_open());
}

TEST(SeedFiles, OfSeveralThatBeginAlikeTheOneWithTheSameNameIsTaken) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "seed");
  const std::string start(4096, 's');
  for (const char* name : {"a", "b", "c"}) scene::write(folder / (std::string("seed/") + name), start + name);
  SeedFiles seeds(kFeatures, false);
  ASSERT_TRUE(seeds.add_folder(folder / "seed"));
  EXPECT_EQ(content_of(seeds.alike(node_of_size(4097), as_bytes(start), "b")), start + "b");
  EXPECT_EQ(content_of(seeds.alike(node_of_size(4097), as_bytes(start), "elsewhere")), start + "a");
}

TEST(SeedFiles, ALargeFileIsLikelyTheOneAtItsPlace) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "seed/log");
  scene::write(folder / "seed/log/all", std::string(100'000, 'o'));
  SeedFiles seeds(kFeatures, false);
  ASSERT_TRUE(seeds.add_folder(folder / "seed"));
  const std::string text(200'000, 'n');
  EXPECT_EQ(content_of(seeds.alike(node_of_size(text.size()), as_bytes(text), "log/all")), std::string(100'000, 'o'));
  EXPECT_FALSE(seeds.alike(node_of_size(text.size()), as_bytes(text), "log/none").is_open());
  EXPECT_FALSE(seeds.alike(node_of_size(text.size()), as_bytes(text), "log").is_open());
  EXPECT_FALSE(seeds.alike(node_of_size(1000), as_bytes(text).first(1000), "log/all").is_open());
}

TEST(SeedFiles, TwinsHaveTheSameAttributes) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "seed");
  const timespec times[2] = {{0, UTIME_OMIT}, {1'000'000, 7}};
  for (const char* name : {"a", "b", "c", "d"}) {
    scene::write(folder / (std::string("seed/") + name), "text");
    ASSERT_EQ(::chmod((folder / (std::string("seed/") + name)).c_str(), 0644), 0);
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder / (std::string("seed/") + name)).c_str(), times, 0), 0);
  }
  ASSERT_EQ(::chmod((folder / "seed/b").c_str(), 0755), 0);
  const timespec later[2] = {{0, UTIME_OMIT}, {1'000'000, 8}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder / "seed/c").c_str(), later, 0), 0);
  SeedFiles seeds(kFeatures, true);
  ASSERT_TRUE(seeds.add_folder(folder / "seed"));
  AttributeReader reader(kFeatures, {});
  const Descriptor a(::open((folder / "seed/a").c_str(), O_RDONLY | O_CLOEXEC));
  const std::optional<Node> node = read_file_node(a.get(), reader);
  ASSERT_TRUE(node);
  EXPECT_EQ(seeds.twins_of(*node, as_bytes("text")).size(), 2U);  // a and d
  EXPECT_EQ(seeds.twins_of(*node, as_bytes("Text")).size(), 0U);
}

TEST(SeedFiles, NoSymlinkLeadsToAFile) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "seed/sub");
  fs::create_directories(folder / "elsewhere");
  const std::string text(100'000, 'x');
  for (const char* name : {"seed/sub/one", "seed/two", "elsewhere/one"}) scene::write(folder / name, text);
  SeedFiles seeds(kFeatures, false);
  ASSERT_TRUE(seeds.add_folder(folder / "seed"));
  fs::remove_all(folder / "seed/sub");
  fs::create_symlink(folder / "elsewhere", folder / "seed/sub");
  fs::remove(folder / "seed/two");
  fs::create_symlink("../elsewhere/one", folder / "seed/two");
  for (const char* path : {"sub/one", "two", "../elsewhere/one"}) {
    SCOPED_TRACE(path);
    EXPECT_FALSE(seeds.alike(node_of_size(text.size()), as_bytes(text), path).is_open());
  }
}

TEST(SeedFiles, AFolderThatIsNotThereIsAnError) {
  const TemporaryFolder folder;
  SeedFiles seeds(kFeatures, false);
  const Result<void> added = seeds.add_folder(folder / "seed");
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace godwit::chunks
