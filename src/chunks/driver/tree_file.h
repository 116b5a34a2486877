// A file that is being written from its beginning to its end: whole blocks of zeros become holes, and what it has already,
// because it shares blocks with another file (a reflink), is compared with what it is to have and written only where it is
// different. So nothing of the other file counts without having been seen in this one, which does not change with the other any
// more.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

class TreeFile {
 public:
  // Empty, or as expect_content() says, and open for reading, too, then.
  TreeFile(Descriptor descriptor, bool punch_holes) : descriptor_(std::move(descriptor)), punch_holes_(punch_holes) {}

  int descriptor() const { return descriptor_.get(); }
  std::uint64_t size() const { return size_; }
  // Before the first write, of a file that will have `size` bytes: takes the blocks of `source` that it can have. `not_here`
  // concerns this source, `never` the file system.
  enum class Sharing { shared, not_here, never };
  Sharing share(int source, std::uint64_t size);
  // Before the first write: up to there the file has bytes that may be right.
  void expect_content(std::uint64_t size) { content_end_ = size; }
  Result<void> write(ConstBytes bytes);
  // After the last write: a hole at the end gets its size, and what the file had behind it goes.
  Result<void> finish();
  // What was there and right.
  std::uint64_t kept_bytes() const { return kept_bytes_; }

 private:
  Result<void> write_over(ConstBytes bytes);
  Result<void> write_new(ConstBytes bytes);
  Result<void> write_data(ConstBytes bytes);
  bool make_hole(std::uint64_t offset, std::size_t size);

  Descriptor descriptor_;
  bool punch_holes_;
  std::uint64_t size_ = 0;
  bool ends_in_hole_ = false;
  std::uint64_t content_end_ = 0;
  std::uint64_t kept_bytes_ = 0;
  Bytes present_;
};

// Whether files in this folder can share blocks, as far as can be told without one.
bool may_share_blocks(int folder);

}  // namespace godwit::chunks
