// Sixteen bytes that name something in the world: a host, a volume, a copy, an attempt.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <string>

#include "base/bytes.h"
#include "base/random.h"

namespace godwit {

template <class Tag>
struct Id128 {
  std::array<std::byte, 16> bytes{};

  friend constexpr auto operator<=>(const Id128&, const Id128&) = default;
  bool is_none() const { return *this == Id128{}; }
  ConstBytes view() const { return bytes; }
  std::string hex() const { return to_hex(bytes); }

  static Id128 from(ConstBytes sixteen) {
    Id128 id;
    std::memcpy(id.bytes.data(), sixteen.data(), 16);
    return id;
  }
  // From a generator that was itself seeded from the system's entropy (production) or from a scenario's seed.
  static Id128 random(Random& random) {
    Id128 id;
    const std::uint64_t words[2] = {random.next(), random.next()};
    std::memcpy(id.bytes.data(), words, 16);
    return id;
  }
};

}  // namespace godwit
