// Indexes and stores that do not lie here: at a host that ssh reaches, or behind a URL. Source: casync.md 1, 2.1.
#pragma once

#include <memory>
#include <string>

#include "chunks/core/index.h"
#include "chunks/driver/chunk_store.h"
#include "cli/image_make_command.h"
#include "cli/image_run.h"
#include "cli/tree_commands.h"
#include "net/descriptor.h"

namespace godwit::cli {

// "[user@]host:path" or "scheme://…", but no file URL.
bool is_remote_place(const std::string& place);

// From a file, standard input ("-"), a URL, or a remote casync. Blocks until it is here.
Result<chunks::Index> read_index(const std::string& place, const StoreOptions& options = {});

// Only read; `place` is remote.
Result<std::unique_ptr<chunks::ChunkStore>> open_remote_store(const std::string& place, const StoreOptions& options,
                                                              ImageRun& run);

// An index and where its chunks come from. One peer gives both where both lie with it. Blocks until the index is here, and of an
// archive's its first chunk: desync can make an index whose flags name another digest than its chunks have (casync.md 8.1), which
// is then corrected, with a warning. That chunk is not asked for again.
struct OpenImage {
  chunks::Index index;
  std::unique_ptr<chunks::ChunkStore> store;
};
Result<OpenImage> open_image(const std::string& index_place, const StoreOptions& options, ImageRun& run);

// `make` where the index, the index and the store, or the archive lie at a host that ssh reaches: made here at first, then
// pushed.
int run_remote_make(const Settings& settings, const MakeOptions& options, TreeKind kind);

// An archive of elsewhere, in a temporary file without a name for as long as this lives. Blocks until it is here.
class FetchedArchive {
 public:
  static Result<FetchedArchive> fetch(const std::string& place, const StoreOptions& options);
  bool is_here() const { return file_.is_open(); }
  std::string path() const;  // of this process

 private:
  net::Descriptor file_;
};

}  // namespace godwit::cli
