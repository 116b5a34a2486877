// This machine's block devices, opened O_EXCL.
#pragma once

#include <memory>

#include "net/scheduler.h"
#include "net/worker_pool.h"
#include "store/block_devices.h"

namespace godwit::store {

// The scheduler and the workers outlive it and its devices.
std::unique_ptr<BlockDevices> make_block_devices(net::Scheduler& scheduler, net::Workers& workers);

}  // namespace godwit::store
