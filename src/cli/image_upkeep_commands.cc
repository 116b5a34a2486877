#include "cli/image_upkeep_commands.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/verify_chunks.h"
#include "cli/image_places.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace {

constexpr std::int64_t kTemporaryAgeSeconds = 24 * 60 * 60;

// Every id of an index once, with its chunk's length.
std::unordered_map<chunks::ChunkId, std::uint64_t> lengths_by_id(const chunks::Index& index) {
  std::unordered_map<chunks::ChunkId, std::uint64_t> lengths;
  for (std::size_t i = 0; i < index.entries.size(); ++i) lengths.try_emplace(index.entries[i].id, index.length_of(i));
  return lengths;
}

std::uint64_t sum_of(const std::unordered_map<chunks::ChunkId, std::uint64_t>& lengths) {
  std::uint64_t sum = 0;
  for (const auto& [id, length] : lengths) sum += length;
  return sum;
}

void look_at_gc(const chunks::GarbageWatch& watch, const std::string& path, bool dry_run, Progress& progress) {
  const std::uint64_t folders = watch.folders_total, done = watch.folders_done, bytes = watch.bytes_seen;
  progress.title = path;
  // Chunks are named by digests, so that one folder holds about as much as another.
  progress.is_total_known = done > 0;
  const double whole = done == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(done) * static_cast<double>(folders);
  progress.bytes_total = std::max(bytes, static_cast<std::uint64_t>(whole));
  progress.bytes_left = progress.bytes_total - bytes;
  progress.note = fmt::format("{} of {} folders, {} chunks {}", done, folders, watch.removed_chunks.load(),
                              dry_run ? "would go" : "are gone");
}

}  // namespace

int run_image_info(const Settings& settings, const InfoOptions& options) {
  Console console(settings.json);
  const Result<chunks::Index> index = read_index(options.index);
  if (!index) return console.error(index.error());
  const auto unique = lengths_by_id(*index);
  const std::string sizes = chunks::text_of(index->header.sizes);
  const auto flags = fmt::format("{:#x}", index->header.flags);
  console.event({{"event", "info"},
                 {"index", options.index},
                 {"size", index->blob_size()},
                 {"chunks", index->entries.size()},
                 {"unique_chunks", unique.size()},
                 {"unique_bytes", sum_of(unique)},
                 {"chunk_size_min", index->header.sizes.min},
                 {"chunk_size_avg", index->header.sizes.avg},
                 {"chunk_size_max", index->header.sizes.max},
                 {"digest", chunks::name_of(index->header.digest())},
                 {"flags", flags}});
  console.line(fmt::format("size           {} ({} bytes)", host::text_of_bytes(index->blob_size()), index->blob_size()));
  console.line(fmt::format("chunks         {}, {} different ({})", index->entries.size(), unique.size(),
                           host::text_of_bytes(sum_of(unique))));
  console.line(fmt::format("chunk sizes    {} (minimum, average, maximum)", sizes));
  console.line(fmt::format("digest         {}", chunks::name_of(index->header.digest())));
  console.line(fmt::format("feature flags  {}", flags));
  return kDone;
}

int run_image_diff(const Settings& settings, const DiffOptions& options) {
  Console console(settings.json);
  const Result<chunks::Index> from = read_index(options.from);
  if (!from) return console.error(from.error());
  const Result<chunks::Index> to = read_index(options.to);
  if (!to) return console.error(to.error());
  if (from->header.digest() != to->header.digest())
    return console.error(
        Error(ErrorKind::invalid, fmt::format("{} and {} name their chunks by different digests", options.from, options.to)));
  const auto have = lengths_by_id(*from);
  const auto want = lengths_by_id(*to);
  std::uint64_t new_chunks = 0;
  std::uint64_t new_bytes = 0;
  for (const auto& [id, length] : want) {
    if (have.contains(id)) continue;
    ++new_chunks;
    new_bytes += length;
  }
  const bool same = from->entries == to->entries;
  console.event({{"event", "diff"},
                 {"same", same},
                 {"chunks", want.size()},
                 {"new_chunks", new_chunks},
                 {"new_bytes", new_bytes},
                 {"shared_chunks", want.size() - new_chunks},
                 {"shared_bytes", sum_of(want) - new_bytes}});
  console.line(same ? "the same content"
                    : fmt::format("{} of {} different chunks are new: {} of {}", new_chunks, want.size(),
                                  host::text_of_bytes(new_bytes), host::text_of_bytes(sum_of(want))));
  return kDone;
}

int run_image_verify(const Settings& settings, const VerifyCommandOptions& options) {
  ImageRun run(settings, 0);
  chunks::VerifyOptions verify_options;
  verify_options.remove_damaged = options.repair;
  verify_options.try_other_digest = true;
  std::unordered_set<chunks::ChunkId> ids;
  std::uint64_t bytes = 0;  // of them, where indexes tell
  std::string path = options.store.store;
  if (!options.indexes.empty()) path = store_path(options.store, options.indexes.front());
  for (const std::string& name : options.indexes) {
    const Result<chunks::Index> index = read_index(name, options.store);
    if (!index) return run.console().error(index.error());
    verify_options.digest = index->header.digest();
    for (std::size_t i = 0; i < index->entries.size(); ++i)
      if (ids.insert(index->entries[i].id).second) bytes += index->length_of(i);
  }
  if (path.empty()) return run.console().error(Error(ErrorKind::usage, "verify: an index, or a store by --store"));
  if (options.indexes.empty()) {
    const Result<void> walked = chunks::walk_local_store(path, [&](const chunks::StoredChunk& chunk) -> Result<void> {
      ids.insert(chunk.name.id);
      return {};
    });
    if (!walked) return run.console().error(walked.error());
  }
  const Result<std::unique_ptr<chunks::ChunkStore>> store = open_stores_to_read(path, options.store, !ids.empty(), run);
  if (!store) return run.console().error(store.error());
  chunks::VerifyChunks verify(
      std::vector<chunks::ChunkId>(ids.begin(), ids.end()), **store, verify_options,
      [&](const chunks::ChunkId& id, const Error& error) {
        run.console().event(
            {{"event", "bad_chunk"}, {"id", id.hex()}, {"kind", name_of(error.kind())}, {"text", error.message()}});
        run.console().line(error.message());
      },
      run.loop());
  run.show_progress("verify", [&](Progress& progress) {
    const chunks::VerifyResult& so_far = verify.so_far();
    progress.title = path;
    progress.bytes_total = std::max(bytes, so_far.bytes);
    progress.bytes_left = progress.bytes_total - so_far.bytes;
    progress.note = fmt::format("{} of {} chunks", so_far.good + so_far.damaged + so_far.missing, ids.size());
  });
  verify.start([&](Result<chunks::VerifyResult> result) {
    if (!result) return (void)run.end_with(result.error());
    run.console().event({{"event", "verified"},
                         {"good", result->good},
                         {"missing", result->missing},
                         {"damaged", result->damaged},
                         {"removed", result->removed},
                         {"bytes", result->bytes},
                         {"seconds", run.seconds()}});
    run.console().line(fmt::format(
        "{} chunks are good ({}), {} damaged, {} missing{}", result->good, host::text_of_bytes(result->bytes), result->damaged,
        result->missing,
        result->removed > 0 ? fmt::format("; {} removed, so that the next make stores them again", result->removed) : ""));
    run.end(result->damaged + result->missing == 0 ? kDone : kFailed);
  });
  return run.run();
}

int run_image_gc(const Settings& settings, const GcOptions& options) {
  ImageRun run(settings, 1);
  Console& console = run.console();
  const std::string path = store_path(options.store, options.indexes.front());
  if (is_remote_place(path))
    return console.error(Error(ErrorKind::usage, path + ": gc works on stores of this machine; run it where the store is"));
  // Before the indexes are read: a make that ended in between would lose what only its new index names.
  const Result<chunks::StoreLock> lock = chunks::StoreLock::take(path, chunks::StoreLock::Kind::removing);
  if (!lock) return console.error(lock.error());
  std::unordered_set<chunks::ChunkId> wanted;
  std::uint64_t references = 0;
  for (const std::string& name : options.indexes) {
    const Result<chunks::Index> index = read_index(name, options.store);
    // One index that can not be read would take its chunks with it.
    if (!index) return console.error(index.error());
    references += index->entries.size();
    for (const chunks::IndexEntry& entry : index->entries) wanted.insert(entry.id);
  }
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  chunks::GarbageWatch watch;
  if (!options.quiet) run.show_progress("gc", [&](Progress& progress) { look_at_gc(watch, path, options.dry_run, progress); });
  Result<chunks::GarbageResult> result;
  const int code = run.run_beside(
      [&] {
        result = chunks::collect_garbage(
            *lock, path, wanted,
            {.dry_run = options.dry_run, .temporary_before_seconds = now - kTemporaryAgeSeconds, .watch = &watch});
        return result ? kDone : console.error(result.error());
      },
      [&] { watch.is_stopped = true; });
  if (code != kDone) return code;
  console.event({{"event", "gc"},
                 {"dry_run", options.dry_run},
                 {"removed_chunks", result->removed_chunks},
                 {"removed_bytes", result->removed_bytes},
                 {"removed_folders", result->removed_folders},
                 {"removed_temporaries", result->removed_temporaries},
                 {"remaining_chunks", result->remaining_chunks},
                 {"seconds", run.seconds()}});
  if (options.quiet) return kDone;
  if (options.verbose) console.line(fmt::format("Chunk store usage: {} references, {} chunks", references, wanted.size()));
  if (options.dry_run)
    console.line(fmt::format("Would remove {} chunks, {} chunks remaining.", result->removed_chunks, result->remaining_chunks));
  else
    console.line(fmt::format("Removed {} chunks, {} directories, {} chunks remaining.", result->removed_chunks,
                             result->removed_folders, result->remaining_chunks));
  return kDone;
}

}  // namespace godwit::cli
