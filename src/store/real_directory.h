// The Directory interface over a folder of the file system. Files it creates have mode 0600. While a file is written its bytes
// lie under a name that ends in ".tmp": such names are nobody's, list() leaves them out, and they are refused as arguments.
#pragma once

#include <memory>
#include <string>

#include "net/scheduler.h"
#include "net/worker_pool.h"
#include "store/directory.h"

namespace godwit::store {

// `path` exists and is a folder. The scheduler and the workers outlive the directory; its calls under way may end after it.
Result<std::unique_ptr<Directory>> make_directory(const std::string& path, net::Workers& workers, net::Scheduler& scheduler);

}  // namespace godwit::store
