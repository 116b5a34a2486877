// A first-in first-out queue that keeps its memory: once it has grown to what a load needs, it allocates no more.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "base/check.h"

namespace godwit::homa {

template <class T>
class RingQueue {
 public:
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }

  void push(T item) {
    if (count_ == items_.size()) grow();
    items_[(first_ + count_) & (items_.size() - 1)] = std::move(item);
    ++count_;
  }
  T& front() {
    GODWIT_CHECK(count_ > 0);
    return items_[first_];
  }
  T pop() {
    T item = std::move(front());
    first_ = (first_ + 1) & (items_.size() - 1);
    --count_;
    return item;
  }

 private:
  void grow() {
    std::vector<T> bigger(items_.empty() ? 8 : 2 * items_.size());  // a power of two
    for (std::size_t i = 0; i < count_; ++i) bigger[i] = std::move(items_[(first_ + i) & (items_.size() - 1)]);
    items_ = std::move(bigger);
    first_ = 0;
  }

  std::vector<T> items_;
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace godwit::homa
