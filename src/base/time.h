// Time as an argument. An Instant is nanoseconds since a start that only its giver knows (the event loop, or a simulated world);
// nothing here reads a clock.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace godwit {

struct Duration {
  std::int64_t nanoseconds = 0;

  static constexpr Duration seconds(double s) { return {static_cast<std::int64_t>(s * 1e9)}; }
  static constexpr Duration milliseconds(std::int64_t ms) { return {ms * 1'000'000}; }
  static constexpr Duration microseconds(std::int64_t us) { return {us * 1'000}; }
  constexpr double as_seconds() const { return static_cast<double>(nanoseconds) / 1e9; }

  friend constexpr auto operator<=>(Duration, Duration) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.nanoseconds + b.nanoseconds}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.nanoseconds - b.nanoseconds}; }
  friend constexpr Duration operator*(Duration a, std::int64_t n) { return {a.nanoseconds * n}; }
  friend constexpr Duration operator/(Duration a, std::int64_t n) { return {a.nanoseconds / n}; }
};

struct Instant {
  std::int64_t nanoseconds = 0;

  static constexpr Instant never() { return {std::numeric_limits<std::int64_t>::max()}; }

  friend constexpr auto operator<=>(Instant, Instant) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return {t.nanoseconds + d.nanoseconds}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.nanoseconds - b.nanoseconds}; }
};

}  // namespace godwit
