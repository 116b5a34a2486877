// Whether a write may go into the page cache on the device's own thread, where it takes a few microseconds: less than waking a
// worker does. But the kernel lets a writer wait when too many pages are dirty or a journal is full, and everybody else on this
// thread would wait with it. So after a write that took long, workers do the writing for a while: a second, and longer each time
// that the next try is slow again. Not for writes that must be durable: those always wait.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace godwit::store {

class InlineWrites {
 public:
  static constexpr std::uint64_t kBytesMax = 32 * 1024;
  static constexpr Duration kSlow = Duration::milliseconds(5);
  static constexpr Duration kPauseMin = Duration::seconds(1);
  static constexpr Duration kPauseMax = Duration::seconds(60);

  // Parts of pages are not for this thread: the kernel may have to read their rest first.
  bool allows(std::uint64_t offset, std::uint64_t length, Instant now) const {
    return length <= kBytesMax && offset % kPage == 0 && length % kPage == 0 && now >= paused_until_;
  }

  // A write was made on this thread.
  void handle_written(Instant begun, Instant ended) {
    if (ended - begun < kSlow) {
      if (pause_ > kPauseMin && ended - paused_until_ >= kPauseMax) pause_ = kPauseMin;  // a good while
      return;
    }
    paused_until_ = ended + pause_;
    pause_ = std::min(pause_ + pause_, kPauseMax);
  }

 private:
  static constexpr std::uint64_t kPage = 4096;

  Instant paused_until_;
  Duration pause_ = kPauseMin;  // after the next slow one
};

}  // namespace godwit::store
