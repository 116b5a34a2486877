// A priority queue of record indices, smallest key first, from which any index can be removed or moved. Where an index stands is
// kept in a vector that several heaps may share, as long as an index is in one of them only.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"

namespace godwit::homa {

class HeapPositions {
 public:
  static constexpr std::uint32_t kOutside = 0xffff'ffff;

  std::uint32_t of(std::uint32_t index) const { return index < positions_.size() ? positions_[index] : kOutside; }
  void set(std::uint32_t index, std::uint32_t position) {
    if (index >= positions_.size()) positions_.resize(index + index / 2 + 16, kOutside);
    positions_[index] = position;
  }

 private:
  std::vector<std::uint32_t> positions_;
};

template <class Key>
class IndexedHeap {
 public:
  struct Entry {
    Key key;
    std::uint32_t index;
  };

  bool empty() const { return entries_.empty(); }
  std::size_t size() const { return entries_.size(); }
  const Entry& front() const { return entries_.front(); }
  const Entry& at(std::uint32_t position) const { return entries_[position]; }

  void push(HeapPositions& positions, std::uint32_t index, const Key& key) {
    entries_.push_back({key, index});
    rise(positions, static_cast<std::uint32_t>(entries_.size() - 1));
  }
  // The index must be in this heap.
  void update(HeapPositions& positions, std::uint32_t index, const Key& key) {
    const std::uint32_t position = positions.of(index);
    GODWIT_CHECK(position < entries_.size() && entries_[position].index == index);
    const bool earlier = key < entries_[position].key;
    entries_[position].key = key;
    earlier ? rise(positions, position) : sink(positions, position);
  }
  void erase(HeapPositions& positions, std::uint32_t index) {
    const std::uint32_t position = positions.of(index);
    GODWIT_CHECK(position < entries_.size() && entries_[position].index == index);
    positions.set(index, HeapPositions::kOutside);
    const Entry last = entries_.back();
    entries_.pop_back();
    if (position == entries_.size()) return;
    const bool earlier = last.key < entries_[position].key;
    entries_[position] = last;
    earlier ? rise(positions, position) : sink(positions, position);
  }

 private:
  static constexpr std::uint32_t kChildren = 4;

  void rise(HeapPositions& positions, std::uint32_t position) {
    const Entry moving = entries_[position];
    while (position > 0) {
      const std::uint32_t parent = (position - 1) / kChildren;
      if (!(moving.key < entries_[parent].key)) break;
      entries_[position] = entries_[parent];
      positions.set(entries_[position].index, position);
      position = parent;
    }
    entries_[position] = moving;
    positions.set(moving.index, position);
  }
  void sink(HeapPositions& positions, std::uint32_t position) {
    const Entry moving = entries_[position];
    const std::uint32_t end = static_cast<std::uint32_t>(entries_.size());
    while (true) {
      const std::uint32_t first = kChildren * position + 1;
      if (first >= end) break;
      std::uint32_t least = first;
      for (std::uint32_t child = first + 1; child < first + kChildren && child < end; ++child)
        if (entries_[child].key < entries_[least].key) least = child;
      if (!(entries_[least].key < moving.key)) break;
      entries_[position] = entries_[least];
      positions.set(entries_[position].index, position);
      position = least;
    }
    entries_[position] = moving;
    positions.set(moving.index, position);
  }

  std::vector<Entry> entries_;
};

}  // namespace godwit::homa
