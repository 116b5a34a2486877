// An archive (.catar) that lies elsewhere, read here anywhere: over HTTP by ranges, so that only what is looked at travels; where
// the server knows no ranges, or the archive comes as a stream (ssh and other commands, standard input), all of it in a temporary
// file without a name in TMPDIR, for as long as this lives.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/image_run.h"
#include "net/descriptor.h"
#include "store/block_device.h"

namespace godwit::cli {

// Remote, or "-".
bool is_archive_elsewhere(const std::string& place);

struct RemoteArchiveOptions {
  StoreOptions store;                                // the rate limit counts
  std::uint64_t cache_bytes_max = 64 * 1024 * 1024;  // of what came by ranges
  bool shows_progress = false;                       // of an archive that is fetched whole
};

class RemoteArchive {
 public:
  // Blocks until it can be read, while the run's loop turns. `run` outlives it. Errors name the place; ErrorKind::no_space for an
  // archive that would take more than nine tenths of what is free in TMPDIR.
  static Result<std::unique_ptr<RemoteArchive>> open(const std::string& place, const RemoteArchiveOptions& options,
                                                     ImageRun& run);
  ~RemoteArchive();

  store::BlockDevice& device() { return *device_; }
  // So far, and on the loop's thread.
  std::uint64_t bytes_fetched() const;

 private:
  RemoteArchive() = default;
  Result<void> spool(const std::string& place, const RemoteArchiveOptions& options, ImageRun& run);

  net::Descriptor file_;
  std::unique_ptr<store::BlockDevice> device_;
  bool is_ranged_ = false;
};

}  // namespace godwit::cli
