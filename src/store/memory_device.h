// A BlockDevice in this process's memory: nothing is reserved until it is written, nothing survives the process. Its bytes lie
// open through memory(), also to be written; extents() finds what came in that way.
#pragma once

#include <cstdint>
#include <memory>

#include "net/scheduler.h"
#include "store/block_device.h"

namespace godwit::store {

// All zeros. ErrorKind::no_space when the address space does not hold it. Requests are done at once, their `done` comes in a
// later turn of `scheduler`, which outlives the device.
Result<std::unique_ptr<BlockDevice>> make_memory_device(std::uint64_t size, net::Scheduler& scheduler);

// Gives pages to a part of a device's memory(), whose content stays: whoever writes there soon does not pay for their first
// touch. For any thread, beside any other use of the range. A hint.
void touch_ahead(MutableBytes memory);

}  // namespace godwit::store
