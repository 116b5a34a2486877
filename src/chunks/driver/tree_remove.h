// Takes nodes away, whole folders too, by descriptors and single names: a symlink is removed, never followed.
#pragma once

#include <string>

#include "base/error.h"

namespace godwit::chunks {

// Removes `name` from the folder `parent`, with all below it. What is gone already is no error. With `undo_immutable` the
// chattr flags that forbid it are taken away first. Does not enter other file systems' mount points: they are busy.
Result<void> remove_tree(int parent, const std::string& name, bool undo_immutable);

}  // namespace godwit::chunks
