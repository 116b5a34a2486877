// A seed folder as its archive, and where each byte of that can be had again: those of files in the files, those between in a
// temporary file without a name, a small part of the archive. So no copy of the tree is made. Where the folder is about to
// change, what is wanted of it is held: larger files open, the rest in the temporary file. It is only a hint, as every seed is:
// who reads from it verifies what came.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chunks/core/archive_pieces.h"
#include "chunks/driver/tree_file.h"
#include "chunks/driver/tree_walker.h"

namespace godwit::chunks {

// First whoever cuts the archive walks through it, by one thread and with the tree itself as the watcher; then it is read.
class SeedTree final : public LazyArchiveTree, public ArchiveWatcher {
 public:
  struct Options {
    TreeWalkerOptions walker;
    std::string spool_folder;                           // for the temporary file
    std::uint64_t spool_bytes_max = ~std::uint64_t{0};  // of it; more is ErrorKind::limit
  };
  static Result<std::unique_ptr<SeedTree>> open(const std::string& path, const Options& options);

  Result<Step> next() override { return walker_->next(); }
  const Node& node() const override { return walker_->node(); }
  std::string_view name() const override { return walker_->name(); }
  Result<void> read_payload(MutableBytes into) override { return walker_->read_payload(into); }
  std::unique_ptr<ArchivePayload> take_payload() override { return walker_->take_payload(); }
  Result<void> watch_records(ConstBytes bytes) override;
  void watch_payload(std::uint64_t size) override;

  // What lies there, or false where it cannot be had any more. Any thread.
  bool read_at(std::uint64_t offset, MutableBytes into) const;

  // A part of the archive, as it will be read.
  struct Stretch {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };
  // What of the folder is gone or replaced from now on is still had, as far as it is in `wanted`, which rises: files of
  // kHeldFileBytes or more stay open, the largest `files_max` of them; what is in others is copied, each stretch in memory at
  // once. Gives how many files it holds.
  static constexpr std::uint64_t kHeldFileBytes = std::uint64_t{64} << 10;
  Result<std::size_t> hold(std::span<const Stretch> wanted, std::size_t files_max);

 private:
  // Bytes of the archive that are a file's, from its first on.
  struct Span {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t before = 0;  // what spans before have together
    std::string path;
    Descriptor held;
  };
  struct Copy {
    Stretch stretch;       // of one file
    std::uint64_t at = 0;  // in the temporary file
  };

  SeedTree(std::unique_ptr<TreeWalker> walker, Descriptor top, Descriptor spool, const Options& options)
      : walker_(std::move(walker)),
        top_(std::move(top)),
        spool_(std::move(spool), false),
        spool_bytes_max_(options.spool_bytes_max) {}

  std::size_t span_at(std::uint64_t offset) const;
  Result<void> spool(ConstBytes bytes);
  bool read_file(const Span& span, std::uint64_t offset, MutableBytes into) const;

  std::unique_ptr<TreeWalker> walker_;
  const Descriptor top_;
  TreeFile spool_;
  const std::uint64_t spool_bytes_max_;
  std::uint64_t size_ = 0;    // of the archive so far
  std::vector<Span> spans_;   // by offset
  std::vector<Copy> copies_;  // by offset
};

}  // namespace godwit::chunks
