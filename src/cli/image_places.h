// Indexes and stores that do not lie here: at a host that ssh reaches, or behind a URL. Source: casync.md 1, 2.1.
#pragma once

#include <memory>
#include <string>

#include "chunks/core/index.h"
#include "chunks/core/remote_locator.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/http_client.h"
#include "chunks/driver/remote_store.h"
#include "cli/image_make_command.h"
#include "cli/image_run.h"
#include "cli/tree_commands.h"

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

// For who speaks to these places: by HTTP or not, how, and what messages call them.
bool is_http(const chunks::RemoteLocator& locator);
chunks::HttpClientOptions http_options(std::uint64_t rate);
chunks::RemoteConnector connector(net::EventLoop& loop, std::vector<std::string> words, std::uint64_t rate);
std::string title_of(const chunks::RemoteLocator& locator);

}  // namespace godwit::cli
