// Blobs as files below a folder. A blob is written under a temporary name beside its own (NAME.HEX.tmp) and renamed without
// replacing; folders are made as they are needed, blobs are readable by all and writable by nobody (as the umask allows). sync()
// syncs the file system.
#pragma once

#include <memory>

#include "net/worker_pool.h"
#include "store/blob_store.h"

namespace godwit::store {

inline constexpr std::string_view kBlobTemporarySuffix = ".tmp";

// `create`: make the folder where there is none (its parent must be there).
Result<std::unique_ptr<BlobStore>> make_directory_blobs(const std::string& path, bool create, net::Workers& workers,
                                                        net::Scheduler& scheduler);

}  // namespace godwit::store
