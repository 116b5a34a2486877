#include "cli/image_seeds.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "cli/user_cache.h"

namespace godwit::cli {

namespace {

namespace fs = std::filesystem;

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Whether one of them lies in the other.
bool overlap(const std::string& one, const std::string& other) {
  std::error_code error;
  const fs::path a = fs::weakly_canonical(one, error) / "";
  const fs::path b = fs::weakly_canonical(other, error) / "";
  return !error && (a.string().starts_with(b.string()) || b.string().starts_with(a.string()));
}

// The same folder, by whatever name.
bool are_one(const std::string& one, const std::string& other) {
  std::error_code error;
  return fs::equivalent(one, other, error) && !error;
}

std::string temporary_folder() {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

void add_folder(chunks::SeedMap& seeds, const std::string& path, const TreeOptions& options, ImageRun& run,
                std::function<void(Result<void>)> then) {
  const Result<chunks::UidShift> shift = options.shift(path);
  if (!shift) return then(fail(shift.error()));
  const chunks::SeedMap::Folder folder{.path = path,
                                       .shift = *shift,
                                       .spool_folder = temporary_folder(),
                                       .will_change = !options.target.empty() && overlap(path, options.target)};
  seeds.add_folder(folder, run.threads(), run.workers(), run.loop(), std::move(then));
}

// Nobody asked for that, so it neither fills the disk nor ends the run.
void add_target(chunks::SeedMap& seeds, const TreeOptions& options, ImageRun& run,
                const std::function<void(Result<void>)>& then) {
  const Result<chunks::UidShift> shift = options.shift(options.target);
  if (!shift) return then(fail(shift.error()));
  chunks::SeedMap::Folder folder{
      .path = options.target, .shift = *shift, .spool_folder = temporary_folder(), .will_change = true, .spool_bytes_max = 0};
  std::error_code error;
  if (const fs::space_info space = fs::space(folder.spool_folder, error); !error) folder.spool_bytes_max = space.available / 2;
  seeds.add_folder(folder, run.threads(), run.workers(), run.loop(), [&run, then](Result<void> added) {
    if (!added) run.console().warning("what is replaced is no seed: " + added.error().message());
    then({});
  });
}

}  // namespace

std::optional<chunks::SeedCache> seed_cache_of(const std::string& chosen) {
  if (chosen == "no") return std::nullopt;
  const std::string folder = !chosen.empty() ? chosen : user_cache_folder("seeds");
  if (folder.empty()) return std::nullopt;
  return chunks::SeedCache(folder);
}

bool has_seed_in_target(const TreeOptions& options) {
  std::error_code error;
  return options.seed_target && is_folder(options.target) && !fs::is_empty(options.target, error) && !error &&
         std::ranges::none_of(options.seeds, [&](const std::string& seed) { return are_one(seed, options.target); });
}

void add_seeds(chunks::SeedMap& seeds, std::vector<std::string> paths, const TreeOptions& options, bool with_target,
               ImageRun& run, std::function<void(Result<void>)> then) {
  if (paths.empty()) return with_target ? add_target(seeds, options, run, then) : then({});
  const std::string path = paths.front();
  paths.erase(paths.begin());
  auto next = [&seeds, &options, with_target, &run, paths = std::move(paths), then](Result<void> added) mutable {
    if (!added) return then(std::move(added));
    add_seeds(seeds, std::move(paths), options, with_target, run, std::move(then));
  };
  if (is_folder(path)) return add_folder(seeds, path, options, run, std::move(next));
  seeds.add(path, run.threads(), run.workers(), run.loop(), std::move(next));
}

}  // namespace godwit::cli
