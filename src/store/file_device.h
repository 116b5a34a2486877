// A regular file, sparse file or block device as a BlockDevice. Reads that the page cache can answer are answered in the caller's
// turn (their `done` in a later one), everything else runs on workers, many requests to a wake.
#pragma once

#include <memory>
#include <string>

#include "net/scheduler.h"
#include "net/worker_pool.h"
#include "store/block_device.h"
#include "store/disk_file.h"

namespace godwit::store {

// The scheduler and the workers outlive the device. Destroying the device waits for the calls that run at that moment and
// closes the file; requests that have not ended then end without `done`.
std::unique_ptr<BlockDevice> make_file_device(std::unique_ptr<DiskFile> file, net::Scheduler& scheduler, net::Workers& workers);

// The same, of a path; opening blocks for a moment.
Result<std::unique_ptr<BlockDevice>> open_file_device(const std::string& path, bool read_only, net::Scheduler& scheduler,
                                                      net::Workers& workers);

}  // namespace godwit::store
