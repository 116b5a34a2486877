// Chunks that an index names more than once, in front of stores that are far: each is asked for once while it is on its way, and
// kept for the next who wants it. It saves bytes over HTTP; a remote casync answers for a chunk once in a session, so that each
// repeat would take another connection (remote_store.h).
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_set>

#include "chunks/core/index.h"
#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

inline constexpr std::uint64_t kRepeatedChunksBytesMax = std::uint64_t{32} << 20;

// The ids that come more than once. Takes 4 bytes per chunk of the index meanwhile.
std::unordered_set<ChunkId> repeats_of(const Index& index);

// Of those in `repeats`, at most `bytes_max` are kept, the ones that were wanted last. All else is `behind`'s. The scheduler
// outlives it.
std::unique_ptr<ChunkStore> make_store_of_repeats(std::unique_ptr<ChunkStore> behind, std::unordered_set<ChunkId> repeats,
                                                  net::Scheduler& scheduler, std::uint64_t bytes_max = kRepeatedChunksBytesMax);

}  // namespace godwit::chunks
