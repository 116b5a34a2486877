// Buffers for whole messages, in size classes, kept after use up to a bound: a first touch of a page costs more than a copy of
// it. What is fresh is not touched here, so a peer who declares a long message and sends a byte of it costs address space and a
// page, not the length it declared. Thread-safe: an application may drop a message anywhere, also when the pool's owner is gone.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "homa/core/ids.h"

namespace godwit::homa {

class MessagePool;

// A buffer of a pool, and its owner. Empty when moved from.
class MessageBuffer {
 public:
  MessageBuffer() = default;
  MessageBuffer(MessageBuffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  MessageBuffer& operator=(MessageBuffer&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~MessageBuffer();

  explicit operator bool() const { return block_ != nullptr; }
  std::byte* data() const;
  std::uint32_t capacity() const;

  // The core's name of the buffer. release() gives ownership away under that name, adopt() takes it back.
  BufferId release();
  static MessageBuffer adopt(BufferId id);
  static const std::byte* data_of(BufferId id);
  static std::uint32_t capacity_of(BufferId id);

  // The same across an interface that knows no types of ours.
  void* release_raw() { return std::exchange(block_, nullptr); }
  static MessageBuffer adopt_raw(void* block);

 private:
  friend class MessagePool;
  struct Block;
  static Block* block_of(BufferId id);
  explicit MessageBuffer(Block* block) : block_(block) {}
  Block* block_ = nullptr;
};

class MessagePool {
 public:
  // Keeps at most `kept_bytes_max` bytes of buffers that nobody uses.
  explicit MessagePool(std::size_t kept_bytes_max);
  ~MessagePool();
  MessagePool(const MessagePool&) = delete;
  MessagePool& operator=(const MessagePool&) = delete;

  // At least `size` bytes, their content undefined. Throws std::bad_alloc when the system has no memory, as everything does.
  MessageBuffer take(std::uint32_t size);

  std::size_t used_bytes() const;
  std::size_t kept_bytes() const;

 private:
  friend class MessageBuffer;
  struct State;
  State* state_;
};

}  // namespace godwit::homa
