// The blobs that the golden files in testdata were made of. Only tests include this.
#pragma once

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/random.h"

namespace godwit::chunks::golden {

inline Bytes random_bytes(std::uint64_t seed, std::size_t size) {
  Bytes out(size + 8);
  Random random(seed);
  for (std::size_t at = 0; at < size; at += 8) {
    const std::uint64_t word = random.next();
    std::memcpy(out.data() + at, &word, 8);
  }
  out.resize(size);
  return out;
}

// Compressible: bytes of the stream in pairs (a, b) give the decimal number a * b and a blank, or a newline where a is 0.
inline Bytes text(std::uint64_t seed, std::size_t size) {
  const Bytes stream = random_bytes(seed, size + 8);
  std::string out;
  for (std::size_t i = 0; out.size() < size; i += 2) {
    const int a = std::to_integer<int>(stream[i]);
    const int b = std::to_integer<int>(stream[i + 1]);
    out += std::to_string(a * b);
    out += a != 0 ? ' ' : '\n';
  }
  return to_bytes(as_bytes(out).first(size));
}

// A cut point exactly at the default minimum chunk size.
inline Bytes minimum_cut() {
  Bytes out = random_bytes(5, 16384 - 48);
  const Bytes window = random_bytes(99, 47517);
  append(out, ConstBytes(window).last(48));
  append(out, random_bytes(6, 500'000));
  return out;
}

inline Bytes blob(const std::string& name) {
  if (name == "blob4m") return random_bytes(0x676F64776974, 4'000'000);
  if (name == "text200k") return text(2, 200'000);
  if (name == "text4m") return text(4, 4'000'000);
  if (name == "zeros5m") return Bytes(5'000'001);
  if (name == "minimum-cut") return minimum_cut();
  if (name == "abc") return to_bytes(as_bytes("abc"));
  GODWIT_CHECK(name == "empty");
  return {};
}

inline Bytes file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  GODWIT_CHECK(in.good());
  const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return to_bytes(as_bytes(content));
}

}  // namespace godwit::chunks::golden
