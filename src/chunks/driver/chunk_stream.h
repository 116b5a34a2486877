// Reads a source, cuts it, hashes the chunks: everything that `make` does before a store comes into it, and what indexing a seed
// is. One job after the other reads blocks into a ring; jobs beside it look for candidates, block by block; on the scheduler's
// thread the walk decides the cuts; jobs hash batches of chunks, and one chain of jobs the whole stream, if that is wanted. The
// chunks come out the same for any number of threads. Memory: one ring of 8 MiB a thread, but 16 to 64 MiB, or of two chunks of
// the largest size and 8 MiB.
//
// Holes are not read: a long one becomes runs of equal chunks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "chunks/core/candidate_scan.h"
#include "chunks/core/chunk_id.h"
#include "chunks/core/cut_rule.h"
#include "chunks/driver/byte_source.h"
#include "net/worker_pool.h"

namespace godwit::chunks {

using net::Done;

struct StreamChunk {
  std::uint64_t number = 0;  // of the chunk in the stream
  std::uint64_t offset = 0;
  std::uint64_t count = 1;         // more than one: so many chunks of zeros, one behind the other, all with this id and length
  ConstBytes data;                 // of one of them
  std::uint64_t known_length = 0;  // in place of data: the store has it, and nobody has read it
  ChunkId id;

  std::uint64_t length() const { return data.empty() ? known_length : data.size(); }
};

// Some chunks that follow each other. Their data live while `hold` does; the ring fills, and reading stops, while it is held. To
// be let go on the scheduler's thread.
struct ChunkBatch {
  std::vector<StreamChunk> chunks;
  std::shared_ptr<void> hold;
};

struct ChunkStreamEnd {
  std::uint64_t size = 0;
  std::uint64_t chunk_count = 0;
  std::optional<ChunkId> digest;  // of the stream, where it was wanted
  std::uint64_t known_bytes = 0;  // of chunks with a known_length
};

// Where chunks come from.
class ChunkSource {
 public:
  // Gives up; what jobs still do is lost. Batches that are held stay valid.
  virtual ~ChunkSource() = default;
  // Batches come in any order. `done` comes when every batch has been given to `sink`, or at the first error.
  virtual void start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) = 0;
  // Gives up: neither a batch nor `done` comes any more.
  virtual void stop() = 0;
  virtual std::uint64_t bytes_read() const = 0;
};

struct ChunkStreamOptions {
  CutRule rule = *CutRule::of({});
  Digest digest = Digest::sha512_256;
  bool digest_stream = false;
  unsigned threads = 1;  // of `workers`: how much is given to them at once
  ScanVariant scan = scan_variants().back();
};

class ChunkStream final : public ChunkSource {
 public:
  // `workers` and `scheduler` outlive it.
  ChunkStream(std::unique_ptr<ByteSource> source, const ChunkStreamOptions& options, net::Workers& workers,
              net::Scheduler& scheduler);
  ~ChunkStream() override;

  void start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) override;
  void stop() override;
  std::uint64_t bytes_read() const override;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
