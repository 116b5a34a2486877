// The whole content of one device into another that is at least as large and still all zeros.
#pragma once

#include <memory>

#include "store/block_device.h"

namespace godwit::host {

// Holes are left out; ends when everything is on stable storage. `to` outlives the copying.
void copy_device(std::unique_ptr<store::BlockDevice> from, store::BlockDevice& to, store::Done<void> done);

}  // namespace godwit::host
