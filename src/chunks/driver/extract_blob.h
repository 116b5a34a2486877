// `extract` and everything else that reads a blob by its index: the chunks of a range go to an output, from the output itself
// where it has them, from seeds, or from a store. Many are under way at once; every one is verified before a byte of it is
// written.
#pragma once

#include <cstdint>
#include <memory>

#include "chunks/core/index.h"
#include "chunks/driver/blob_output.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/seed.h"

namespace godwit::chunks {

struct ExtractBlobOptions {
  std::uint64_t offset = 0;  // the range, within the blob
  std::uint64_t length = 0;
  // What may be asked of a store together, and the bytes that may be under way; one chunk may always be.
  std::size_t requests_max = 64;
  std::uint64_t bytes_max = 64 * 1024 * 1024;
};

struct ExtractBlobResult {
  std::uint64_t bytes_fetched = 0;  // from the store
  std::uint64_t bytes_reused = 0;   // from seeds, and what the output had
  std::uint64_t bytes_shared = 0;   // of the reused: as blocks of a seed. Known at the end
  std::uint64_t bytes_zero = 0;     // chunks of zeros: from nowhere
};

class ExtractBlob {
 public:
  // All of them outlive it, and when it is given up before its end, the jobs that are under way (until `workers` is gone);
  // `index` is not empty unless the range is. Offsets given to `output` count from the range's beginning.
  ExtractBlob(const Index& index, ChunkStore& store, SeedMap* seeds, BlobOutput& output, const ExtractBlobOptions& options,
              net::Workers& workers);
  ~ExtractBlob();

  // `done` comes after output.finish(), or after the first error, when nothing is under way any more.
  void start(net::Scheduler& scheduler, Done<ExtractBlobResult> done);
  const ExtractBlobResult& so_far() const;
  std::uint64_t bytes_done() const { return so_far().bytes_fetched + so_far().bytes_reused + so_far().bytes_zero; }

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
