// `make` for a blob: the chunks of a stream go into a store, what they are into an index. The index gets its name only when every
// chunk that it names is in the store, and both are durable; until then there is nothing but its temporary file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "chunks/driver/chunk_store.h"
#include "chunks/driver/chunk_stream.h"
#include "chunks/driver/index_file.h"

namespace godwit::chunks {

struct MakeBlobOptions {
  ChunkStreamOptions stream;
  FeatureFlags flags = kDefaultBlobFlags;  // the digest's bit is set from stream.digest
  bool sync = true;                        // durable before the end; else a crash of the machine may lose chunks
};

struct MakeBlobResult {
  ChunkStreamEnd stream;
  std::uint64_t new_chunks = 0;
  std::uint64_t new_bytes = 0;  // of them, before compression
};

class MakeBlob {
 public:
  // `store`, `workers` and `scheduler` outlive it.
  static Result<std::unique_ptr<MakeBlob>> create(std::unique_ptr<ByteSource> source, const std::string& index_path,
                                                  ChunkStore& store, const MakeBlobOptions& options, net::Workers& workers,
                                                  net::Scheduler& scheduler);
  // Of chunks that somebody cuts: by `options.stream`, from whatever. `mode` is of a new index, before the umask.
  static Result<std::unique_ptr<MakeBlob>> create(std::unique_ptr<ChunkSource> chunks, unsigned mode,
                                                  const std::string& index_path, ChunkStore& store,
                                                  const MakeBlobOptions& options, net::Workers& workers);
  // Gives up: no index, though chunks may have been stored.
  ~MakeBlob();

  void start(Done<MakeBlobResult> done);
  std::uint64_t bytes_read() const;
  std::uint64_t new_bytes() const;

 private:
  class Impl;
  explicit MakeBlob(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
