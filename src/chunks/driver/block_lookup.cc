#include "chunks/driver/block_lookup.h"

#include <algorithm>
#include <utility>

namespace godwit::chunks {

void BlockLookup::fetch(const Sha256& hash, Done<Bytes> done) {
  ChunkId id;
  static_assert(sizeof(id.bytes) == sizeof(hash));
  std::ranges::copy(hash, id.bytes.begin());
  store_.get(id, Digest::sha256, block_bytes_max_, std::move(done));
}

}  // namespace godwit::chunks
