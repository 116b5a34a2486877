// Memory for runs of chunks, used again: a page's first touch costs more than reading, hashing and writing what lies in it. Any
// thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"

namespace godwit::chunks {

// What one job reads, hashes and writes: enough chunks to fill the lanes of a digest, and little enough for a processor's cache.
inline constexpr std::size_t kChunkRunBytes = std::size_t{1} << 20;
inline constexpr std::size_t kChunkRunCountMax = 256;

class SpareMemory : public std::enable_shared_from_this<SpareMemory> {
 public:
  // At least `size` bytes, whatever they hold; they come back when the last owner lets go.
  std::shared_ptr<Bytes> take(std::size_t size) {
    Bytes memory = take_spare();
    if (memory.size() < size) memory.resize(std::max(size, kChunkRunBytes));
    return {new Bytes(std::move(memory)), [self = shared_from_this()](Bytes* bytes) {
              self->give_back(std::move(*bytes));
              delete bytes;
            }};
  }

 private:
  Bytes take_spare() {
    const std::scoped_lock lock(mutex_);
    if (spare_.empty()) return {};
    Bytes memory = std::move(spare_.back());
    spare_.pop_back();
    return memory;
  }
  // Only the usual size is worth keeping.
  void give_back(Bytes memory) {
    if (memory.size() != kChunkRunBytes) return;
    const std::scoped_lock lock(mutex_);
    spare_.push_back(std::move(memory));
  }

  std::mutex mutex_;
  std::vector<Bytes> spare_;
};

}  // namespace godwit::chunks
