// Bytes in a row: appended at the end, taken from the front. One buffer, moved together now and then, nothing per byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/bytes.h"

namespace godwit::sim {

class ByteQueue {
 public:
  std::size_t size() const { return bytes_.size() - head_; }
  ConstBytes front(std::size_t count) const { return ConstBytes(bytes_).subspan(head_, count); }

  void append(ConstBytes more) { godwit::append(bytes_, more); }
  void drop_front(std::size_t count) {
    head_ += count;
    if (head_ == bytes_.size()) {
      bytes_.clear();
      head_ = 0;
    } else if (head_ > kMoveAtBytes && head_ > bytes_.size() / 2) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  // Keeps the first `count` bytes.
  void truncate(std::size_t count) { bytes_.resize(head_ + count); }

 private:
  static constexpr std::size_t kMoveAtBytes = 64 * 1024;
  Bytes bytes_;
  std::size_t head_ = 0;
};

}  // namespace godwit::sim
