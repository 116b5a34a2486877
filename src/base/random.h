// A seeded generator (splitmix64): small, fast, the same everywhere. Passed in, never ambient; not for secrets.
#pragma once

#include <cstdint>

namespace godwit {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // Uniform enough for tests and jitter; `bound` > 0.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < p; }
  Random fork() { return Random(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace godwit
