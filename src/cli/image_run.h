// A command on images while it runs: the loop, its workers, the console with its progress line, and an end in order at SIGINT and
// SIGTERM, so that nothing half made stays behind.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunks/driver/cached_store.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/local_store_sweep.h"
#include "cli/console.h"
#include "cli/settings.h"
#include "net/event_loop.h"
#include "net/worker_pool.h"

namespace godwit::cli {

// Runs a loop until `start`'s call has ended. ErrorKind::cancelled where the loop was stopped before.
Result<void> run_until_done(net::EventLoop& loop, const std::function<void(net::Done<void>)>& start);

class ImageRun {
 public:
  // `threads` 0: as many as there are processors.
  ImageRun(const Settings& settings, unsigned threads);

  net::EventLoop& loop() { return loop_; }
  net::Workers& workers() { return *workers_; }
  Console& console() { return console_; }
  unsigned threads() const { return threads_; }
  // Of the --cache-store, where there is one.
  const std::shared_ptr<chunks::CacheTally>& cache_tally() const { return cache_tally_; }
  // Of bytes that came from stores, those that came out of it.
  std::uint64_t cached_of(std::uint64_t bytes) const { return std::min(cache_tally_->load(), bytes); }
  double seconds() const;

  // Shows what `look` fills in, every now and then: on a terminal, and as JSON events "progress" that say so `what` is going on.
  // What was shown before is not any more; nothing is where `look` is null.
  void show_progress(std::string what, std::function<void(Progress&)> look);
  // Ends the run; the first code counts.
  void end(int code);
  int end_with(const Error& error);
  // Until end() or a signal; gives the exit code.
  int run();
  // Runs the loop until `start`'s call has ended, before or in place of run(). ErrorKind::cancelled after a signal.
  Result<void> wait_for(const std::function<void(net::Done<void>)>& start) { return run_until_done(loop_, start); }
  // The same as run(), with work that blocks on a thread of its own beside the loop: its code ends the run. `stop` is called when
  // the run has ended, perhaps by a signal, and makes the work end soon.
  int run_beside(const std::function<int()>& work, const std::function<void()>& stop);

 private:
  void schedule_progress();

  net::EventLoop loop_;
  unsigned threads_;
  std::unique_ptr<net::Workers> workers_;
  Console console_;
  Instant started_;
  std::string progress_what_;
  std::function<void(Progress&)> look_;
  RateMeter meter_;
  Instant shown_since_;
  bool progress_scheduled_ = false;
  std::optional<int> code_;
  const std::shared_ptr<chunks::CacheTally> cache_tally_ = std::make_shared<chunks::CacheTally>(0);
};

// "3.0 MiB fetched, 1.0 MiB from the cache, 2.0 MiB reused"; the cache only where it gave something.
std::string text_of_origins(std::uint64_t fetched, std::uint64_t cached, std::uint64_t reused);

struct StoreOptions {
  std::string store;  // "": CASYNC_STORE, or default.castr beside the index
  std::vector<std::string> extra_stores;
  std::string cache_store;  // a folder of this machine that keeps what is fetched; "": none
  std::string compression = "zstd";
  std::optional<int> level;
  std::string rate_limit;  // bytes per second to and from remotes, like 1M; "": as fast as it goes
};
// The same error, and what to do about a chunk that is missing or damaged.
Error with_advice(Error error);

// 0: no limit. ErrorKind::usage.
Result<std::uint64_t> parse_rate_limit(const std::string& text);

// Where chunks of this index lie, by what was given, the environment, and the index's own place.
std::string store_path(const StoreOptions& options, const std::string& index_path);
// To be written (created if it is not there), or only read: then with the extra stores behind it.
Result<std::unique_ptr<chunks::ChunkStore>> open_store_to_write(const std::string& path, const StoreOptions& options,
                                                                ImageRun& run);
// A store that is not there is no error where no chunk is `needed`: nobody makes one for an empty blob.
Result<std::unique_ptr<chunks::ChunkStore>> open_stores_to_read(const std::string& path, const StoreOptions& options, bool needed,
                                                                ImageRun& run);
// The same, with the cache that was asked for in front.
Result<std::unique_ptr<chunks::ChunkStore>> put_behind_cache(std::unique_ptr<chunks::ChunkStore> store,
                                                             const StoreOptions& options, ImageRun& run);
// The extra stores alone, put behind those that are there.
Result<void> open_extra_stores(const StoreOptions& options, ImageRun& run,
                               std::vector<std::unique_ptr<chunks::ChunkStore>>& stores, bool needed = true);

}  // namespace godwit::cli
