// `godwit image make`: a file, a device, standard input or a folder becomes an index and chunks; a folder also an archive.
#pragma once

#include <optional>
#include <string>

#include "cli/image_run.h"
#include "cli/tree_commands.h"

namespace godwit::cli {

struct MakeOptions {
  std::string index;
  std::string input;  // "": standard input, or for a tree the folder we are in
  TreeOptions tree;
  StoreOptions store;
  std::string chunk_size;
  std::string fixed;        // the size of a volume's blocks; chunks are then these, named by SHA-256
  std::string digest;       // "": sha512-256
  std::string cache;        // the folder in which is kept what of trees need not be read again; "": nothing is kept …
  bool cache_auto = false;  // … unless this says to keep it in the user's own
  bool no_digest = false;
  bool no_sync = false;
  unsigned threads = 0;
};

int run_image_make(const Settings& settings, const MakeOptions& options);

}  // namespace godwit::cli
