// A store on this machine in front of one that is far: what was fetched once is found here. It is filled by reading and may lose
// any of its chunks at any time; nothing relies on it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

// Bytes of chunks that a cache has given out, counted as it gives them. Any thread.
using CacheTally = std::atomic<std::uint64_t>;

// get() looks into `cache` first; what it has not, or has damaged, comes from `behind`, and is kept before it is given out. Where
// it can not be kept (a full disk) it is given out all the same. Everything else is `behind`'s. `tally` may be null.
std::unique_ptr<ChunkStore> make_cached_store(std::unique_ptr<ChunkStore> cache, std::unique_ptr<ChunkStore> behind,
                                              std::shared_ptr<CacheTally> tally = nullptr);

}  // namespace godwit::chunks
