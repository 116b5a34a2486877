#include "host/quantity.h"

#include <array>
#include <bit>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/bytes.h"

namespace godwit::host {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};

constexpr std::array<Unit, 18> kUnits = {{{"", 1},
                                          {"B", 1},
                                          {"K", 1ull << 10},
                                          {"KiB", 1ull << 10},
                                          {"M", 1ull << 20},
                                          {"MiB", 1ull << 20},
                                          {"G", 1ull << 30},
                                          {"GiB", 1ull << 30},
                                          {"T", 1ull << 40},
                                          {"TiB", 1ull << 40},
                                          {"k", 1ull << 10},
                                          {"m", 1ull << 20},
                                          {"g", 1ull << 30},
                                          {"t", 1ull << 40},
                                          {"kB", 1000},
                                          {"MB", 1'000'000},
                                          {"GB", 1'000'000'000},
                                          {"TB", 1'000'000'000'000}}};

}  // namespace

Result<std::uint64_t> parse_byte_count(std::string_view text) {
  const auto wrong = [&] {
    return fail(ErrorKind::usage,
                fmt::format("\"{}\" is no size: write a number of bytes, or one like 64KiB, 10G, 1.5TiB", escaped(text)));
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number > 0)) return wrong();
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  for (const Unit& known : kUnits) {
    if (unit != known.name) continue;
    std::uint64_t whole = 0;  // exact where the text is a whole number: a double has 53 bits
    const auto [whole_end, whole_error] = std::from_chars(text.data(), end, whole);
    if (whole_error == std::errc() && whole_end == end) {
      if (whole > INT64_MAX / known.bytes) return wrong();
      return whole * known.bytes;
    }
    const double bytes = number * static_cast<double>(known.bytes);
    if (bytes < 1 || bytes >= 0x1p63 || bytes != std::floor(bytes)) return wrong();
    return static_cast<std::uint64_t>(bytes);
  }
  return wrong();
}

std::string text_of_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kNames.size()) value /= 1024, ++unit;
  return fmt::format("{:.1f} {}", value, kNames[unit]);
}

Result<std::uint32_t> parse_block_size(std::string_view text) {
  Result<std::uint64_t> bytes = parse_byte_count(text);
  if (!bytes) return fail(std::move(bytes).error().within("block size"));
  if (*bytes < 4096 || *bytes > (4u << 20) || !std::has_single_bit(*bytes))
    return fail(ErrorKind::usage, fmt::format("block size {}: it must be a power of two from 4KiB to 4MiB", escaped(text)));
  return static_cast<std::uint32_t>(*bytes);
}

}  // namespace godwit::host
