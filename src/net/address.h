// Where to dial or listen: "host:port", "[v6]:port", "unix:/path". Text from a peer is a hint, never obeyed blindly.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace godwit::net {

struct Address {
  std::string host;  // empty for a Unix address
  std::uint16_t port = 0;
  std::string unix_path;  // empty for an Internet address

  bool is_unix() const { return !unix_path.empty(); }
  // 127.0.0.0/8, ::1, "localhost", or a Unix path: what needs no --insecure.
  bool is_loopback() const;
  std::string text() const;

  // `default_port` stands where the text has none; 0 then means an error.
  static Result<Address> parse(std::string_view text, std::uint16_t default_port);

  friend auto operator<=>(const Address&, const Address&) = default;
};

}  // namespace godwit::net
