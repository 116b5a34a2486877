#include "chunks/driver/chunk_reader.h"

#include <vector>

#include "chunks/core/chunk_digest.h"

namespace godwit::chunks {

void read_verified(std::span<WantedChunk> wanted, Digest digest, const std::function<bool(WantedChunk&)>& fill) {
  std::vector<WantedChunk*> filled;
  std::vector<ConstBytes> data;
  for (WantedChunk& chunk : wanted) {
    if (chunk.got || !fill(chunk)) continue;
    filled.push_back(&chunk);
    data.emplace_back(chunk.into);
  }
  std::vector<ChunkId> ids(data.size());
  chunk_ids_of(data, digest, ids);
  for (std::size_t i = 0; i < ids.size(); ++i) filled[i]->got = ids[i] == filled[i]->id;
}

}  // namespace godwit::chunks
