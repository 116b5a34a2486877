// What `extract` need not fetch: --seed, and what it replaces.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "chunks/driver/seed.h"
#include "cli/image_run.h"
#include "cli/tree_commands.h"

namespace godwit::cli {

// --seed-cache: where the chunks of seeds are kept from run to run; nothing where they are not.
std::optional<chunks::SeedCache> seed_cache_of(const std::string& chosen);

// Whether the target, a folder, has something that is worth being read, unless it is named as a seed.
bool has_seed_in_target(const TreeOptions& options);

// Adds `paths` one after the other, then what the target has if `with_target`, then goes on. All outlive that.
void add_seeds(chunks::SeedMap& seeds, std::vector<std::string> paths, const TreeOptions& options, bool with_target,
               ImageRun& run, std::function<void(Result<void>)> then);

}  // namespace godwit::cli
