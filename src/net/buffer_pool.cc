#include "net/buffer_pool.h"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace godwit::net {

namespace {

constexpr std::size_t kPage = 4096;

// Four classes per doubling: at most a quarter of a buffer is not asked for, and different uses still meet in one class.
std::size_t class_of(std::size_t size) {
  if (size <= kPage) return kPage;
  const std::size_t step = std::max(std::bit_floor(size - 1) / 4, kPage);
  return (size + step - 1) / step * step;
}

}  // namespace

struct BufferPool::Shelves {
  explicit Shelves(std::size_t budget) : budget_bytes(budget) {}
  ~Shelves() {
    for (auto& [size, buffers] : kept)
      for (std::byte* buffer : buffers) std::free(buffer);
  }

  std::byte* take(std::size_t size) {
    std::byte* buffer = nullptr;
    {
      std::scoped_lock lock(mutex);
      leased_bytes += size;
      auto shelf = kept.find(size);
      if (shelf != kept.end() && !shelf->second.empty()) {
        buffer = shelf->second.back();
        shelf->second.pop_back();
        kept_bytes -= size;
      } else {
        make_room();
      }
    }
    if (buffer == nullptr) buffer = static_cast<std::byte*>(std::aligned_alloc(kPage, size));
    if (buffer == nullptr) throw std::bad_alloc();
    return buffer;
  }

  void give_back(std::byte* buffer, std::size_t size) {
    {
      std::scoped_lock lock(mutex);
      leased_bytes -= size;
      if (leased_bytes + kept_bytes + size <= budget_bytes) {
        kept[size].push_back(buffer);
        kept_bytes += size;
        return;
      }
    }
    std::free(buffer);
  }

  // Buffers that nobody uses give way to one that somebody needs; the largest first.
  void make_room() {
    for (auto shelf = kept.rbegin(); shelf != kept.rend() && kept_bytes > 0; ++shelf) {
      while (!shelf->second.empty() && leased_bytes + kept_bytes > budget_bytes) {
        std::free(shelf->second.back());
        shelf->second.pop_back();
        kept_bytes -= shelf->first;
      }
    }
  }

  const std::size_t budget_bytes;
  mutable std::mutex mutex;
  std::map<std::size_t, std::vector<std::byte*>> kept;
  std::size_t kept_bytes = 0;
  std::size_t leased_bytes = 0;
};

BufferPool::BufferPool(std::size_t budget_bytes) : shelves_(std::make_shared<Shelves>(budget_bytes)) {}
BufferPool::~BufferPool() = default;

Lease BufferPool::lease(std::size_t size) {
  const std::size_t whole = class_of(size);
  std::byte* buffer = shelves_->take(whole);
  Lease lease;
  // A lease may outlive the pool, so it shares the shelves.
  lease.buffer_ = std::shared_ptr<std::byte>(buffer, [shelves = shelves_, whole](std::byte* b) { shelves->give_back(b, whole); });
  lease.size_ = size;
  return lease;
}

bool BufferPool::has_room(std::size_t size) const {
  std::scoped_lock lock(shelves_->mutex);
  return shelves_->leased_bytes + class_of(size) <= shelves_->budget_bytes;
}

std::size_t BufferPool::leased_bytes() const {
  std::scoped_lock lock(shelves_->mutex);
  return shelves_->leased_bytes;
}

std::size_t BufferPool::budget_bytes() const {
  return shelves_->budget_bytes;
}

}  // namespace godwit::net
