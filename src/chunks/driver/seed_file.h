// A file of a seed folder, opened again by the path at which it was once seen.
#pragma once

#include <string>

#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

// `path` is relative to `folder`. Out of that folder nothing leads, also no symlink that was put there since; what is no regular
// file any more is not opened. Where the kernel (before 5.6) does not have the call for that, nothing is.
Descriptor open_seed_file(int folder, const std::string& path);

}  // namespace godwit::chunks
