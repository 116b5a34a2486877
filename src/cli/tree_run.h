// A tree's archive while it is read: from a folder, a file here or elsewhere, or an index and its chunks, with its progress
// shown.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chunks/driver/watched_stream.h"
#include "cli/image_run.h"

namespace godwit::cli {

// Shows how far a stream is, and what `note`, which may be empty, adds at each look.
void show_tree_progress(ImageRun& run, const std::string& what, const std::string& title,
                        const std::shared_ptr<chunks::StreamWatch>& watch, const std::function<std::string()>& note = {});

}  // namespace godwit::cli
