// Decoding and encoding of fixed fields with the byte order said at each one. A Cursor never reads past its end: the first read
// that would do so marks it failed, later reads give zeros, and one check at the end of a record is enough.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>

#include "base/bytes.h"

namespace godwit {

class Cursor {
 public:
  // Borrows `bytes` for its own life.
  explicit Cursor(ConstBytes bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }
  bool at_end() const { return ok_ && remaining() == 0; }

  std::uint8_t u8() { return get_le<std::uint8_t>(); }
  std::uint16_t u16_le() { return get_le<std::uint16_t>(); }
  std::uint32_t u32_le() { return get_le<std::uint32_t>(); }
  std::uint64_t u64_le() { return get_le<std::uint64_t>(); }
  std::int64_t i64_le() { return static_cast<std::int64_t>(get_le<std::uint64_t>()); }
  std::int32_t i32_le() { return static_cast<std::int32_t>(get_le<std::uint32_t>()); }
  std::uint16_t u16_be() { return std::byteswap(get_le<std::uint16_t>()); }
  std::uint32_t u32_be() { return std::byteswap(get_le<std::uint32_t>()); }
  std::uint64_t u64_be() { return std::byteswap(get_le<std::uint64_t>()); }

  // The next `count` bytes, borrowed; empty and failed when there are fewer.
  ConstBytes take(std::size_t count) {
    if (!ok_ || count > remaining()) {
      ok_ = false;
      return {};
    }
    ConstBytes out = bytes_.subspan(offset_, count);
    offset_ += count;
    return out;
  }
  ConstBytes rest() { return take(remaining()); }
  void fail() { ok_ = false; }

 private:
  template <std::unsigned_integral T>
  T get_le() {
    T value{};
    ConstBytes field = take(sizeof(T));
    if (field.size() == sizeof(T)) std::memcpy(&value, field.data(), sizeof(T));
    static_assert(std::endian::native == std::endian::little, "every supported machine is little-endian");
    return value;
  }

  ConstBytes bytes_;
  std::size_t offset_ = 0;
  bool ok_ = true;
};

// Appends fields to owned bytes.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

  void u8(std::uint8_t v) { put(v); }
  void u16_le(std::uint16_t v) { put(v); }
  void u32_le(std::uint32_t v) { put(v); }
  void u64_le(std::uint64_t v) { put(v); }
  void i64_le(std::int64_t v) { put(static_cast<std::uint64_t>(v)); }
  void i32_le(std::int32_t v) { put(static_cast<std::uint32_t>(v)); }
  void u16_be(std::uint16_t v) { put(std::byteswap(v)); }
  void u32_be(std::uint32_t v) { put(std::byteswap(v)); }
  void u64_be(std::uint64_t v) { put(std::byteswap(v)); }
  void bytes(ConstBytes b) { append(out_, b); }
  void text(std::string_view t) { append(out_, as_bytes(t)); }

 private:
  template <std::unsigned_integral T>
  void put(T value) {
    std::byte raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    out_.insert(out_.end(), raw, raw + sizeof(T));
  }
  Bytes& out_;
};

}  // namespace godwit
