// What the tests of all cache files try alike: damage, and what cannot be although the checksum is right.
#pragma once

#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace godwit::chunks {

// With the checksum that it should have.
inline Bytes resealed(Bytes file) {
  file.resize(file.size() - 4);
  const std::uint32_t crc = crc32c(file);
  for (int i = 0; i < 4; ++i) file.push_back(static_cast<std::byte>(crc >> (8 * i)));
  return file;
}

template <class Decode>
void expect_damage_is_refused(const Bytes& file, Decode decode) {
  for (std::size_t size = 0; size < file.size(); ++size) EXPECT_FALSE(decode(ConstBytes(file).first(size))) << size;
  for (std::size_t at = 0; at < file.size(); ++at) {
    Bytes damaged = file;
    damaged[at] ^= std::byte{0x10};
    EXPECT_FALSE(decode(damaged)) << at;
  }
}

struct ImpossibleRow {
  const char* name;
  std::size_t at;
  std::vector<unsigned char> values;
  ErrorKind kind;
};

template <class Decode>
void expect_refused_though_sealed(const Bytes& file, std::span<const ImpossibleRow> rows, Decode decode) {
  for (const ImpossibleRow& row : rows) {
    Bytes changed = file;
    for (std::size_t i = 0; i < row.values.size(); ++i) changed[row.at + i] = static_cast<std::byte>(row.values[i]);
    const auto read = decode(resealed(changed));
    ASSERT_FALSE(read) << row.name;
    EXPECT_EQ(read.error().kind(), row.kind) << row.name;
  }
}

}  // namespace godwit::chunks
