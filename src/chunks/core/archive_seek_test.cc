#include "chunks/core/archive_seek.h"

#include <gtest/gtest.h>

#include "chunks/core/archive_samples_test.h"

namespace godwit::chunks {
namespace {

class MemoryArchive final : public ArchiveBytes {
 public:
  explicit MemoryArchive(Bytes bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<void> read(std::uint64_t offset, MutableBytes into) override {
    GODWIT_CHECK(offset <= bytes_.size() && into.size() <= bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return {};
  }
  Bytes& bytes() { return bytes_; }

 private:
  Bytes bytes_;
};

TEST(ArchiveSeek, EveryNodeIsFoundAndIsAnArchiveOfItsOwn) {
  MemoryArchive archive(samples::golden("tree.casync.catar"));
  for (const char* path :
       {"", "a", "block", "sub", "sub/data", "sub/deep", "sub/deep/f1", "sub/deep/f20", "sub/zeros", "ü n", "/sub//deep/."}) {
    const Result<ArchiveSubtree> found = find_subtree(archive, path);
    ASSERT_TRUE(found) << path << ": " << found.error().message();
    const ConstBytes node = ConstBytes(archive.bytes()).subspan(found->start, found->end - found->start);
    const Result<std::vector<samples::Event>> events =
        samples::decode_all(node, 100, {.start_offset = found->start, .end_offset = found->end});
    ASSERT_TRUE(events) << path << ": " << events.error().message();
  }
  EXPECT_EQ(find_subtree(archive, "/sub//deep/.")->path, "sub/deep");
}

TEST(ArchiveSeek, WhatIsNotThereIsNotFound) {
  MemoryArchive archive(samples::golden("tree.casync.catar"));
  for (const char* path : {"b", "sub/nothing", "a/b", "sub/deep/f1/x", "dangling/x"}) {
    const Result<ArchiveSubtree> found = find_subtree(archive, path);
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().kind(), ErrorKind::not_found) << found.error().message();
  }
  EXPECT_EQ(find_subtree(archive, "sub/..").error().kind(), ErrorKind::invalid);
}

TEST(ArchiveSeek, NoChangedTableLeadsOutOfTheArchive) {
  const Bytes golden = samples::golden("tree-fifo.casync.catar");
  for (std::size_t at = 0; at < golden.size(); ++at) {
    for (const unsigned change : {1U, 0x80U, 0xffU}) {
      MemoryArchive archive(golden);
      archive.bytes()[at] ^= static_cast<std::byte>(change);
      for (const char* path : {"a", "c"}) {
        const Result<ArchiveSubtree> found = find_subtree(archive, path);  // MemoryArchive checks each range
        if (!found) continue;
        EXPECT_LE(found->end, golden.size());
        EXPECT_LT(found->start, found->end);
      }
    }
  }
}

TEST(ArchiveSeek, ATableOfOneHashOverAndOverIsGivenUp) {
  // A folder whose table has 1000 items of the wanted hash, none of them a FILENAME.
  Bytes bytes = samples::entry(S_IFDIR | 0755);
  append(bytes, Bytes(100));
  std::vector<ArchiveChild> children(1000, {70, 164, hash_of_file_name("a")});
  append_goodbye(bytes, children, 0, bytes.size());
  MemoryArchive archive(bytes);
  const Result<ArchiveSubtree> found = find_subtree(archive, "a");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::limit) << found.error().message();
}

}  // namespace
}  // namespace godwit::chunks
