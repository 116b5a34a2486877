// A chunk that was had before its turn came, in front of the store it came from: whoever wants it is given it without asking
// there again, which with a remote could take another connection (remote_store.h).
#pragma once

#include <memory>

#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

// `data` is verified, as what `digest` names `id`; it is held for as long as the store is there. All else is `behind`'s. The
// scheduler outlives it.
std::unique_ptr<ChunkStore> make_store_with_chunk(std::unique_ptr<ChunkStore> behind, const ChunkId& id, Digest digest,
                                                  Bytes data, net::Scheduler& scheduler);

}  // namespace godwit::chunks
