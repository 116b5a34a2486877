// Blobs in memory, for tests and for what need not last. `done` comes in a later turn of the scheduler.
#pragma once

#include <memory>

#include "store/blob_store.h"

namespace godwit::store {

std::unique_ptr<BlobStore> make_memory_blobs(net::Scheduler& scheduler);

}  // namespace godwit::store
