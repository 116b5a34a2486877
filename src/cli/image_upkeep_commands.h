// `godwit image info`, `diff`, `verify` and `gc`: what indexes say, whether stores have it, and what they need not keep.
#pragma once

#include <string>
#include <vector>

#include "cli/image_run.h"

namespace godwit::cli {

struct InfoOptions {
  std::string index;
  StoreOptions store;
};
int run_image_info(const Settings& settings, const InfoOptions& options);

struct DiffOptions {
  std::string from;
  std::string to;
};
int run_image_diff(const Settings& settings, const DiffOptions& options);

struct VerifyCommandOptions {
  std::vector<std::string> indexes;  // none: the whole store
  StoreOptions store;
  bool repair = false;
};
int run_image_verify(const Settings& settings, const VerifyCommandOptions& options);

struct GcOptions {
  std::vector<std::string> indexes;
  StoreOptions store;
  bool dry_run = false;
  bool verbose = false;
  bool quiet = false;  // only errors
};
int run_image_gc(const Settings& settings, const GcOptions& options);

}  // namespace godwit::cli
