// Chunks that can be had by calls that block: from a local store, a seed, an output that holds them already. Who is on a worker
// anyway reads, decompresses and hashes a run of them there, into memory that it uses again, instead of being handed each one.
#pragma once

#include <functional>
#include <span>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks {

struct WantedChunk {
  ChunkId id;
  MutableBytes into;  // as long as the chunk
  bool got = false;   // `into` holds its bytes, verified
};

class ChunkReader {
 public:
  virtual ~ChunkReader() = default;
  // Fills those that are not got yet and that it has. What lies in the others' memory afterwards means nothing; why they were not
  // had is not told: whoever needs them asks elsewhere, and at last ChunkStore::get(), which says. Any thread.
  virtual void read(std::span<WantedChunk> wanted, Digest digest) = 0;
};

// Lets `fill` try each that is not got (true: all of `into` is filled), then hashes them, many at once.
void read_verified(std::span<WantedChunk> wanted, Digest digest, const std::function<bool(WantedChunk&)>& fill);

}  // namespace godwit::chunks
