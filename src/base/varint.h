// LEB128 integers, unsigned and zig-zag signed. At most ten bytes; more, or bits past the 64th, fail the cursor.
#pragma once

#include <cstdint>

#include "base/cursor.h"

namespace godwit {

std::uint64_t read_varint(Cursor& cursor);
void write_varint(Bytes& out, std::uint64_t value);

constexpr std::uint64_t zigzag(std::int64_t v) {
  return (static_cast<std::uint64_t>(v) << 1) ^ static_cast<std::uint64_t>(v >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t u) {
  return static_cast<std::int64_t>(u >> 1) ^ -static_cast<std::int64_t>(u & 1);
}

}  // namespace godwit
