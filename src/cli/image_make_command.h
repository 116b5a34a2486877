// `godwit image make`: a file, a device or standard input becomes an index and chunks.
#pragma once

#include <optional>
#include <string>

#include "cli/image_run.h"

namespace godwit::cli {

struct MakeOptions {
  std::string index;
  std::string input = "-";
  StoreOptions store;
  std::string chunk_size;
  std::string digest = "sha512-256";
  bool no_digest = false;
  bool no_sync = false;
  unsigned threads = 0;
};

int run_image_make(const Settings& settings, const MakeOptions& options);

}  // namespace godwit::cli
