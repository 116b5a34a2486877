// The chunks of a tree's archive, without those being read that are known from the last time (core/archive_cutter.h): for `make`,
// where the store has to have them, and of a seed.
// One job after the other walks the tree, and reads and cuts what is not known; jobs beside it hash. What a ChunkStream of the
// same tree would give, but for the digest of the whole, which there is none of. Memory: a batch of 1 MiB and a chunk of the
// largest size per thread, and one more.
#pragma once

#include <memory>

#include "chunks/core/archive_pieces.h"
#include "chunks/core/encoder_cache.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/chunk_stream.h"

namespace godwit::chunks {

class ArchiveChunks final : public ChunkSource {
 public:
  // `cache` is what is known; chunks of it that `store` has not count as not known, nor does one of another rule or digest; with
  // no store, all count. When `done` has come without an error it is what is known then. `cache`, `store`, `workers` and
  // `scheduler` outlive this. The watcher may be null, and is the tree or owned by it.
  ArchiveChunks(std::shared_ptr<LazyArchiveTree> tree, EncoderCache& cache, ChunkStore* store, const ChunkStreamOptions& options,
                net::Workers& workers, net::Scheduler& scheduler, ArchiveWatcher* watcher = nullptr);
  ~ArchiveChunks() override;

  void start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) override;
  void stop() override;
  std::uint64_t bytes_read() const override;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
