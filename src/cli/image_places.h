// Indexes and stores that do not lie here: at a host that ssh reaches, or behind a URL. Source: casync.md 1, 2.1.
#pragma once

#include <memory>
#include <string>

#include "chunks/core/index.h"
#include "chunks/driver/chunk_store.h"
#include "cli/image_make_command.h"
#include "cli/image_run.h"

namespace godwit::cli {

// "[user@]host:path" or "scheme://…", but no file URL.
bool is_remote_place(const std::string& place);

// From a file, standard input ("-"), a URL, or a remote casync. Blocks until it is here.
Result<chunks::Index> read_index(const std::string& place);

// Only read; `place` is remote.
Result<std::unique_ptr<chunks::ChunkStore>> open_remote_store(const std::string& place, ImageRun& run);

// `make` where the index, or the index and the store, lie at a host that ssh reaches: made here at first, then pushed.
int run_remote_make(const Settings& settings, const MakeOptions& options);

}  // namespace godwit::cli
