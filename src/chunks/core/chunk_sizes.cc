#include "chunks/core/chunk_sizes.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "base/check.h"
#include "base/checked.h"

namespace godwit::chunks {

Result<void> check_chunk_sizes(const ChunkSizes& sizes) {
  if (sizes.min < kChunkSizeBytesMin || sizes.avg < sizes.min || sizes.max < sizes.avg || sizes.max > kChunkSizeBytesMax)
    return fail(ErrorKind::invalid, fmt::format("chunk sizes {}: they must rise from at least 1 to at most {} bytes",
                                                text_of(sizes), kChunkSizeBytesMax));
  return {};
}

Result<ChunkSizes> complete_chunk_sizes(std::optional<std::uint64_t> min, std::optional<std::uint64_t> avg,
                                        std::optional<std::uint64_t> max) {
  const auto within = [](std::uint64_t v) { return std::clamp(v, kChunkSizeBytesMin, kChunkSizeBytesMax); };
  for (const auto& given : {min, avg, max})
    if (given && *given != within(*given))
      return fail(ErrorKind::invalid, fmt::format("a chunk size of {} bytes: 1 to {} are possible", *given, kChunkSizeBytesMax));
  ChunkSizes sizes;
  if (avg) {
    sizes.avg = *avg;
  } else if (min && max) {
    const double mean = std::exp2((std::log2(static_cast<double>(*min)) + std::log2(static_cast<double>(*max))) / 2);
    sizes.avg = within(static_cast<std::uint64_t>(std::llround(mean)));
  } else if (min) {
    sizes.avg = within(*min * 4);
  } else if (max) {
    sizes.avg = within(*max / 4);
  }
  sizes.min = min.value_or(within(sizes.avg / 4));
  sizes.max = max.value_or(within(sizes.avg * 4));
  if (Result<void> checked = check_chunk_sizes(sizes); !checked) return fail(checked.error());
  return sizes;
}

static Result<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix(end, text.data() + text.size());
  static constexpr std::string_view kSuffixes = "KMGT";
  std::optional<std::uint64_t> scaled = value;
  if (suffix.size() == 1 && kSuffixes.find(suffix[0]) != kSuffixes.npos)
    scaled = checked_multiply(value, std::uint64_t{1} << (10 * (kSuffixes.find(suffix[0]) + 1)));
  else if (!suffix.empty())
    scaled = std::nullopt;
  if (error != std::errc() || !scaled)
    return fail(ErrorKind::usage, fmt::format("\"{}\" is no chunk size (like 65536 or 64K)", text));
  return *scaled;
}

Result<ChunkSizes> parse_chunk_sizes(std::string_view text) {
  std::optional<std::uint64_t> fields[3];
  std::size_t count = 0;
  for (std::string_view rest = text; count < 3; ++count) {
    const std::size_t colon = rest.find(':');
    const Result<std::uint64_t> value = parse_size(rest.substr(0, colon));
    if (!value) return fail(value.error());
    fields[count] = *value;
    if (colon == rest.npos) {
      ++count;
      break;
    }
    if (count == 2) return fail(ErrorKind::usage, fmt::format("chunk sizes \"{}\": AVG or MIN:AVG:MAX", text));
    rest = rest.substr(colon + 1);
  }
  if (count == 2) return fail(ErrorKind::usage, fmt::format("chunk sizes \"{}\": AVG or MIN:AVG:MAX", text));
  Result<ChunkSizes> sizes = count == 1 ? complete_chunk_sizes(std::nullopt, fields[0], std::nullopt)
                                        : complete_chunk_sizes(fields[0], fields[1], fields[2]);
  if (!sizes) return fail(ErrorKind::usage, sizes.error().message());
  return sizes;
}

std::string text_of(const ChunkSizes& sizes) {
  return fmt::format("{}:{}:{}", sizes.min, sizes.avg, sizes.max);
}

std::uint32_t discriminator_of(const ChunkSizes& sizes) {
  GODWIT_CHECK(check_chunk_sizes(sizes).has_value());
  const auto avg = static_cast<double>(sizes.avg);
  const double exact = avg / (-1.42888852e-7 * avg + 1.33237515);
  // Where the denominator is negative the original converts a negative number to a huge one, which is then clamped.
  if (exact < 0 || exact >= static_cast<double>(sizes.max)) return static_cast<std::uint32_t>(sizes.max);
  return static_cast<std::uint32_t>(std::max(static_cast<std::uint64_t>(exact), sizes.min));
}

}  // namespace godwit::chunks
