#include "cli/tree_run.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "chunks/driver/device_archive.h"
#include "chunks/driver/indexed_archive.h"
#include "chunks/driver/seed.h"
#include "cli/image_places.h"
#include "cli/image_seeds.h"
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

namespace {

// A file here or a folder: no chunks, and so no stores.
int run_without_chunks(const Settings& settings, const StoreOptions& store, const TreeOptions& options, const std::string& name,
                       const std::string& subpath, const TreeJob& job) {
  const bool is_elsewhere = *tree_kind(name, options.what) == TreeKind::archive && is_archive_elsewhere(name);
  if (job.progress.empty() && !is_elsewhere) {
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
  if (is_elsewhere) {
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

int run_with_tree(const Settings& settings, const StoreOptions& store, TreeOptions options, const std::string& name,
                  const std::string& subpath, const TreeJob& job) {
  if (name == "-" && options.what.empty()) options.what = "archive";  // as casync takes it
  const Result<TreeKind> kind = tree_kind(name, options.what);
  if (!kind) return Console(settings.json).error(kind.error());
  if (*kind != TreeKind::archive_index) return run_without_chunks(settings, store, options, name, subpath, job);
  ImageRun run(settings, options.threads);
  Result<OpenImage> image = open_image(name, store, run);
  if (!image) return run.console().error(image.error());
  bool with_target = subpath.empty() && has_seed_in_target(options);
  bool has_seeds = !options.seeds.empty() || with_target;
  if (has_seeds) chunks::raise_descriptor_limit();
  chunks::SeedMap seeds(image->index, options.seed_cache);
  chunks::IndexedArchive archive(std::move(image->index), *image->store, has_seeds ? &seeds : nullptr, run.workers(), run.loop());
  const auto watch = std::make_shared<chunks::StreamWatch>();
  if (!job.progress.empty())
    show_tree_progress(run, job.progress, options.target.empty() ? name : options.target, watch, [&run, &archive] {
      const chunks::IndexedArchive::Counts counts = archive.so_far();
      const std::uint64_t cached = run.cached_of(counts.fetched);
      return text_of_origins(counts.fetched - cached, cached, counts.reused);
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
      // Who has seeds has them again: what was made is the next one.
      if (!options.target.empty() && code == kDone && has_seeds && subpath.empty() && options.seed_cache != nullptr)
        if (const Result<chunks::UidShift> shift = options.shift(options.target); shift)
          chunks::remember_extracted_tree(*options.seed_cache, options.target, *shift, archive.index());
      if (!job.progress.empty() && code == kDone)
        run.console().event({{"event", "read"},
                             {"bytes_fetched", counts.fetched - run.cached_of(counts.fetched)},
                             {"bytes_cached", run.cached_of(counts.fetched)},
                             {"bytes_reused", counts.reused}});
      run.loop().post([&run, code] { run.end(code); });
    });
  };
  const auto seed = [&] { add_seeds(seeds, options.seeds, options, with_target, run, start); };
  // A target is read, cut and hashed for less than a remote wants, but for more than a store beside it.
  const bool is_store_alone = store.extra_stores.empty() && store.cache_store.empty() && image->store->reader() != nullptr;
  if (with_target && is_store_alone) {
    const std::vector<chunks::IndexEntry>& entries = archive.index().entries;
    std::vector<chunks::ChunkId> ids(entries.size());
    std::ranges::transform(entries, ids.begin(), &chunks::IndexEntry::id);
    run.loop().post([&, ids = std::move(ids)]() mutable {
      image->store->has(std::move(ids), [&](Result<std::vector<bool>> there) {
        with_target = !there || std::ranges::find(*there, false) != there->end();
        has_seeds = !options.seeds.empty() || with_target;
        seed();
      });
    });
  } else {
    run.loop().post(seed);
  }
  const int code = run.run();
  archive.cancel();  // after a signal, the reader still reads
  if (reader.joinable()) reader.join();
  return code;
}

}  // namespace godwit::cli
