// One block device as a folder with one file in it.
#pragma once

#include <memory>
#include <string>

#include "export/file_tree.h"
#include "store/block_device.h"

namespace godwit::exports {

// `name` is one path element; `file` gives the mode (a regular file's), the owner and the time, the folder's are made from it.
// The device outlives the tree.
std::unique_ptr<FileTree> make_device_tree(std::string name, store::BlockDevice& device, const FileStatus& file,
                                           net::Scheduler& scheduler);

}  // namespace godwit::exports
