#include "chunks/driver/archive_files.h"

#include <linux/fs.h>

#include <filesystem>
#include <map>

#include <gtest/gtest.h>

#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_scene_test.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "store/memory_device.h"

using namespace godwit;
using namespace godwit::chunks;
using exports::FileId;
using store::conformance::wait_for;

namespace {

class ArchiveFilesTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<ArchiveFiles>> open(const Bytes& archive, const ArchiveFiles::Options& options = {}) {
    device_ = std::move(*store::make_memory_device(archive.size(), loop_));
    std::ranges::copy(archive, device_->memory().begin());
    return wait_for<std::unique_ptr<ArchiveFiles>>(
        pump_, [&](auto done) { ArchiveFiles::open(*device_, loop_, options, std::move(done)); });
  }
  FileId find(const ArchiveFiles& files, const std::string& path) {
    FileId file = exports::kTopFile;
    for (std::size_t at = 0; at < path.size();) {
      const std::size_t end = std::min(path.find('/', at), path.size());
      const std::optional<FileId> next = files.find(file, path.substr(at, end - at));
      EXPECT_TRUE(next) << path;
      if (!next) return file;
      file = *next;
      at = end + 1;
    }
    return file;
  }
  std::string read(ArchiveFiles& files, FileId file) {
    Bytes into(files.status(file)->size);
    const Result<void> read = wait_for<void>(pump_, [&](auto done) { files.read(file, 0, into, std::move(done)); });
    EXPECT_TRUE(read);
    return std::string(as_text(into));
  }
  std::vector<exports::FileAttribute> attributes(ArchiveFiles& files, FileId file) {
    return wait_for<std::vector<exports::FileAttribute>>(pump_, [&](auto done) { files.attributes(file, std::move(done)); })
        .value();
  }

  net::EventLoop loop_;
  store::conformance::Pump pump_ = [this] { loop_.run(); };
  std::unique_ptr<store::BlockDevice> device_;
};

TEST_F(ArchiveFilesTest, ATreeIsThereAsItWas) {
  const TemporaryFolder folder;
  scene::make_tree(folder / "tree");
  const auto files = std::move(*open(*scene::archive_of(folder / "tree")));
  std::size_t count = 1;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder / "tree")) {
    const std::string path = entry.path().lexically_relative(folder / "tree").string();
    SCOPED_TRACE(path);
    ++count;
    const FileId file = find(*files, path);
    struct ::stat original{};
    ASSERT_EQ(::lstat(entry.path().c_str(), &original), 0);
    const exports::FileStatus status = *files->status(file);
    EXPECT_EQ(files->path(file), path);
    EXPECT_EQ(status.mode & S_IFMT, original.st_mode & S_IFMT);
    EXPECT_EQ(status.mtime_ns, std::int64_t{original.st_mtim.tv_sec} * 1'000'000'000 + original.st_mtim.tv_nsec);
    if (!S_ISLNK(original.st_mode)) {
      EXPECT_EQ(status.mode, original.st_mode);
    }
    if (S_ISREG(original.st_mode)) {
      EXPECT_EQ(read(*files, file), scene::read(entry.path()));
    }
    if (S_ISLNK(original.st_mode)) {
      EXPECT_EQ(wait_for<std::string>(pump_, [&](auto done) { files->read_link(file, std::move(done)); }).value(),
                std::filesystem::read_symlink(entry.path()).string());
      EXPECT_EQ(status.size, static_cast<std::uint64_t>(original.st_size));
    }
  }
  EXPECT_EQ(files->file_count(), count);
}

TEST_F(ArchiveFilesTest, FoldersAreListedInOrderAndNothingElseIsFound) {
  const TemporaryFolder folder;
  scene::make_tree(folder / "tree");
  const auto files = std::move(*open(*scene::archive_of(folder / "tree")));
  const FileId sub = find(*files, "sub");
  std::vector<std::string> names;
  while (const auto child = files->child(sub, names.size())) names.emplace_back(child->name);
  EXPECT_EQ(names, (std::vector<std::string>{"data", "deep", "link"}));
  EXPECT_EQ(files->parent(find(*files, "sub/deep")), sub);
  EXPECT_EQ(files->parent(exports::kTopFile), exports::kTopFile);
  EXPECT_FALSE(files->find(sub, "dat"));
  EXPECT_FALSE(files->find(find(*files, "hello"), "x"));
  EXPECT_FALSE(files->child(find(*files, "empty"), 0));
  EXPECT_FALSE(files->status(FileId{0}));
  EXPECT_FALSE(files->status(FileId{files->file_count() + 1}));
}

TEST_F(ArchiveFilesTest, APartOfAnArchiveIsATreeOfItsOwn) {
  const TemporaryFolder folder;
  scene::make_tree(folder / "tree");
  const Bytes archive = *scene::archive_of(folder / "tree");
  scene::write(folder / "t.catar", std::string(as_text(archive)));
  const auto file = std::move(*ArchiveFile::open(folder / "t.catar"));
  const Result<ArchiveSubtree> sub = find_subtree(*file, "sub");
  ASSERT_TRUE(sub);
  const auto files = std::move(*open(archive, {.shift = {}, .subtree = *sub}));
  EXPECT_EQ(files->file_count(), 5U);
  EXPECT_EQ(read(*files, find(*files, "data")), std::string(100'000, 'd'));
  EXPECT_EQ(read(*files, find(*files, "deep/x")), "x");
  EXPECT_EQ(wait_for<std::string>(pump_, [&](auto done) { files->read_link(find(*files, "link"), std::move(done)); }).value(),
            "../hello");
  EXPECT_FALSE(files->find(exports::kTopFile, "hello"));
  EXPECT_TRUE(S_ISDIR(files->map()[0].mode));

  const auto whole = std::move(*open(archive, {.shift = {}, .subtree = *find_subtree(*file, "")}));
  EXPECT_EQ(read(*whole, find(*whole, "sub/deep/x")), "x");
  const auto leaf = open(archive, {.shift = {}, .subtree = *find_subtree(*file, "sub/data")});
  ASSERT_TRUE(leaf) << leaf.error().message();
  EXPECT_EQ((*leaf)->file_count(), 1U);
  // A part that ends elsewhere than it should is none.
  ArchiveSubtree wrong = *sub;
  wrong.end -= 40;
  EXPECT_FALSE(open(archive, {.shift = {}, .subtree = wrong}));
}

Bytes archive_of_one(const Node& node, const std::string& name) {
  Bytes out;
  Node top;
  top.features = node.features;
  top.mode = S_IFDIR | 0755;
  append_node_head(out, top);
  std::vector<ArchiveChild> children = {{out.size(), 0, hash_of_file_name(name)}};
  append_file_name(out, name);
  const std::uint64_t entry = out.size();
  append_node_head(out, node);
  if (node.is_directory()) append_goodbye(out, {}, entry, out.size());
  children[0].end = out.size();
  append_goodbye(out, children, 0, out.size());
  return out;
}

TEST_F(ArchiveFilesTest, AttributesAreTheKernels) {
  Node node;
  node.features = kDefaultArchiveFlags;
  node.mode = S_IFDIR | 0770;
  node.flags = feature::kFlagNoAtime | feature::kFlagHidden;
  node.xattrs = {{"user.a", to_bytes(as_bytes("one"))}, {"user.b", {}}};
  node.acl = {{{9, {}, 6}, {1000, {}, 4}}, {}, 5};
  node.default_acl = DefaultAcl{7, 5, 0, 7, {{9, {}, 2}}, {}};
  node.selinux = "label";
  const auto files = std::move(*open(archive_of_one(node, "d")));
  const FileId file = find(*files, "d");
  std::map<std::string, Bytes> found;
  for (exports::FileAttribute& attribute : attributes(*files, file)) found[attribute.name] = attribute.value;
  EXPECT_EQ(found.size(), 5u);
  EXPECT_EQ(as_text(found["user.a"]), "one");
  EXPECT_EQ(found["user.b"], Bytes());
  EXPECT_EQ(decode_access_acl(found["system.posix_acl_access"]).value(), node.acl);
  EXPECT_EQ(decode_default_acl(found["system.posix_acl_default"]).value(), *node.default_acl);
  EXPECT_EQ(as_text(found["security.selinux"]), std::string_view("label\0", 6));
  EXPECT_EQ(files->flags(file), static_cast<std::uint32_t>(FS_NOATIME_FL));
  EXPECT_EQ(files->fat_attributes(file).value() & 2U, 2U);
  EXPECT_TRUE(attributes(*files, exports::kTopFile).empty());
}

TEST_F(ArchiveFilesTest, DevicesKeepTheirNumbersAndOwnersTheirShift) {
  Node node;
  node.features = kDefaultArchiveFlags;
  node.mode = S_IFBLK | 0660;
  node.uid = 12;
  node.gid = 4'000'000'000;
  node.device_major = kDeviceMajorEnd - 1;
  node.device_minor = kDeviceMinorEnd - 1;
  const auto files = std::move(*open(archive_of_one(node, "sda"), {.shift = {.shift = 100'000, .range = 65536}}));
  const exports::FileStatus status = *files->status(find(*files, "sda"));
  EXPECT_EQ(status.device_major, kDeviceMajorEnd - 1);
  EXPECT_EQ(status.device_minor, kDeviceMinorEnd - 1);
  EXPECT_EQ(status.uid, 100'012u);
  EXPECT_EQ(status.gid, 100'000u + 4'000'000'000u % 65536);
}

TEST_F(ArchiveFilesTest, AnArchiveThatIsBrokenIsNotOpened) {
  const TemporaryFolder folder;
  scene::make_tree(folder / "tree");
  const Bytes archive = *scene::archive_of(folder / "tree");
  EXPECT_EQ(open(Bytes()).error().kind(), ErrorKind::truncated);
  EXPECT_EQ(open(to_bytes(ConstBytes(archive).first(archive.size() - 1))).error().kind(), ErrorKind::truncated);
  EXPECT_EQ(open(archive, {.shift = {}, .entries_max = 3}).error().kind(), ErrorKind::limit);
  Bytes longer = archive;
  longer.push_back(std::byte{0});
  EXPECT_EQ(open(longer).error().kind(), ErrorKind::invalid);
  for (std::size_t at = 0; at < archive.size(); at += 97) {
    Bytes changed = archive;
    changed[at] ^= std::byte{0xff};
    (void)open(changed);  // a changed byte of a file's is none of its business; nothing may break
  }
}

}  // namespace
