#include "chunks/core/encoder_cache.h"

#include <gtest/gtest.h>

#include "chunks/core/cache_format_test.h"

namespace godwit::chunks {
namespace {

Sha256 print_of(unsigned byte) {
  Sha256 print;
  print.fill(static_cast<std::byte>(byte));
  return print;
}

EncoderCache sample() {
  EncoderCache cache{.sizes = {.min = 64, .avg = 100, .max = 200},
                     .digest = Digest::sha256,
                     .chunks = {{.start = 7, .print = print_of(0xa0), .length = 200, .id = {}},
                                {.start = 9, .print = print_of(0xc2), .length = 100, .id = {}}}};
  cache.chunks[0].id.bytes.fill(std::byte{0xb1});
  cache.chunks[1].id.bytes.fill(std::byte{0xd3});
  return cache;
}

TEST(EncoderCache, IsWrittenAsItsPageSays) {
  const std::string expected =
      "474f445749544543"
      "01000000"
      "02000000"
      "4000000000000000"
      "6400000000000000"
      "c800000000000000"
      "0200000000000000"
      "0700000000000000"
      "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0"
      "c800000000000000"
      "b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1"
      "0900000000000000"
      "c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2c2"
      "6400000000000000"
      "d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3d3";
  const Bytes file = encode_encoder_cache(sample());
  EXPECT_EQ(to_hex(ConstBytes(file).first(file.size() - 4)), expected);
  EXPECT_EQ(resealed(file), file);
  const Result<EncoderCache> read = decode_encoder_cache(file);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, sample());
}

TEST(EncoderCache, CutAnywhereOrWithAnyByteChangedIsRefused) {
  expect_damage_is_refused(encode_encoder_cache(sample()), decode_encoder_cache);
}

TEST(EncoderCache, WhatCannotBeIsRefusedThoughTheChecksumIsRight) {
  const ImpossibleRow rows[] = {
      {"a newer version", 8, {2}, ErrorKind::unsupported},
      {"an unknown digest", 12, {3}, ErrorKind::corrupt},
      {"a smallest chunk above the average", 16, {0xff}, ErrorKind::corrupt},
      {"more chunks than there are", 40, {3}, ErrorKind::corrupt},
      {"chunks beyond any limit", 47, {0xff}, ErrorKind::corrupt},
      {"chunks out of their order", 48, {10}, ErrorKind::corrupt},
      {"a chunk above the largest", 88, {0xc9}, ErrorKind::corrupt},
      {"a chunk without bytes", 88, {0}, ErrorKind::corrupt},
  };
  expect_refused_though_sealed(encode_encoder_cache(sample()), rows, decode_encoder_cache);
}

}  // namespace
}  // namespace godwit::chunks
