#include "chunks/core/chunk_sizes.h"

#include <gtest/gtest.h>

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

// casync.md 3.3.
TEST(ChunkSizes, DiscriminatorsAreTheOriginals) {
  struct Row {
    std::uint64_t avg, discriminator;
  };
  const Row rows[] = {
      {4096, 3075},     {16384, 12318},    {32768, 24680},     {65536, 49535},      {131072, 99777},
      {262144, 202440}, {1048576, 886711}, {4194304, 5721670}, {8388608, 33554432},
  };
  for (const Row& row : rows) EXPECT_EQ(discriminator_of(*complete_chunk_sizes({}, row.avg, {})), row.discriminator) << row.avg;
}

TEST(ChunkSizes, ADiscriminatorStaysWithinTheSizes) {
  EXPECT_EQ(discriminator_of({.min = 64 * 1024, .avg = 64 * 1024, .max = 256 * 1024}), 64u * 1024)
      << "49535 is below the minimum";
  EXPECT_EQ(discriminator_of({.min = 1, .avg = 64, .max = 100}), 48u);
  EXPECT_EQ(discriminator_of({.min = 1, .avg = 1, .max = 1}), 1u);
  EXPECT_EQ(discriminator_of(*complete_chunk_sizes({}, 12 * kMiB, {})), 48 * kMiB) << "the denominator is negative";
  EXPECT_EQ(discriminator_of(*complete_chunk_sizes({}, 128 * kMiB, {})), 128 * kMiB);
}

TEST(ChunkSizes, WhatIsNotGivenFollowsFromWhatIs) {
  using Size = std::optional<std::uint64_t>;
  struct Row {
    const char* name;
    Size min, avg, max;
    ChunkSizes sizes;
  };
  const Row rows[] = {
      {"nothing", {}, {}, {}, {16384, 65536, 262144}},
      {"average", {}, 4096, {}, {1024, 4096, 16384}},
      {"average of 1", {}, 1, {}, {1, 1, 4}},
      {"large average", {}, 100 * kMiB, {}, {25 * kMiB, 100 * kMiB, 128 * kMiB}},
      {"minimum", 1000, {}, {}, {1000, 4000, 16000}},
      {"maximum", {}, {}, 4000, {250, 1000, 4000}},
      {"both ends", 1024, {}, 16384, {1024, 4096, 16384}},
      {"both ends, rounded", 10, {}, 100, {10, 32, 100}},
      {"all", 5, 6, 7, {5, 6, 7}},
  };
  for (const Row& row : rows) {
    const Result<ChunkSizes> sizes = complete_chunk_sizes(row.min, row.avg, row.max);
    ASSERT_TRUE(sizes) << row.name;
    EXPECT_EQ(text_of(*sizes), text_of(row.sizes)) << row.name;
  }
  for (const auto& [min, avg, max] : {std::tuple<Size, Size, Size>{2, 1, {}}, {{}, 3, 2}, {0, {}, {}}, {{}, {}, 128 * kMiB + 1}})
    EXPECT_FALSE(complete_chunk_sizes(min, avg, max));
}

TEST(ChunkSizes, AreWrittenAsTheOptionWritesThem) {
  EXPECT_EQ(text_of(parse_chunk_sizes("64K").value()), "16384:65536:262144");
  EXPECT_EQ(text_of(parse_chunk_sizes("10K:20K:40K").value()), "10240:20480:40960");
  EXPECT_EQ(text_of(parse_chunk_sizes("1:64:100").value()), "1:64:100");
  EXPECT_EQ(text_of(parse_chunk_sizes("1M").value()), "262144:1048576:4194304");
  for (const char* bad :
       {"", "32k", "64KB", "1:2", "1:2:3:4", "3:2:1", "0", "1G", "99999999999999999999", "1:2:", "-1", "8888888888T"})
    EXPECT_EQ(parse_chunk_sizes(bad).error().kind(), ErrorKind::usage) << bad;
}

}  // namespace
