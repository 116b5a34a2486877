// Whether to look for datagrams for a while before sleeping. Waking a sleeping processor takes longer than most answers; but who
// looks in vain wastes a processor, and where the other side shares it, keeps the answer from being made. So: a look is tried now
// and then, looks go on while they find something, and not where others want the processor.
//
// | state | event | becomes |
// |---|---|---|
// | asleep | as many waits as the gap | trying |
// | trying | found; the fourth in a row | trying; paying |
// | trying | not found | asleep, the gap doubles (64 to 4096 waits) |
// | paying | not found, by now eight times more than found | asleep, the gap is 64 |
// | any | taken from the processor twice within 10 ms | held: no looks for a pause of 10 ms, doubled each time to 1 s |
// | held | the pause is over | asleep |
// | any | 10 ms with one such loss or none | the next pause is half as long |
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace godwit::homa {

class SpinGauge {
 public:
  // Asked at every wait.
  bool wants_look(Instant at) {
    if (at < held_until_) return false;
    if (is_paying_) return true;
    return ++waits_ >= gap_;
  }

  // What came of a look that was wanted.
  void note_look(bool found) {
    if (is_paying_) {
      balance_ = found ? std::max(balance_ - 1, 0) : balance_ + 1;
      if (balance_ >= kMissesMax) sleep(kGapMin);
    } else if (!found) {
      sleep(std::min(gap_ * 2, kGapMax));
    } else if (++hits_ == kHitsNeeded) {
      is_paying_ = true;
      balance_ = 0;
    }
  }

  // Whether to tell, before the next look, how often the thread lost its processor against its will.
  bool is_loss_wanted(Instant at) const { return at >= next_loss_at_; }
  // `losses` in all.
  void note_losses(Instant at, std::uint64_t losses) {
    // A longer time than that says nothing of now.
    const bool is_recent = at < next_loss_at_ + kLossPeriod;
    if (is_recent && losses >= losses_ + kLossesMax) {
      held_until_ = at + pause_;
      pause_ = {std::min(pause_.nanoseconds * 2, kPauseMax.nanoseconds)};
      sleep(kGapMin);
    } else {
      pause_ = {std::max(pause_.nanoseconds / 2, kPauseMin.nanoseconds)};
    }
    losses_ = losses;
    next_loss_at_ = at + kLossPeriod;
  }

 private:
  static constexpr std::uint32_t kGapMin = 64;
  static constexpr std::uint32_t kGapMax = 4096;
  static constexpr int kHitsNeeded = 4;
  static constexpr int kMissesMax = 8;
  static constexpr std::uint64_t kLossesMax = 2;
  static constexpr Duration kLossPeriod = Duration::milliseconds(10);
  static constexpr Duration kPauseMin = Duration::milliseconds(10);
  static constexpr Duration kPauseMax = Duration::milliseconds(1000);

  void sleep(std::uint32_t gap) {
    is_paying_ = false;
    gap_ = gap;
    waits_ = 0;
    hits_ = 0;
  }

  bool is_paying_ = false;
  std::uint32_t gap_ = kGapMin;
  std::uint32_t waits_ = 0;
  int hits_ = 0;
  int balance_ = 0;
  std::uint64_t losses_ = 0;
  Instant next_loss_at_;
  Instant held_until_;
  Duration pause_ = kPauseMin;
};

}  // namespace godwit::homa
