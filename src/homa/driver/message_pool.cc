#include "homa/driver/message_pool.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <new>

namespace godwit::homa {

namespace {

constexpr std::size_t kSmallest = 256;
constexpr std::size_t kClasses = 24;

// Two classes per doubling above the smallest: at most a third of a buffer is not asked for.
std::size_t class_of(std::size_t size) {
  if (size <= kSmallest) return 0;
  const std::size_t top = std::bit_floor(size - 1);  // size in (top, 2 * top]
  const auto doublings = static_cast<std::size_t>(std::countr_zero(top) - std::countr_zero(kSmallest));
  return 2 * doublings + (size <= top + top / 2 ? 1 : 2);
}
std::size_t size_of_class(std::size_t index) {
  if (index == 0) return kSmallest;
  const std::size_t top = kSmallest << ((index - 1) / 2);
  return index % 2 == 1 ? top + top / 2 : 2 * top;
}

}  // namespace

struct alignas(64) MessageBuffer::Block {
  MessagePool::State* home;
  Block* next;
  std::uint32_t size_class;  // kClasses and above: of its own size, not kept
  std::uint32_t capacity;

  std::byte* bytes() { return reinterpret_cast<std::byte*>(this) + sizeof(Block); }
};

// Lives until the pool and the last buffer are gone.
struct MessagePool::State {
  std::mutex mutex;
  std::array<MessageBuffer::Block*, kClasses> kept{};
  std::size_t kept_bytes = 0;
  std::size_t used_bytes = 0;
  std::size_t buffers_out = 0;
  const std::size_t kept_bytes_max;
  bool is_closed = false;

  explicit State(std::size_t max) : kept_bytes_max(max) {}

  MessageBuffer::Block* take(std::uint32_t size) {
    const std::size_t index = class_of(size);
    const std::size_t capacity = index < kClasses ? size_of_class(index) : size;
    std::unique_lock lock(mutex);
    MessageBuffer::Block* block = index < kClasses ? kept[index] : nullptr;
    if (block != nullptr) {
      kept[index] = block->next;
      kept_bytes -= capacity;
    } else {
      // Long ones come straight from the system and are not touched.
      void* memory = std::aligned_alloc(alignof(MessageBuffer::Block), (sizeof(MessageBuffer::Block) + capacity + 63) / 64 * 64);
      if (memory == nullptr) throw std::bad_alloc();
      block = new (memory)
          MessageBuffer::Block{this, nullptr, static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(capacity)};
    }
    used_bytes += capacity;
    ++buffers_out;
    return block;
  }

  void give_back(MessageBuffer::Block* block) {
    std::unique_lock lock(mutex);
    used_bytes -= block->capacity;
    --buffers_out;
    if (!is_closed && block->size_class < kClasses && kept_bytes + block->capacity <= kept_bytes_max) {
      block->next = kept[block->size_class];
      kept[block->size_class] = block;
      kept_bytes += block->capacity;
      return;
    }
    const bool is_last = is_closed && buffers_out == 0;
    lock.unlock();
    std::free(block);
    if (is_last) delete this;
  }

  void close() {
    std::unique_lock lock(mutex);
    is_closed = true;
    for (MessageBuffer::Block*& first : kept)
      while (first != nullptr) std::free(std::exchange(first, first->next));
    kept_bytes = 0;
    const bool is_last = buffers_out == 0;
    lock.unlock();
    if (is_last) delete this;
  }
};

MessageBuffer::~MessageBuffer() {
  if (block_ != nullptr) block_->home->give_back(block_);
}

std::byte* MessageBuffer::data() const {
  return block_->bytes();
}

std::uint32_t MessageBuffer::capacity() const {
  return block_->capacity;
}

BufferId MessageBuffer::release() {
  return BufferId{reinterpret_cast<std::uintptr_t>(std::exchange(block_, nullptr))};
}

// The core carries a buffer's address as a number, which release() made of it.
MessageBuffer::Block* MessageBuffer::block_of(BufferId id) {
  return reinterpret_cast<Block*>(static_cast<std::uintptr_t>(id.value));  // NOLINT(performance-no-int-to-ptr)
}

MessageBuffer MessageBuffer::adopt(BufferId id) {
  return MessageBuffer(block_of(id));
}

const std::byte* MessageBuffer::data_of(BufferId id) {
  return block_of(id)->bytes();
}

std::uint32_t MessageBuffer::capacity_of(BufferId id) {
  return block_of(id)->capacity;
}

MessageBuffer MessageBuffer::adopt_raw(void* block) {
  return MessageBuffer(static_cast<Block*>(block));
}

MessagePool::MessagePool(std::size_t kept_bytes_max) : state_(new State(kept_bytes_max)) {}

MessagePool::~MessagePool() {
  state_->close();
}

MessageBuffer MessagePool::take(std::uint32_t size) {
  return MessageBuffer(state_->take(size));
}

std::size_t MessagePool::used_bytes() const {
  std::scoped_lock lock(state_->mutex);
  return state_->used_bytes;
}

std::size_t MessagePool::kept_bytes() const {
  std::scoped_lock lock(state_->mutex);
  return state_->kept_bytes;
}

}  // namespace godwit::homa
