// The upkeep of a store that is a directory here: going through all of its chunks, and removing those that no index names. Only
// folders of four digits are looked into, so nothing beside the store is ever touched. Blocking. Source: casync.md 5 (with its
// defect left out), 8.4.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_set>
#include <utility>

#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

struct StoredChunk {
  ChunkName name;
  std::uint64_t size = 0;  // of the file
};

// Calls `visit` for every chunk, in no order; an error of it ends the walk and is the result. Files of other names are passed
// over.
Result<void> walk_local_store(const std::string& path, const std::function<Result<void>(const StoredChunk&)>& visit);

// Held by whoever adds to a store while it relies on chunks that are there, and by whoever removes some: many of the first or one
// of the second. It ends with the object or the process. Programs of others know nothing of it.
class StoreLock {
 public:
  enum class Kind : std::uint8_t { adding, removing };
  // ErrorKind::busy when it is held by one of the other kind. A file system without locks gives ErrorKind::unsupported.
  static Result<StoreLock> take(const std::string& path, Kind kind);
  ~StoreLock();
  StoreLock(StoreLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  StoreLock& operator=(StoreLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

 private:
  explicit StoreLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// How far a removal is, for other threads to see, one of which may end it.
struct GarbageWatch {
  std::atomic<std::uint64_t> folders_total = 0;  // 0: not known yet
  std::atomic<std::uint64_t> folders_done = 0;
  std::atomic<std::uint64_t> bytes_seen = 0;  // of files, those that stay too
  std::atomic<std::uint64_t> removed_chunks = 0;
  std::atomic<bool> is_stopped = false;  // set it, and what is left stays: ErrorKind::cancelled
};

struct GarbageOptions {
  bool dry_run = false;
  // Left-overs of crashed writers (theirs and ours) go when they were last written before this, in seconds since 1970.
  std::int64_t temporary_before_seconds = 0;
  GarbageWatch* watch = nullptr;  // may be null
};
struct GarbageResult {
  std::uint64_t removed_chunks = 0;
  std::uint64_t removed_bytes = 0;  // of files
  std::uint64_t removed_folders = 0;
  std::uint64_t removed_temporaries = 0;
  std::uint64_t remaining_chunks = 0;
};
// Removes every chunk, in either form, that is not in `wanted`, then folders that are empty. `lock` is the store's, for removing,
// and was taken before `wanted` was read from indexes: a make that ended in between would have its chunks in none of them.
Result<GarbageResult> collect_garbage(const StoreLock& lock, const std::string& path, const std::unordered_set<ChunkId>& wanted,
                                      const GarbageOptions& options);

}  // namespace godwit::chunks
