#include "chunks/core/encoder_cache.h"

#include <gtest/gtest.h>

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

// With the checksum that it should have.
Bytes resealed(Bytes file) {
  file.resize(file.size() - 4);
  const std::uint32_t crc = crc32c(file);
  for (int i = 0; i < 4; ++i) file.push_back(static_cast<std::byte>(crc >> (8 * i)));
  return file;
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
  const Bytes file = encode_encoder_cache(sample());
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(decode_encoder_cache(ConstBytes(file).first(size))) << size;
  for (std::size_t at = 0; at < file.size(); ++at) {
    Bytes damaged = file;
    damaged[at] ^= std::byte{0x10};
    EXPECT_FALSE(decode_encoder_cache(damaged)) << at;
  }
}

TEST(EncoderCache, WhatCannotBeIsRefusedThoughTheChecksumIsRight) {
  struct Row {
    const char* name;
    std::size_t at;
    std::byte value;
    ErrorKind kind;
  };
  const Row rows[] = {
      {"a newer version", 8, std::byte{2}, ErrorKind::unsupported},
      {"an unknown digest", 12, std::byte{3}, ErrorKind::corrupt},
      {"a smallest chunk above the average", 16, std::byte{0xff}, ErrorKind::corrupt},
      {"more chunks than there are", 40, std::byte{3}, ErrorKind::corrupt},
      {"chunks beyond any limit", 47, std::byte{0xff}, ErrorKind::corrupt},
      {"chunks out of their order", 48, std::byte{10}, ErrorKind::corrupt},
      {"a chunk above the largest", 88, std::byte{0xc9}, ErrorKind::corrupt},
      {"a chunk without bytes", 88, std::byte{0}, ErrorKind::corrupt},
  };
  for (const Row& row : rows) {
    Bytes file = encode_encoder_cache(sample());
    file[row.at] = row.value;
    const Result<EncoderCache> read = decode_encoder_cache(resealed(file));
    ASSERT_FALSE(read) << row.name;
    EXPECT_EQ(read.error().kind(), row.kind) << row.name;
  }
}

}  // namespace
}  // namespace godwit::chunks
