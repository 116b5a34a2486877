// `godwit image extract`, `cat` and `digest`: an index and chunks become bytes again, in a file, on standard output, or as a
// digest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/image_run.h"
#include "cli/tree_commands.h"

namespace godwit::cli {

struct ExtractOptions {
  std::string index;
  std::string output;
  std::string subpath;  // of a tree
  TreeOptions tree;
  StoreOptions store;
  std::vector<std::string> seeds;
  bool seed_output = true;
  std::string seed_cache;  // a folder, "no", or empty: the user's own
  bool in_place = false;
  bool punch_holes = true;
  bool reflink = true;
  bool no_sync = false;
  unsigned threads = 0;
};
int run_image_extract(const Settings& settings, const ExtractOptions& options);

struct CatOptions {
  std::string index;
  StoreOptions store;
  std::string offset;
  std::string length;
};
int run_image_cat(const Settings& settings, const CatOptions& options);

struct DigestOptions {
  std::string path = ".";
  std::string subpath;  // of a tree
  TreeOptions tree;
  StoreOptions store;
  std::string digest;
};
int run_image_digest(const Settings& settings, const DigestOptions& options);

}  // namespace godwit::cli
