// Which blocks the application has changed since the migrator read them. Source: silo.md 6.2.
// The order is everything: the migrator says track() before it reads a block, the application's write says note_write() after its
// bytes have landed. Blocks never read are never dirty, so the first pass sends nothing twice.
#pragma once

#include "base/bitset.h"

namespace godwit::volume {

class DirtyTracker {
 public:
  explicit DirtyTracker(std::uint64_t block_count) : tracked_(block_count), dirty_(block_count) {}

  // The migrator is about to read (or to ask about holes in) blocks [first, last).
  void track(std::uint64_t first, std::uint64_t last) { tracked_.set_range(first, last); }

  // A write has landed in blocks [first, last).
  void note_write(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t b = tracked_.next_set(first); b < last; b = tracked_.next_set(b + 1)) {
      if (!dirty_.test(b)) {
        dirty_.set(b);
        ++dirty_count_;
      }
    }
  }

  std::uint64_t dirty_count() const { return dirty_count_; }

  // The dirty blocks; they are neither dirty nor tracked any more until they are read again.
  Bitset take() {
    Bitset taken = dirty_;
    tracked_.subtract(taken);
    dirty_ = Bitset(taken.size());
    dirty_count_ = 0;
    return taken;
  }

  // A migration has ended or begins afresh: nothing has been read.
  void reset() {
    tracked_ = Bitset(tracked_.size());
    dirty_ = Bitset(dirty_.size());
    dirty_count_ = 0;
  }

 private:
  Bitset tracked_;
  Bitset dirty_;
  std::uint64_t dirty_count_ = 0;
};

}  // namespace godwit::volume
