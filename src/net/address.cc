#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

#include <fmt/format.h>

#include "base/bytes.h"

namespace godwit::net {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";

std::unexpected<Error> fail_address(std::string_view text, std::string_view why) {
  return fail(ErrorKind::invalid, fmt::format("address \"{}\": {}", escaped(text), why));
}

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view digits) {
  std::uint16_t port = 0;
  const char* end = digits.data() + digits.size();
  auto [stop, error] = std::from_chars(digits.data(), end, port);
  if (digits.empty() || error != std::errc() || stop != end) return fail_address(text, "the port is not a number up to 65535");
  return port;
}

// "[v6]", "[v6]:port": gives the host and leaves ":port" or nothing.
Result<std::string> take_bracketed(std::string_view text, std::string_view& rest) {
  const std::size_t close = rest.find(']');
  if (close == std::string_view::npos) return fail_address(text, "'[' without ']'");
  std::string host(rest.substr(1, close - 1));
  rest.remove_prefix(close + 1);
  // A zone ("%eth0") is the system's business; what stands before it must be an address.
  if (!is_ipv6(host.substr(0, host.find('%')))) return fail_address(text, "no IPv6 address between the brackets");
  return host;
}

Result<std::string> take_plain(std::string_view text, std::string_view& rest) {
  const std::size_t colon = rest.find(':');
  if (colon != rest.rfind(':')) return fail_address(text, "put brackets around an IPv6 address");
  std::string host(rest.substr(0, colon));
  rest.remove_prefix(host.size());
  if (host.empty()) return fail_address(text, "the host is missing");
  // With a port behind it, it would read as a path.
  if (host == "unix") return fail_address(text, "expected a path after \"unix:\"");
  for (char c : host)
    if (static_cast<unsigned char>(c) <= ' ' || c == '/' || c == 127) return fail_address(text, "no host name");
  return host;
}

}  // namespace

bool Address::is_loopback() const {
  if (is_unix() || host == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string Address::text() const {
  if (is_unix()) return std::string(kUnixPrefix) + unix_path;
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

Result<Address> Address::parse(std::string_view text, std::uint16_t default_port) {
  Address address;
  if (text.starts_with(kUnixPrefix)) {
    address.unix_path = text.substr(kUnixPrefix.size());
    if (address.unix_path.empty()) return fail_address(text, "the path is missing");
    if (address.unix_path.find('\0') != std::string::npos) return fail_address(text, "a zero byte in the path");
    return address;
  }
  std::string_view rest = text;
  Result<std::string> host = rest.starts_with('[') ? take_bracketed(text, rest) : take_plain(text, rest);
  if (!host) return fail(host.error());
  address.host = std::move(*host);
  if (rest.empty()) {
    if (default_port == 0) return fail_address(text, "the port is missing");
    address.port = default_port;
    return address;
  }
  if (rest.front() != ':') return fail_address(text, "expected ':' and a port after the host");
  Result<std::uint16_t> port = parse_port(text, rest.substr(1));
  if (!port) return fail(port.error());
  address.port = *port;
  return address;
}

}  // namespace godwit::net
