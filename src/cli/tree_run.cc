#include "cli/tree_run.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/device_archive.h"
#include "chunks/driver/indexed_archive.h"
#include "chunks/driver/seed.h"
#include "cli/image_places.h"
#include "cli/remote_archive.h"
#include "host/quantity.h"

namespace godwit::cli {

static bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

void show_tree_progress(ImageRun& run, const std::string& what, const std::string& title,
                        const std::shared_ptr<chunks::StreamWatch>& watch, const std::function<std::string()>& note) {
  run.show_progress(what, [=](Progress& progress) {
    const std::uint64_t done = watch->bytes_read;
    const std::uint64_t total = watch->bytes_total;
    progress.title = title;
    progress.is_total_known = total > 0;
    progress.bytes_total = std::max(done, total);
    progress.bytes_left = progress.bytes_total - done;
    if (note) progress.note = note();
  });
}

// Whether one of them lies in the other.
static bool overlap(const std::string& one, const std::string& other) {
  std::error_code error;
  const std::filesystem::path a = std::filesystem::weakly_canonical(one, error) / "";
  const std::filesystem::path b = std::filesystem::weakly_canonical(other, error) / "";
  return !error && (a.string().starts_with(b.string()) || b.string().starts_with(a.string()));
}

// The same folder, by whatever name.
static bool are_one(const std::string& one, const std::string& other) {
  std::error_code error;
  return std::filesystem::equivalent(one, other, error) && !error;
}

// Whether the target has something that is worth being read. A seed that was named is read as such.
static bool has_seed_in_target(const TreeOptions& options) {
  std::error_code error;
  return options.seed_target && is_folder(options.target) && !std::filesystem::is_empty(options.target, error) && !error &&
         std::ranges::none_of(options.seeds, [&](const std::string& seed) { return are_one(seed, options.target); });
}

static std::string temporary_folder() {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
}

// What lies in the target is copied, since it changes; nobody asked for that, so it neither fills the disk nor ends the run.
static void add_target_as_seed(chunks::SeedMap& seeds, const TreeOptions& options, ImageRun& run,
                               const std::function<void(Result<void>)>& then) {
  const Result<chunks::UidShift> shift = options.shift(options.target);
  if (!shift) return then(fail(shift.error()));
  chunks::SeedMap::Folder folder{
      .path = options.target, .shift = *shift, .spool_folder = temporary_folder(), .copies_all = true, .spool_bytes_max = 0};
  std::error_code error;
  if (const std::filesystem::space_info space = std::filesystem::space(folder.spool_folder, error); !error)
    folder.spool_bytes_max = space.available / 2;
  seeds.add_folder(folder, run.threads(), run.workers(), run.loop(), [&run, then](Result<void> added) {
    if (!added) run.console().warning("what is replaced is no seed: " + added.error().message());
    then({});
  });
}

// One after the other, then goes on.
static void add_tree_seeds(chunks::SeedMap& seeds, const TreeOptions& options, std::vector<std::string> paths, ImageRun& run,
                           std::function<void(Result<void>)> then) {
  if (paths.empty()) return has_seed_in_target(options) ? add_target_as_seed(seeds, options, run, then) : then({});
  const std::string path = paths.front();
  paths.erase(paths.begin());
  auto next = [&seeds, &options, &run, paths = std::move(paths), then](Result<void> added) mutable {
    if (!added) return then(std::move(added));
    add_tree_seeds(seeds, options, std::move(paths), run, std::move(then));
  };
  if (!is_folder(path)) return seeds.add(path, run.threads(), run.workers(), run.loop(), std::move(next));
  const Result<chunks::UidShift> shift = options.shift(path);
  if (!shift) return then(fail(shift.error()));
  const chunks::SeedMap::Folder folder{
      .path = path, .shift = *shift, .spool_folder = temporary_folder(), .copies_all = overlap(path, options.target)};
  seeds.add_folder(folder, run.threads(), run.workers(), run.loop(), std::move(next));
}

namespace {

// A file here or a folder: no chunks, and so no stores.
int run_without_chunks(const Settings& settings, const StoreOptions& store, const TreeOptions& options, const std::string& name,
                       const std::string& subpath, const TreeJob& job) {
  if (job.progress.empty() && !is_remote_place(name)) {
    // Nobody looks, and a reader of what is printed that has had enough ends it, as SIGPIPE does.
    Console console(settings.json);
    Result<TreeInput> input = TreeInput::open(name, subpath, options, nullptr, nullptr);
    return input ? job.work(console, std::move(*input)) : console.error(input.error());
  }
  ImageRun run(settings, 1);
  if (!std::ranges::all_of(options.seeds, is_folder))
    return run.console().error(Error(ErrorKind::usage,
                                     "--seed has chunks for an archive's index (.caidx); what is extracted here has no chunks, "
                                     "and takes only folders with files like its own"));
  const auto watch = std::make_shared<chunks::StreamWatch>();
  std::unique_ptr<RemoteArchive> remote;
  std::optional<chunks::DeviceArchive> bytes;
  if (is_remote_place(name)) {
    Result<std::unique_ptr<RemoteArchive>> opened =
        RemoteArchive::open(name, {.store = store, .shows_progress = !job.progress.empty()}, run);
    if (!opened) return run.console().error(opened.error());
    remote = std::move(*opened);
    bytes.emplace(remote->device(), run.loop());
  }
  if (!job.progress.empty())
    show_tree_progress(run, job.progress, options.target.empty() ? name : options.target, watch,
                       [&remote] { return remote ? host::text_of_bytes(remote->bytes_fetched()) + " fetched" : std::string(); });
  const int code = run.run_beside(
      [&] {
        Result<TreeInput> input = TreeInput::open(name, subpath, options, bytes ? &*bytes : nullptr, watch);
        return input ? job.work(run.console(), std::move(*input)) : run.console().error(input.error());
      },
      [&] {
        watch->is_stopped = true;
        if (bytes) bytes->cancel();
      });
  if (remote && code == kDone && !job.progress.empty())
    run.console().event({{"event", "read"}, {"bytes_fetched", remote->bytes_fetched()}, {"bytes_reused", 0}});
  return code;
}

}  // namespace

int run_with_tree(const Settings& settings, const StoreOptions& store, const TreeOptions& options, const std::string& name,
                  const std::string& subpath, const TreeJob& job) {
  const Result<TreeKind> kind = tree_kind(name, options.what);
  if (!kind) return Console(settings.json).error(kind.error());
  if (*kind != TreeKind::archive_index) return run_without_chunks(settings, store, options, name, subpath, job);
  ImageRun run(settings, options.threads);
  Result<OpenImage> image = open_image(name, store, run);
  if (!image) return run.console().error(image.error());
  const bool has_seeds = !options.seeds.empty() || has_seed_in_target(options);
  chunks::SeedMap seeds(image->index, options.seed_cache);
  chunks::IndexedArchive archive(std::move(image->index), *image->store, has_seeds ? &seeds : nullptr, run.workers(), run.loop());
  const auto watch = std::make_shared<chunks::StreamWatch>();
  if (!job.progress.empty())
    show_tree_progress(run, job.progress, options.target.empty() ? name : options.target, watch, [&archive] {
      const chunks::IndexedArchive::Counts counts = archive.so_far();
      return fmt::format("{} fetched, {} reused", host::text_of_bytes(counts.fetched), host::text_of_bytes(counts.reused));
    });
  std::thread reader;
  const auto start = [&](Result<void> seeded) {
    if (!seeded) return (void)run.end_with(seeded.error());
    if (has_seeds)
      run.console().event(
          {{"event", "seeded"}, {"seed_bytes_read", seeds.bytes_read()}, {"seed_bytes_known", seeds.bytes_known()}});
    reader = std::thread([&] {
      Result<TreeInput> input = TreeInput::open(name, subpath, options, &archive, watch);
      const int code = input ? job.work(run.console(), std::move(*input)) : run.console().error(input.error());
      const chunks::IndexedArchive::Counts counts = archive.so_far();
      if (!job.progress.empty() && code == kDone)
        run.console().event({{"event", "read"}, {"bytes_fetched", counts.fetched}, {"bytes_reused", counts.reused}});
      run.loop().post([&run, code] { run.end(code); });
    });
  };
  run.loop().post([&] { add_tree_seeds(seeds, options, options.seeds, run, start); });
  const int code = run.run();
  archive.cancel();  // after a signal, the reader still reads
  if (reader.joinable()) reader.join();
  return code;
}

}  // namespace godwit::cli
