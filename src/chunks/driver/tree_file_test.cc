#include "chunks/driver/tree_file.h"

#include <sys/stat.h>

#include "chunks/driver/tree_scene_test.h"

namespace godwit::chunks {
namespace {

// Blocks of 4 KiB, one letter each; '0' is a block of zeros.
std::string blocks(std::string_view letters) {
  std::string text;
  for (const char letter : letters) text.append(4096, letter == '0' ? '\0' : letter);
  return text;
}

Descriptor file_with(const std::string& path, std::string_view text) {
  scene::write(path, text);
  return Descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
}

TEST(TreeFile, WhatIsThereAlreadyIsComparedAndWrittenWhereItIsDifferent) {
  struct Case {
    const char* name;
    std::string present;
    std::string wanted;
    std::uint64_t kept;
  };
  const Case cases[] = {
      {"the same", blocks("abc") + "end", blocks("abc") + "end", 3 * 4096 + 3},
      {"a block in the middle", blocks("abc"), blocks("axc"), 2 * 4096},
      {"the partial block at the end", blocks("ab") + "end", blocks("ab") + "END", 2 * 4096},
      {"zeros where data was", blocks("abc"), blocks("a0c"), 2 * 4096},
      {"data where zeros were", blocks("a0c"), blocks("abc"), 2 * 4096},
      {"zeros at the end", blocks("abc"), blocks("ab0"), 2 * 4096},
      {"longer than it is to be", blocks("abcd"), blocks("ab") + "c", 2 * 4096 + 1},
      {"longer, and zeros at the end", blocks("abcd"), blocks("a0"), 4096},
      {"shorter than it is to be", blocks("a"), blocks("abc"), 4096},
      {"nothing of it", blocks("aaa"), blocks("bbb"), 0},
  };
  const TemporaryFolder folder;
  for (const Case& c : cases) {
    for (const bool punch_holes : {true, false}) {
      for (const std::size_t piece : {std::size_t{100'000}, std::size_t{4096}, std::size_t{5000}}) {
        SCOPED_TRACE(std::string(c.name) + (punch_holes ? ", holes" : ", no holes") + ", by " + std::to_string(piece));
        TreeFile file(file_with(folder / "file", c.present), punch_holes);
        file.expect_content(std::min(c.present.size(), c.wanted.size()));
        for (std::size_t at = 0; at < c.wanted.size(); at += piece)
          ASSERT_TRUE(file.write(as_bytes(std::string_view(c.wanted).substr(at, piece))));
        ASSERT_TRUE(file.finish());
        EXPECT_TRUE(scene::read(folder / "file") == c.wanted);
        // A block that comes in two pieces is compared by its halves.
        if (piece != 5000) {
          EXPECT_EQ(file.kept_bytes(), c.kept);
        }
      }
    }
  }
}

TEST(TreeFile, ALongHoleTakesNoBlocksWhereverItsPiecesEnd) {
  const TemporaryFolder folder;
  const std::string zeros(1'000'001, '\0');
  for (const bool punch_holes : {true, false}) {
    TreeFile file(file_with(folder / "file", ""), punch_holes);
    std::string wanted;
    for (const std::string& piece : {std::string("data"), zeros, zeros, zeros, std::string("end"), zeros}) {
      wanted += piece;
      ASSERT_TRUE(file.write(as_bytes(piece)));
    }
    ASSERT_TRUE(file.finish());
    EXPECT_TRUE(scene::read(folder / "file") == wanted);
    struct stat status{};
    ASSERT_EQ(::fstat(file.descriptor(), &status), 0);
    // Two blocks of data and, on some file systems, one of the list of extents.
    EXPECT_EQ(status.st_blocks * 512 <= 4 * 4096, punch_holes) << status.st_blocks;
  }
}

TEST(TreeFile, ContentOfWhichTheFirstMegabyteIsDifferentIsGivenUp) {
  const TemporaryFolder folder;
  const std::string wanted = std::string(2'000'000, 'a') + blocks("0") + "end";
  const std::string present = std::string(1'500'000, 'b') + std::string(700'000, 'c');
  TreeFile file(file_with(folder / "file", present), true);
  file.expect_content(wanted.size());
  ASSERT_TRUE(file.write(as_bytes(wanted)));
  ASSERT_TRUE(file.finish());
  EXPECT_TRUE(scene::read(folder / "file") == wanted);
  EXPECT_EQ(file.kept_bytes(), 0U);
}

TEST(TreeFile, WhatIsSharedIsTheSourcesOrTheFileIsAsItWas) {
  const TemporaryFolder folder;
  struct Case {
    const char* name;
    std::string source;
    std::string wanted;
  };
  const Case cases[] = {
      {"the same", blocks("abc") + "end", blocks("abc") + "end"},
      {"a longer source", blocks("abcd"), blocks("ab") + "x"},
      {"a shorter source", "a", blocks("ab")},
      {"a source that is much longer", blocks("abcd"), "abc"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Descriptor source = file_with(folder / "source", c.source);
    TreeFile file(file_with(folder / "file", ""), true);
    (void)file.share(source.get(), c.wanted.size());  // most file systems cannot; the bytes must be right either way
    ASSERT_TRUE(file.write(as_bytes(c.wanted)));
    ASSERT_TRUE(file.finish());
    EXPECT_TRUE(scene::read(folder / "file") == c.wanted);
    EXPECT_TRUE(scene::read(folder / "source") == c.source);
  }
}

}  // namespace
}  // namespace godwit::chunks
