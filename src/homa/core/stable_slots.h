// Records that stay where they are, named by an index that is used again after they are freed. Freed records are kept as they
// are, with the memory of their vectors; whoever takes one resets it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace godwit::homa {

template <class T>
class StableSlots {
 public:
  T& operator[](std::uint32_t index) { return chunks_[index / kChunk][index % kChunk]; }
  const T& operator[](std::uint32_t index) const { return chunks_[index / kChunk][index % kChunk]; }
  // Whether the index was ever given out; the record may be free.
  bool has(std::uint32_t index) const { return index < end_; }
  std::uint32_t in_use() const { return end_ - static_cast<std::uint32_t>(free_.size()); }

  std::uint32_t take() {
    if (!free_.empty()) {
      const std::uint32_t index = free_.back();
      free_.pop_back();
      return index;
    }
    if (end_ % kChunk == 0) chunks_.push_back(std::make_unique<T[]>(kChunk));
    return end_++;
  }
  void give_back(std::uint32_t index) { free_.push_back(index); }

 private:
  static constexpr std::uint32_t kChunk = 64;
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t end_ = 0;
};

}  // namespace godwit::homa
