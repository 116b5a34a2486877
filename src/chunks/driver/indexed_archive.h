// An index and its chunks, read anywhere as the archive that they are. Whoever reads blocks its own thread, while the chunks come
// in on the scheduler's; where it reads on, those that follow are asked for ahead. What is kept: the chunks around the place that
// was read last, at most kIndexedArchiveBytesMax and one chunk.
#pragma once

#include <cstdint>
#include <memory>

#include "chunks/core/archive_seek.h"
#include "chunks/core/index.h"
#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

inline constexpr std::uint64_t kIndexedArchiveBytesMax = std::uint64_t{32} << 20;

class IndexedArchive final : public ArchiveBytes {
 public:
  // All of them outlive it and the jobs that it gave to `workers`; the scheduler runs on another thread than the reader's. What
  // `seeds` have (it may be null) is not asked of the store.
  IndexedArchive(Index index, ChunkStore& store, ChunkReader* seeds, net::Workers& workers, net::Scheduler& scheduler);
  ~IndexedArchive() override;

  const Index& index() const;
  std::uint64_t size() const override;
  // ErrorKind::cancelled after cancel(); else what the store says, ErrorKind::corrupt for a chunk of another length than the
  // index tells. One thread at a time.
  Result<void> read(std::uint64_t offset, MutableBytes into) override;
  // Without it, nothing is read ahead.
  void will_read(std::uint64_t start, std::uint64_t end) override;
  // Bytes that have come so far: from the store, and from what was here. Any thread.
  struct Counts {
    std::uint64_t fetched = 0;
    std::uint64_t reused = 0;  // from seeds
  };
  Counts so_far() const;
  // Ends a read that waits, and all that follow. Any thread.
  void cancel();

 private:
  class Shelf;
  std::shared_ptr<Shelf> shelf_;
};

}  // namespace godwit::chunks
