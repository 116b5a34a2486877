// The state of a block device, which has no times: whether it was written since, as far as this machine's kernel knows. It counts
// what it writes to a disk, and numbers disks as they come (diskseq), from boot to boot. What it has not seen, a write by another
// machine to shared storage or to the file behind a loop device, does not show: that makes a seed a wrong hint, as always, and
// not more.
#pragma once

#include <sys/stat.h>

#include <optional>

#include "chunks/core/seed_index.h"

namespace godwit::chunks {

// Of an open device; what is to be written to it is written first, so that it is counted. Nothing where the kernel does not tell
// (before 5.15, where it does not count, without /sys).
std::optional<SeedIdentity> seed_identity_of_device(int descriptor, const struct stat& status);

}  // namespace godwit::chunks
