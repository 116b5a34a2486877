#include "base/bytes.h"

namespace godwit {

static constexpr char kDigits[] = "0123456789abcdef";

std::string to_hex(ConstBytes bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::byte b : bytes) {
    text += kDigits[std::to_integer<unsigned>(b) >> 4];
    text += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

static int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<Bytes> from_hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ' || c == '\n' || c == '|') continue;
    const int value = digit_value(c);
    if (value < 0) return fail(ErrorKind::invalid, "not a hex digit at offset " + std::to_string(i));
    if (high < 0) {
      high = value;
    } else {
      bytes.push_back(static_cast<std::byte>(high * 16 + value));
      high = -1;
    }
  }
  if (high >= 0) return fail(ErrorKind::truncated, "an odd number of hex digits");
  return bytes;
}

bool is_zero(ConstBytes bytes) {
  // Comparing the buffer with itself shifted by sixteen lets memcmp use the widest loads there are.
  const std::size_t head = bytes.size() < 16 ? bytes.size() : 16;
  for (std::size_t i = 0; i < head; ++i)
    if (bytes[i] != std::byte{0}) return false;
  return bytes.size() <= 16 || std::memcmp(bytes.data(), bytes.data() + 16, bytes.size() - 16) == 0;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u < 0x7f && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    }
  }
  return out;
}

}  // namespace godwit
