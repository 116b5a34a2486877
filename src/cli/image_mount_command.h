// `godwit image mount`: a tree, or a blob as one file, where this machine mounts it, read-only, until it is unmounted or told to
// end.
#pragma once

#include <string>

#include "cli/image_view.h"
#include "cli/tree_commands.h"

namespace godwit::cli {

struct MountOptions {
  std::string image;
  std::string folder;
  std::string subpath;  // of a tree, what is mounted; "": all of it
  ImageViewOptions view;
  TreeOptions tree;  // what, uid_shift and uid_range
  bool make_folder = true;
};

int run_image_mount(const Settings& settings, const MountOptions& options);

}  // namespace godwit::cli
