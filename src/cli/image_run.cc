#include "cli/image_run.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "chunks/core/remote_locator.h"
#include "cli/image_places.h"
#include "host/quantity.h"
#include "store/memory_blobs.h"

namespace godwit::cli {

namespace {

constexpr unsigned kThreadsMax = 256;

unsigned chosen_threads(unsigned threads) {
  return std::clamp(threads == 0 ? std::thread::hardware_concurrency() : threads, 1U, kThreadsMax);
}

}  // namespace

// One worker more than threads that burn: somebody waits for the disk meanwhile.
ImageRun::ImageRun(const Settings& settings, unsigned threads)
    : threads_(chosen_threads(threads)),
      workers_(net::make_workers(loop_, threads_ + 1)),
      console_(settings.json),
      started_(loop_.now()) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a reader that is gone is an error of a write, not the end of the process
  loop_.on_termination([this](int) { end(kFailed); });
}

double ImageRun::seconds() const {
  return (loop_.now() - started_).as_seconds();
}

void ImageRun::show_progress(std::string what, std::function<void(Progress&)> look) {
  progress_what_ = std::move(what);
  look_ = std::move(look);
  meter_ = {};
  shown_since_ = loop_.now();
  if (look_ && (console_.is_json() || console_.is_terminal()) && !std::exchange(progress_scheduled_, true)) schedule_progress();
}

void ImageRun::schedule_progress() {
  loop_.schedule(loop_.now() + Duration::seconds(console_.progress_seconds()), [this] {
    progress_scheduled_ = false;
    if (code_ || !look_) return;
    Progress progress;
    progress.seconds = seconds();
    look_(progress);
    const std::uint64_t done = progress.bytes_total - std::min(progress.bytes_left, progress.bytes_total);
    progress.bytes_per_second = meter_.update((loop_.now() - shown_since_).as_seconds(), done);
    console_.progress(progress);
    const boost::json::value total = progress.is_total_known ? boost::json::value(progress.bytes_total) : nullptr;
    console_.event({{"event", "progress"},
                    {"what", progress_what_},
                    {"seconds", progress.seconds},
                    {"bytes_total", total},
                    {"bytes_done", done},
                    {"bytes_per_second", progress.bytes_per_second},
                    {"note", progress.note}});
    progress_scheduled_ = true;
    schedule_progress();
  });
}

void ImageRun::end(int code) {
  if (!code_) code_ = code;
  loop_.stop();
}

int ImageRun::end_with(const Error& error) {
  const int code = console_.error(error);
  end(code);
  return code;
}

int ImageRun::run() {
  loop_.run();
  // Jobs that are still under way use what the command owns.
  workers_.reset();
  return code_.value_or(kFailed);
}

std::string text_of_origins(std::uint64_t fetched, std::uint64_t cached, std::uint64_t reused) {
  const std::string from_cache = cached == 0 ? "" : host::text_of_bytes(cached) + " from the cache, ";
  return fmt::format("{} fetched, {}{} reused", host::text_of_bytes(fetched), from_cache, host::text_of_bytes(reused));
}

Result<void> run_until_done(net::EventLoop& loop, const std::function<void(net::Done<void>)>& start) {
  std::optional<Result<void>> result;
  start([&](Result<void> done) {
    result = std::move(done);
    loop.stop();
  });
  if (!result) loop.run();
  return result ? std::move(*result) : fail(ErrorKind::cancelled, "interrupted");
}

int ImageRun::run_beside(const std::function<int()>& work, const std::function<void()>& stop) {
  std::thread worker([&] {
    const int code = work();
    loop_.post([this, code] { end(code); });
  });
  const int code = run();
  stop();
  worker.join();
  return code;
}

Error with_advice(Error error) {
  if (error.message().find("chunk ") == std::string::npos) return error;
  if (error.kind() == ErrorKind::not_found)
    return Error(error.kind(), error.message() + "; --store or --extra-store may name one that has it");
  if (error.kind() == ErrorKind::corrupt)
    return Error(error.kind(),
                 error.message() +
                     "; --extra-store may name one that has it whole; `godwit image verify --repair` takes it away, and "
                     "the next make stores it again");
  return error;
}

Result<std::uint64_t> parse_rate_limit(const std::string& text) {
  if (text.empty()) return 0;
  // casync's way to write sizes: a number, or one with K, M, G or T, which count by 1024.
  constexpr std::string_view kUnits = "KMGT";
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, text.data() + text.size());
  const std::size_t power = unit.size() == 1 ? kUnits.find(unit[0]) : std::string_view::npos;
  const unsigned shift = unit.empty() ? 0 : static_cast<unsigned>(power + 1) * 10;
  if (error != std::errc() || (!unit.empty() && power == std::string_view::npos) || value == 0 ||
      value > (~std::uint64_t{0} >> shift))
    return fail(ErrorKind::usage,
                fmt::format("--rate-limit-bps: \"{}\" is no number of bytes per second, like 500000 or 1M", escaped(text)));
  return value << shift;
}

std::string store_path(const StoreOptions& options, const std::string& index_path) {
  if (!options.store.empty()) return options.store;
  if (const char* from_environment = std::getenv("CASYNC_STORE"); from_environment != nullptr && *from_environment != '\0')
    return from_environment;
  if (const auto index = chunks::parse_remote_locator(index_path); index && is_remote_place(index_path)) {
    const chunks::RemoteLocator store = chunks::default_store_of(*index);
    return store.host.empty() ? store.path : store.host + ":" + store.path;
  }
  return (std::filesystem::path(index_path).parent_path() / "default.castr").string();
}

static Result<std::unique_ptr<chunks::ChunkStore>> open_store(const std::string& path, bool create, const StoreOptions& options,
                                                              ImageRun& run) {
  const Result<chunks::Compression> compression = chunks::compression_of_name(options.compression);
  if (!compression) return fail(compression.error());
  return chunks::open_local_store(path, create, {.compression = *compression, .level = options.level}, run.workers(), run.loop());
}

Result<std::unique_ptr<chunks::ChunkStore>> open_store_to_write(const std::string& path, const StoreOptions& options,
                                                                ImageRun& run) {
  return open_store(path, true, options, run);
}

static Result<void> open_one(const std::string& path, const StoreOptions& options, bool needed, ImageRun& run,
                             std::vector<std::unique_ptr<chunks::ChunkStore>>& stores) {
  Result<std::unique_ptr<chunks::ChunkStore>> store =
      is_remote_place(path) ? open_remote_store(path, options, run) : open_store(path, false, options, run);
  if (!store && store.error().kind() == ErrorKind::not_found && !needed)
    store = chunks::make_chunk_store(store::make_memory_blobs(run.loop()), {}, run.workers());
  if (!store) return fail(store.error());
  stores.push_back(std::move(*store));
  return {};
}

Result<void> open_extra_stores(const StoreOptions& options, ImageRun& run,
                               std::vector<std::unique_ptr<chunks::ChunkStore>>& stores, bool needed) {
  for (const std::string& path : options.extra_stores)
    if (Result<void> opened = open_one(path, options, needed, run, stores); !opened) return opened;
  return {};
}

Result<std::unique_ptr<chunks::ChunkStore>> open_stores_to_read(const std::string& path, const StoreOptions& options, bool needed,
                                                                ImageRun& run) {
  std::vector<std::unique_ptr<chunks::ChunkStore>> stores;
  if (Result<void> opened = open_one(path, options, needed, run, stores); !opened) return fail(std::move(opened).error());
  if (Result<void> opened = open_extra_stores(options, run, stores, needed); !opened) return fail(std::move(opened).error());
  return put_behind_cache(chunks::make_store_chain(std::move(stores)), options, run);
}

Result<std::unique_ptr<chunks::ChunkStore>> put_behind_cache(std::unique_ptr<chunks::ChunkStore> store,
                                                             const StoreOptions& options, ImageRun& run) {
  if (options.cache_store.empty()) return store;
  if (is_remote_place(options.cache_store))
    return fail(ErrorKind::usage, "--cache-store " + options.cache_store + ": it must be a folder of this machine");
  // Quickly compressed: it saves a way, not room.
  Result<std::unique_ptr<chunks::ChunkStore>> cache = chunks::open_local_store(
      options.cache_store, true, {.compression = chunks::Compression::zstd, .level = 1}, run.workers(), run.loop());
  if (!cache) return fail(std::move(cache).error().within("--cache-store"));
  return chunks::make_cached_store(std::move(*cache), std::move(store), run.cache_tally());
}

}  // namespace godwit::cli
