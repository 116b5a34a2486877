#include "host/base_file.h"

#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/random.h"

namespace godwit::host {
namespace {

Bytes unhex(std::string_view text) {
  return from_hex(text).value();
}

// The example of docs/formats/base-hash.md.
BaseFile example() {
  Sha256Stream stream;
  stream.update(sha256(as_bytes("abc")));
  return {.block_size_bytes = 4096, .size_bytes = 3, .modified_ns = 1, .hash = stream.finish(), .path = "/srv/base.img"};
}

constexpr std::string_view kExample =
    "4744575442415345 02000000 00100000 0300000000000000 0100000000000000"
    "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358 0d00 2f7372762f626173652e696d67 a91db56e";

// The bytes with a checksum that fits.
Bytes resealed(Bytes bytes) {
  bytes.resize(bytes.size() - 4);
  Writer(bytes).u32_le(crc32c(bytes));
  return bytes;
}

TEST(BaseFile, TheExampleOfItsPageIsWrittenAndRead) {
  EXPECT_EQ(encode_base_file(example()), unhex(kExample));
  const Result<BaseFile> read = decode_base_file(unhex(kExample));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, example());
}

TEST(BaseFile, AFileOfVersionOneIsReadWithoutItsPath) {
  std::ifstream file(GODWIT_TESTDATA "/version-1.cow.base", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  ASSERT_EQ(bytes.size(), 68u);
  const Result<BaseFile> read = decode_base_file(as_bytes(bytes));
  ASSERT_TRUE(read) << read.error().message();
  BaseFile expected = example();
  expected.path = "";
  EXPECT_EQ(*read, expected);
}

TEST(BaseFile, WhatGoesInComesOut) {
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    BaseFile file{static_cast<std::uint32_t>(random.next()), random.next(), static_cast<std::int64_t>(random.next()), {}, "/"};
    for (std::byte& b : file.hash) b = static_cast<std::byte>(random.below(256));
    file.path += std::string(random.below(kBasePathSizeMax), 'p');
    const Result<BaseFile> read = decode_base_file(encode_base_file(file));
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(*read, file);
  }
}

TEST(BaseFile, AnyOtherBytesAreRefused) {
  const Bytes good = unhex(kExample);
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_base_file(ConstBytes(good).first(size))) << size;
  for (std::size_t i = 0; i < good.size() * 8; ++i) {
    Bytes bad = good;
    bad[i / 8] ^= static_cast<std::byte>(1 << i % 8);
    EXPECT_FALSE(decode_base_file(bad)) << "bit " << i;
  }
  const auto with = [&](std::size_t offset, std::initializer_list<int> bytes) {
    Bytes changed = good;
    for (const int byte : bytes) changed[offset++] = static_cast<std::byte>(byte);
    return resealed(std::move(changed));
  };
  Bytes longer = good;
  longer.resize(longer.size() + 1);
  Bytes no_path = unhex("4744575442415345 02000000 00100000 0300000000000000 0100000000000000");
  no_path.resize(66 + 4);
  const struct {
    std::string_view name;
    Bytes bytes;
    ErrorKind kind;
  } rows[] = {
      {"nothing", {}, ErrorKind::truncated},
      {"another magic", with(0, {'X'}), ErrorKind::corrupt},
      {"version 0", with(8, {0}), ErrorKind::corrupt},
      {"a newer version", with(8, {3}), ErrorKind::unsupported},
      {"version 1 with a path", with(8, {1}), ErrorKind::corrupt},
      {"a path past the end", with(64, {14}), ErrorKind::corrupt},
      {"a path that ends early", with(64, {12}), ErrorKind::corrupt},
      {"a relative path", with(66, {'s'}), ErrorKind::corrupt},
      {"a zero byte in the path", with(68, {0}), ErrorKind::corrupt},
      {"no path", resealed(std::move(no_path)), ErrorKind::corrupt},
      {"bytes behind", resealed(std::move(longer)), ErrorKind::corrupt},
  };
  for (const auto& row : rows) {
    const Result<BaseFile> read = decode_base_file(row.bytes);
    ASSERT_FALSE(read) << row.name;
    EXPECT_EQ(read.error().kind(), row.kind) << row.name << ": " << read.error().message();
  }
}

TEST(BaseFile, FitsTheSameImageAtTheSamePlaceOnly) {
  const BaseFile noted = example();
  BaseFile old = noted;
  old.path = "";
  EXPECT_TRUE(noted.fits(noted));
  EXPECT_TRUE(old.fits(noted)) << "version 1 did not say where";
  for (int i = 0; i < 4; ++i) {
    BaseFile now = noted;
    if (i == 0) ++now.block_size_bytes;
    if (i == 1) ++now.size_bytes;
    if (i == 2) ++now.modified_ns;
    if (i == 3) now.path = "/elsewhere";
    EXPECT_FALSE(noted.fits(now)) << i;
  }
}

}  // namespace
}  // namespace godwit::host
