// A store on this machine in front of one that is far: what was fetched once is found here. It is filled by reading and may lose
// any of its chunks at any time; nothing relies on it.
#pragma once

#include <memory>

#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

// get() looks into `cache` first; what it has not, or has damaged, comes from `behind`, and is kept before it is given out. Where
// it can not be kept (a full disk) it is given out all the same. Everything else is `behind`'s.
std::unique_ptr<ChunkStore> make_cached_store(std::unique_ptr<ChunkStore> cache, std::unique_ptr<ChunkStore> behind);

}  // namespace godwit::chunks
