// A seed folder as the bytes of its archive, and where each of them can be had again: those of files in the files, those between
// in a temporary file without a name, a small part of the archive. So no copy of the tree is made, unless it is about to change:
// then all goes to the temporary file. It is only a hint, as every seed is: who reads from it verifies what came.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chunks/driver/tree_file.h"
#include "chunks/driver/tree_walker.h"

namespace godwit::chunks {

class SeedTree final : private ArchiveTree {
 public:
  struct Options {
    TreeWalkerOptions walker;
    std::string spool_folder;                           // for the temporary file
    bool copies_all = false;                            // the tree may change before its bytes are wanted
    std::uint64_t spool_bytes_max = ~std::uint64_t{0};  // of the temporary file; more is ErrorKind::limit
  };
  static Result<std::unique_ptr<SeedTree>> open(const std::string& path, const Options& options);

  // The archive from its beginning to its end: fills `into`, less only at the end, 0 there. After an error nothing of it is had,
  // and the temporary file is gone.
  Result<std::size_t> read(MutableBytes into);
  // After that: what lies there, or false where it cannot be had any more. Any thread.
  bool read_at(std::uint64_t offset, MutableBytes into) const;

 private:
  // Bytes of the archive that are a file's, from its first on.
  struct Span {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::uint64_t before = 0;  // what spans before have together
    std::string path;
  };

  SeedTree(std::unique_ptr<TreeWalker> walker, Descriptor top, Descriptor spool, const Options& options)
      : walker_(std::move(walker)),
        encoder_(*this),
        top_(std::move(top)),
        spool_(std::move(spool), true),
        copies_all_(options.copies_all),
        spool_bytes_max_(options.spool_bytes_max) {}

  Result<Step> next() override;
  const Node& node() const override { return walker_->node(); }
  std::string_view name() const override { return walker_->name(); }
  Result<void> read_payload(MutableBytes into) override;
  Result<void> spool(ConstBytes bytes, std::uint64_t offset);
  bool read_file(const Span& span, std::uint64_t offset, MutableBytes into) const;

  std::unique_ptr<TreeWalker> walker_;
  ArchiveEncoder encoder_;
  const Descriptor top_;
  TreeFile spool_;
  const bool copies_all_;
  const std::uint64_t spool_bytes_max_;
  bool is_new_file_ = false;
  std::vector<Span> spans_;  // by offset
};

}  // namespace godwit::chunks
