// An archive's bytes on their way to somebody who reads them in one go, watched by another thread: it sees how far the reader has
// come, and can end it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "chunks/driver/tree_archive.h"

namespace godwit::chunks {

// Shared by the reader's thread and those that look at it.
struct StreamWatch {
  std::atomic<std::uint64_t> bytes_read = 0;
  std::atomic<std::uint64_t> bytes_total = 0;  // 0: nobody knows before the end
  std::atomic<bool> is_stopped = false;        // set it, and the next read is ErrorKind::cancelled
};

class WatchedStream final : public ArchiveStream {
 public:
  // `size` is what bytes_total will say.
  WatchedStream(std::unique_ptr<ArchiveStream> source, std::uint64_t size, std::shared_ptr<StreamWatch> watch);
  Result<std::size_t> read(MutableBytes into) override;

 private:
  std::unique_ptr<ArchiveStream> source_;
  std::shared_ptr<StreamWatch> watch_;
};

}  // namespace godwit::chunks
