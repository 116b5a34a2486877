#include "chunks/core/seed_index.h"

#include <gtest/gtest.h>

#include "chunks/core/cache_format_test.h"

namespace godwit::chunks {
namespace {

SeedIndex sample() {
  SeedIndex index{.seed = {.device = 0x801, .inode = 42, .size = 300, .mtime_ns = -1, .ctime_ns = 1'700'000'000'000'000'000},
                  .sizes = {.min = 64, .avg = 100, .max = 200},
                  .digest = Digest::sha256,
                  .entries = {{.end = 200, .id = {}}, {.end = 300, .id = {}}}};
  index.entries[0].id.bytes.fill(std::byte{0xa0});
  index.entries[1].id.bytes.fill(std::byte{0xb1});
  return index;
}

TEST(SeedIndex, IsWrittenAsItsPageSays) {
  const std::string expected =
      "474f445749545349"
      "01000000"
      "02000000"
      "0108000000000000"
      "2a00000000000000"
      "2c01000000000000"
      "ffffffffffffffff"
      "00002a36fe9c9717"
      "4000000000000000"
      "6400000000000000"
      "c800000000000000"
      "0200000000000000"
      "c800000000000000"
      "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
      "2c01000000000000"
      "b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1";
  const Bytes file = encode_seed_index(sample());
  EXPECT_EQ(to_hex(ConstBytes(file).first(file.size() - 4)), expected);
  EXPECT_EQ(resealed(file), file);
  const Result<SeedIndex> read = decode_seed_index(file);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, sample());
}

TEST(SeedIndex, OfAnEmptySeedHasNoChunks) {
  SeedIndex index = sample();
  index.entries.clear();
  index.seed.size = 0;
  const Result<SeedIndex> read = decode_seed_index(encode_seed_index(index));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, index);
}

TEST(SeedIndex, CutAnywhereOrWithAnyByteChangedIsRefused) {
  expect_damage_is_refused(encode_seed_index(sample()), decode_seed_index);
}

TEST(SeedIndex, WhatCannotBeIsRefusedThoughTheChecksumIsRight) {
  const ImpossibleRow rows[] = {
      {"a newer version", 8, {2}, ErrorKind::unsupported},
      {"an unknown digest", 12, {3}, ErrorKind::corrupt},
      {"a seed larger than its chunks", 32, {0xff}, ErrorKind::corrupt},
      {"a smallest chunk above the average", 56, {0xff}, ErrorKind::corrupt},
      {"more chunks than there are", 80, {3}, ErrorKind::corrupt},
      {"chunks beyond any limit", 87, {0xff}, ErrorKind::corrupt},
      {"a chunk above the largest", 88, {0xc9}, ErrorKind::corrupt},
      {"a chunk that ends where it begins", 128, {0, 0}, ErrorKind::corrupt},
  };
  expect_refused_though_sealed(encode_seed_index(sample()), rows, decode_seed_index);
}

}  // namespace
}  // namespace godwit::chunks
