// Blocks of volumes by their SHA-256, out of any chunk store: the answering half of a port by which a volume finds a block near
// at hand before it has it sent. `make --fixed` stores a volume so that its blocks are chunks. The host joins the two.
#pragma once

#include <cstdint>

#include "base/hash.h"
#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

class BlockLookup {
 public:
  // `block_bytes_max` is the largest block that anybody will ask for. The store outlives the lookups.
  BlockLookup(ChunkStore& store, std::uint64_t block_bytes_max) : store_(store), block_bytes_max_(block_bytes_max) {}

  // The bytes whose SHA-256 is `hash`, verified; ErrorKind::not_found where the store has none, ErrorKind::corrupt where what it
  // has is damaged or larger than a block.
  void fetch(const Sha256& hash, Done<Bytes> done);

 private:
  ChunkStore& store_;
  const std::uint64_t block_bytes_max_;
};

}  // namespace godwit::chunks
