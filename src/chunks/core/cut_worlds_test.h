// Streams and chunk sizes that a seed draws, and where they are to be cut by the words of the specification: written from
// casync.md 3.1, 3.3 and 3.4 and from nothing that it is compared with but the table. Only tests include this.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/random.h"
#include "chunks/core/buzhash_table.h"
#include "chunks/core/chunk_sizes.h"
#include "chunks/core/golden_inputs.h"

namespace godwit::chunks::worlds {

using Cuts = std::vector<std::uint64_t>;

inline constexpr std::uint64_t kWindow = 48;

inline std::uint32_t weight_by_definition(std::byte byte) {
  return kBuzhashTable[std::to_integer<std::size_t>(byte)];
}

// Of the 48 bytes before data[end].
inline std::uint32_t hash_by_definition(const std::byte* data, std::uint64_t end) {
  std::uint32_t hash = 0;
  for (int i = 0; i < 48; ++i)
    hash ^= std::rotl(weight_by_definition(data[end - kWindow + static_cast<std::uint64_t>(i)]), 47 - i);
  return hash;
}

inline std::uint64_t discriminator_by_definition(const ChunkSizes& sizes) {
  const auto avg = static_cast<double>(sizes.avg);
  const double d = avg / (-1.42888852e-7 * avg + 1.33237515);
  if (d < 0 || d > static_cast<double>(sizes.max)) return sizes.max;
  return std::max(static_cast<std::uint64_t>(d), sizes.min);
}

inline Cuts cuts_by_definition(const ChunkSizes& sizes, ConstBytes bytes) {
  const std::uint64_t d = discriminator_by_definition(sizes);
  const bool one_size = sizes.min == sizes.avg && sizes.avg == sizes.max;
  const std::byte* const data = bytes.data();
  Cuts cuts;
  for (std::uint64_t start = 0; start < bytes.size();) {
    std::uint64_t end = std::min<std::uint64_t>(start + sizes.max, bytes.size());
    const std::uint64_t first = start + std::max(sizes.min, kWindow);
    if (!one_size && first < end) {
      std::uint32_t hash = hash_by_definition(data, first);
      for (std::uint64_t p = first; p < end; ++p) {
        if (hash % d == d - 1) {
          end = p;
          break;
        }
        hash = std::rotl(hash, 1) ^ std::rotl(weight_by_definition(data[p - kWindow]), 16) ^ weight_by_definition(data[p]);
      }
    }
    cuts.push_back(start = end);
  }
  return cuts;
}

struct Stretch {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct World {
  ChunkSizes sizes;
  Bytes content;
  std::vector<Stretch> holes;  // zeros that a file need not hold
  std::string description;
};

// As many short numbers as long ones: at most 2^bits.
inline std::uint64_t any_magnitude(Random& random, unsigned bits) {
  return 1 + random.below(std::uint64_t{1} << (1 + random.below(bits)));
}

// Sizes that the original takes, with the odd ones as often as the usual; a maximum of 2^max_bits bytes or the default's.
inline ChunkSizes draw_sizes(Random& random, unsigned max_bits) {
  std::uint64_t three[] = {any_magnitude(random, max_bits), any_magnitude(random, max_bits), any_magnitude(random, max_bits)};
  std::ranges::sort(three);
  ChunkSizes sizes{.min = three[0], .avg = three[1], .max = three[2]};
  switch (random.below(8)) {
    case 0: return {.min = three[1], .avg = three[1], .max = three[1]};
    case 1: sizes.avg = sizes.min; break;
    case 2: sizes.avg = sizes.max; break;
    case 3: return {.min = 3943, .avg = 3943, .max = 3944 + random.below(9000)};  // zeros hit: 3943 divides their hash + 1
    case 4: return {};
    default: break;
  }
  sizes.max = std::max(sizes.max, kWindow);  // less is refused
  if (sizes.min == sizes.max) ++sizes.max;
  if (random.below(4) == 0) sizes.avg = sizes.max;
  return sizes;
}

// 48 bytes that hit, or nothing where hits are too rare to be found.
inline Bytes draw_hit(Random& random, const ChunkSizes& sizes) {
  const std::uint64_t d = discriminator_by_definition(sizes);
  const Bytes noise = golden::random_bytes(random.next(), 20'000);
  for (std::uint64_t end = kWindow; end <= noise.size(); ++end)
    if (hash_by_definition(noise.data(), end) % d == d - 1) return to_bytes(ConstBytes(noise).subspan(end - kWindow, kWindow));
  return {};
}

// Some stretches of bytes of one kind each, about `bytes_max` altogether.
inline World draw_world(Random& random, std::uint64_t bytes_max, unsigned max_bits) {
  World world{.sizes = draw_sizes(random, max_bits), .content = {}, .holes = {}, .description = {}};
  const ChunkSizes& sizes = world.sizes;
  // Chunks without number would say no more and take longer.
  bytes_max = std::min(bytes_max, 30'000 * (sizes.is_fixed() ? sizes.max : std::max(sizes.min, kWindow)));
  const Bytes hit = draw_hit(random, sizes);
  for (std::uint64_t stretches = random.below(7); stretches > 0; --stretches) {
    const std::uint64_t length = std::min(any_magnitude(random, 24), bytes_max / 3 + 1);
    Bytes bytes;
    switch (random.below(6)) {
      case 0:
        world.description += fmt::format(" random:{}", length);
        bytes = golden::random_bytes(random.next(), length);
        break;
      case 1:
        world.description += fmt::format(" text:{}", length);
        bytes = golden::text(random.next(), length);
        break;
      case 2: {
        const std::uint64_t period = any_magnitude(random, 9);
        world.description += fmt::format(" period-{}:{}", period, length);
        const Bytes once = golden::random_bytes(random.next(), period);
        while (bytes.size() < length) append(bytes, once);
        break;
      }
      case 3: {
        if (hit.empty()) break;
        world.description += fmt::format(" hits-at-limits:{}", length);
        const std::uint64_t lengths[] = {
            sizes.min, std::max(sizes.min, kWindow), sizes.min + 1, sizes.avg, sizes.max - 1, sizes.max, sizes.max + 1};
        while (bytes.size() < length) {
          const std::uint64_t chunk = lengths[random.below(std::size(lengths))];
          append(bytes, golden::random_bytes(random.next(), chunk - std::min(chunk, kWindow)));
          append(bytes, hit);
          if (random.below(8) == 0) append(bytes, hit);
        }
        bytes.resize(length);
        break;
      }
      default: {
        const std::uint64_t zeros = random.below(2) == 0 ? length : std::min(bytes_max, length + 5 * sizes.max + random.below(3));
        world.description += fmt::format(" hole:{}", zeros);
        world.holes.push_back({.offset = world.content.size(), .length = zeros});
        bytes.resize(zeros);
      }
    }
    append(world.content, bytes);
  }
  world.description = fmt::format("sizes {}, {} bytes:{}", text_of(sizes), world.content.size(), world.description);
  return world;
}

}  // namespace godwit::chunks::worlds
