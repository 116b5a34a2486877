// A file that is being written from its beginning to its end: whole blocks of zeros become holes.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

class TreeFile {
 public:
  TreeFile(Descriptor descriptor, bool punch_holes) : descriptor_(std::move(descriptor)), punch_holes_(punch_holes) {}

  int descriptor() const { return descriptor_.get(); }
  std::uint64_t size() const { return size_; }
  Result<void> write(ConstBytes bytes);
  // After the last write: a hole at the end gets its size.
  Result<void> finish();

 private:
  Result<void> write_data(ConstBytes bytes);

  Descriptor descriptor_;
  bool punch_holes_;
  std::uint64_t size_ = 0;
  bool ends_in_hole_ = false;
};

}  // namespace godwit::chunks
