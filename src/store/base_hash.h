// The hash of a base image: SHA-256 over the SHA-256 of its blocks, in order (the last one as short as it is). Two hosts that
// find the same hash, at the same block size, have the same base below their overlays. Source: ownership.md 16, "Base".
#pragma once

#include <cstdint>

#include "base/hash.h"
#include "net/scheduler.h"
#include "net/worker_pool.h"
#include "store/block_device.h"

namespace godwit::store {

// Reads the whole device, a few pieces at a time, and hashes on workers. The device, the workers and the scheduler outlive it.
void hash_base(BlockDevice& base, std::uint32_t block_size, net::Workers& workers, Done<Sha256> done);

}  // namespace godwit::store
