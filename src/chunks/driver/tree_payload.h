// A regular file of a tree while its bytes are read: in order, with stretches left out as the reader likes. Holes are not read.
#pragma once

#include <sys/stat.h>

#include <string>

#include "chunks/core/archive_encoder.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

class TreePayload final : public ArchivePayload {
 public:
  // `path` is for messages. `size` is what the archive says; 0 for a file whose bytes are the kernel's.
  TreePayload(Descriptor descriptor, std::string path, const struct stat& status, std::uint64_t size,
              std::optional<FileState> state);

  std::optional<FileState> state() const override { return state_; }
  Result<void> read(std::uint64_t offset, MutableBytes into) override;

 private:
  Result<void> look_for_data(std::uint64_t offset);

  Descriptor descriptor_;
  std::string path_;
  std::uint64_t size_;
  bool is_sparse_;
  std::optional<FileState> state_;
  std::uint64_t data_start_ = 0;  // of a sparse file, as far as is known: no data before this one…
  std::uint64_t data_end_ = 0;    // … and data up to here
};

}  // namespace godwit::chunks
