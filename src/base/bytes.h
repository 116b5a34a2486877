// Borrowed and owned bytes. Whoever takes a span says until when the bytes must live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace godwit {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Bytes = std::vector<std::byte>;

inline ConstBytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
inline std::string_view as_text(ConstBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ConstBytes bytes) {
  return Bytes(bytes.begin(), bytes.end());
}

inline void append(Bytes& to, ConstBytes from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Two lower-case digits per byte.
std::string to_hex(ConstBytes bytes);
// Spaces, newlines and '|' are skipped, so that a specification's example can be pasted.
Result<Bytes> from_hex(std::string_view text);

// Whether every byte is zero; stops at the first that is not.
bool is_zero(ConstBytes bytes);

// Text from a peer made fit for a terminal or a log: control and non-ASCII bytes become \xNN.
std::string escaped(std::string_view text);

}  // namespace godwit
