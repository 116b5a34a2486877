// Folders, and archives of them, for the tests of the tree's driver. Runs as any user: what only root may do is masked out.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/tree_archive.h"

namespace godwit::chunks::scene {

namespace fs = std::filesystem;

inline void write(const std::string& path, std::string_view text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  GODWIT_CHECK(out.good());
}

inline std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class MemorySource final : public ArchiveStream {
 public:
  explicit MemorySource(ConstBytes bytes) : bytes_(bytes) {}
  Result<std::size_t> read(MutableBytes into) override {
    const std::size_t count = std::min(into.size(), bytes_.size());
    std::copy_n(bytes_.begin(), count, into.begin());
    bytes_ = bytes_.subspan(count);
    return count;
  }

 private:
  ConstBytes bytes_;
};

// What any user may set.
inline constexpr FeatureFlags kPlain = feature::kWithAll & ~feature::kPrivileged;

inline Result<Bytes> archive_of(const std::string& folder, FeatureFlags features = normalized(kPlain | kDefaultModes)) {
  Result<std::unique_ptr<TreeSource>> source = TreeSource::open(folder, {features, {}});
  if (!source) return fail(source.error());
  Bytes out;
  Bytes piece(10'000);
  for (;;) {
    const Result<std::size_t> count = (*source)->read(piece);
    if (!count) return fail(count.error());
    if (*count == 0) return out;
    append(out, ConstBytes(piece).first(*count));
  }
}

inline TreeExtractorOptions plain_options() {
  TreeExtractorOptions options;
  options.mask.allowed = kPlain;
  return options;
}

inline Result<void> extract(ConstBytes archive, const std::string& folder,
                            const TreeExtractorOptions& options = plain_options()) {
  Result<std::unique_ptr<TreeExtractor>> extractor = TreeExtractor::open(folder, options);
  if (!extractor) return fail(extractor.error());
  MemorySource source(archive);
  return extract_tree(source, {}, **extractor);
}

// A little of everything that any user can make.
inline void make_tree(const std::string& root) {
  fs::create_directories(root + "/sub/deep");
  fs::create_directory(root + "/empty");
  write(root + "/hello", "hello\n");
  write(root + "/nothing", "");
  write(root + "/sub/data", std::string(100'000, 'd'));
  write(root + "/sub/deep/x", "x");
  write(root + "/sub-dash", "sorts between sub and sub.dot");
  write(root + "/sub.dot", ".");
  fs::create_symlink("../hello", root + "/sub/link");
  GODWIT_CHECK(::mkfifo((root + "/fifo").c_str(), 0640) == 0);
  GODWIT_CHECK(::chmod((root + "/hello").c_str(), 0751) == 0);
  GODWIT_CHECK(::chmod((root + "/empty").c_str(), 01755) == 0);
  const timespec old[2] = {{0, UTIME_OMIT}, {-5, 999'999'999}};
  GODWIT_CHECK(::utimensat(AT_FDCWD, (root + "/sub.dot").c_str(), old, 0) == 0);
}

}  // namespace godwit::chunks::scene
