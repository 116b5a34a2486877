// Finds a record's index by the hash of its key; the records and their keys lie elsewhere. Open addressing, linear probing, no
// tombstones of its own. Nothing iterates over it, so the order of its entries never decides anything.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"

namespace godwit::homa {

class HashIndex {
 public:
  static constexpr std::uint32_t kNone = 0xffff'ffff;

  // The index of the first entry of this hash for which `is_it(index)` holds, or kNone.
  template <class IsIt>
  std::uint32_t find(std::uint64_t hash, IsIt&& is_it) const {
    if (count_ == 0) return kNone;
    const std::uint32_t tag = tag_of(hash);
    for (std::size_t at = tag & mask_; entries_[at].index != kNone; at = (at + 1) & mask_)
      if (entries_[at].tag == tag && is_it(entries_[at].index)) return entries_[at].index;
    return kNone;
  }
  void insert(std::uint64_t hash, std::uint32_t index) {
    if (2 * (count_ + 1) > entries_.size()) grow();
    place({tag_of(hash), index});
    ++count_;
  }
  // The entry must be there.
  void erase(std::uint64_t hash, std::uint32_t index) {
    std::size_t hole = tag_of(hash) & mask_;
    while (entries_[hole].index != index) {
      GODWIT_CHECK(entries_[hole].index != kNone);
      hole = (hole + 1) & mask_;
    }
    close(hole);
    --count_;
  }

 private:
  struct Entry {
    std::uint32_t tag = 0;
    std::uint32_t index = kNone;
  };
  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }

  void place(Entry entry) {
    std::size_t at = entry.tag & mask_;
    while (entries_[at].index != kNone) at = (at + 1) & mask_;
    entries_[at] = entry;
  }
  // Moves back what would not be found across the hole.
  void close(std::size_t hole) {
    for (std::size_t at = (hole + 1) & mask_; entries_[at].index != kNone; at = (at + 1) & mask_) {
      const std::size_t home = entries_[at].tag & mask_;
      if (((at - home) & mask_) < ((at - hole) & mask_)) continue;
      entries_[hole] = entries_[at];
      hole = at;
    }
    entries_[hole] = {};
  }
  void grow() {
    std::vector<Entry> old(entries_.empty() ? 16 : 2 * entries_.size());
    old.swap(entries_);
    mask_ = entries_.size() - 1;
    for (const Entry& entry : old)
      if (entry.index != kNone) place(entry);
  }

  std::vector<Entry> entries_;
  std::size_t mask_ = 0;
  std::size_t count_ = 0;
};

// Mixes a word into a hash; `seed` keeps peers from choosing keys that collide.
constexpr std::uint64_t mix_hash(std::uint64_t seed, std::uint64_t word) {
  std::uint64_t z = (seed ^ word) + 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace godwit::homa
