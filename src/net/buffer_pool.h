// Reused byte buffers in size classes under one budget: a first touch of a page costs more than a copy of it, so buffers go back
// to the pool and not to the allocator. A Lease is a counted reference; the buffer returns when the last one is gone.
// Used on the scheduler's thread; a lease may be released on any thread.
#pragma once

#include <cstddef>
#include <memory>

#include "base/bytes.h"

namespace godwit::net {

class BufferPool;

// A buffer of at least the size asked for; `bytes()` is exactly that size. Copies share it.
class Lease {
 public:
  Lease() = default;
  explicit operator bool() const { return buffer_ != nullptr; }
  MutableBytes bytes() const { return {buffer_.get(), size_}; }
  std::size_t size() const { return size_; }
  // The same buffer, seen as its first `size` bytes.
  Lease first(std::size_t size) const {
    Lease shorter = *this;
    shorter.size_ = size;
    return shorter;
  }

 private:
  friend class BufferPool;
  std::shared_ptr<std::byte> buffer_;
  std::size_t size_ = 0;
};

class BufferPool {
 public:
  // `budget_bytes` bounds what is leased and kept together.
  explicit BufferPool(std::size_t budget_bytes);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // Always gives a buffer (a frame that has begun must end somewhere); over budget it is simply not kept afterwards. Callers
  // ask has_room() before they begin new work.
  Lease lease(std::size_t size);
  bool has_room(std::size_t size) const;
  std::size_t leased_bytes() const;
  std::size_t budget_bytes() const;

 private:
  struct Shelves;
  std::shared_ptr<Shelves> shelves_;
};

}  // namespace godwit::net
