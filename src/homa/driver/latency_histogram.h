// How long things took: counts in classes an eighth of a doubling wide, from a nanosecond to hours, so that a quantile is told to
// within 12.5 % (and by its class's upper end, never too small). Fixed memory, no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/time.h"

namespace godwit::homa {

class LatencyHistogram {
 public:
  void record(Duration took) {
    const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(took.nanoseconds, 0));
    ++counts_[class_of(ns)];
    ++count_;
    sum_ns_ += ns;
    least_ns_ = std::min(least_ns_, ns);
    most_ns_ = std::max(most_ns_, ns);
  }

  std::uint64_t count() const { return count_; }
  Duration sum() const { return {static_cast<std::int64_t>(sum_ns_)}; }
  Duration least() const { return {count_ == 0 ? 0 : static_cast<std::int64_t>(least_ns_)}; }
  Duration most() const { return {static_cast<std::int64_t>(most_ns_)}; }
  // The smallest time that at least the share `q` of them did not exceed, rounded up to its class's end; 0 without any.
  Duration quantile(double q) const {
    if (count_ == 0) return {};
    const auto wanted = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(q * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kClasses; ++i) {
      seen += counts_[i];
      if (seen >= wanted) return {static_cast<std::int64_t>(std::min(end_of(i), most_ns_))};
    }
    return most();
  }
  // How many took at most `limit`, as far as the classes tell: those of classes that end there or before.
  std::uint64_t count_up_to(Duration limit) const {
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kClasses && end_of(i) <= static_cast<std::uint64_t>(limit.nanoseconds); ++i) seen += counts_[i];
    return seen;
  }

 private:
  static constexpr std::size_t kParts = 8;
  static constexpr std::size_t kClasses = 48 * kParts;

  static std::size_t class_of(std::uint64_t ns) {
    if (ns < kParts) return ns;
    const auto doubling = static_cast<std::size_t>(std::bit_width(ns)) - 4;  // 0 for 8 … 15
    return std::min(kClasses - 1, kParts * (doubling + 1) + ((ns >> doubling) & (kParts - 1)));
  }
  // The longest time of a class.
  static std::uint64_t end_of(std::size_t index) {
    if (index < kParts) return index;
    const std::size_t doubling = index / kParts - 1;
    return ((kParts + index % kParts + 1) << doubling) - 1;
  }

  std::array<std::uint64_t, kClasses> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ns_ = 0;
  std::uint64_t least_ns_ = ~std::uint64_t{0};
  std::uint64_t most_ns_ = 0;
};

}  // namespace godwit::homa
