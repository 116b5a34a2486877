// A folder of blobs that is made only when the first blob is put: a push that stores nothing leaves nothing behind. From the
// first use of a folder that is there on, nobody removes chunks from it (StoreLock); while somebody does, everything is
// ErrorKind::busy.
#pragma once

#include <memory>
#include <string>

#include "net/worker_pool.h"
#include "store/blob_store.h"

namespace godwit::chunks {

// Never fails: until the first put, a folder that is not there has no blobs.
std::unique_ptr<store::BlobStore> make_lazy_blobs(std::string path, net::Workers& workers, net::Scheduler& scheduler);

}  // namespace godwit::chunks
