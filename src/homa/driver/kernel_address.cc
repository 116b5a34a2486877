#include "homa/driver/kernel_address.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "base/bytes.h"

namespace godwit::homa {

KernelAddress::KernelAddress(const PeerAddress& address, bool is_ipv6_socket) {
  if (is_ipv6_socket) {
    any_.v6.sin6_family = AF_INET6;
    any_.v6.sin6_port = htons(address.udp_port);
    std::memcpy(&any_.v6.sin6_addr, address.ip.data(), address.ip.size());
  } else {
    any_.v4.sin_family = AF_INET;
    any_.v4.sin_port = htons(address.udp_port);
    std::memcpy(&any_.v4.sin_addr, address.ip.data() + 12, 4);
  }
}

PeerAddress peer_address_of(const sockaddr_storage& address) {
  PeerAddress out;
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::memcpy(out.ip.data(), &v6.sin6_addr, out.ip.size());
    out.udp_port = ntohs(v6.sin6_port);
  } else if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    out = ipv4_address(ntohl(v4.sin_addr.s_addr), ntohs(v4.sin_port));
  }
  return out;
}

std::string text_of(const PeerAddress& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (is_ipv4(address)) {
    inet_ntop(AF_INET, address.ip.data() + 12, host, sizeof host);
    return fmt::format("{}:{}", host, address.udp_port);
  }
  inet_ntop(AF_INET6, address.ip.data(), host, sizeof host);
  return fmt::format("[{}]:{}", host, address.udp_port);
}

bool is_loopback(const PeerAddress& address) {
  if (is_ipv4(address)) return address.ip[12] == std::byte{127};
  return std::all_of(address.ip.begin(), address.ip.end() - 1, [](std::byte b) { return b == std::byte{0}; }) &&
         address.ip[15] == std::byte{1};
}

bool is_unspecified(const PeerAddress& address) {
  const auto from = is_ipv4(address) ? address.ip.begin() + 12 : address.ip.begin();
  return std::all_of(from, address.ip.end(), [](std::byte b) { return b == std::byte{0}; });
}

Result<PeerAddress> resolve_peer(std::string_view text, std::uint16_t default_port) {
  const auto wrong = [&](std::string_view why) {
    return fail(ErrorKind::usage, fmt::format("address \"{}\": {}", escaped(text), why));
  };
  std::string_view host = text;
  std::string_view digits;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("'[' without ']'");
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return wrong("expected \":PORT\" after ']'");
    if (!rest.empty()) digits = rest.substr(1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (colon != text.rfind(':')) return wrong("put brackets around an IPv6 address");
    host = text.substr(0, colon);
    digits = text.substr(colon + 1);
  }
  std::uint16_t port = default_port;
  if (host.size() != text.size() && !(text.ends_with(']'))) {
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size())
      return wrong("the port is not a number up to 65535");
  }
  if (host.empty()) return wrong("the host is missing");
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(std::string(host).c_str(), nullptr, &hints, &found);
  if (code != 0 || found == nullptr)
    return fail(ErrorKind::not_found, fmt::format("address \"{}\": {}", escaped(text), gai_strerror(code)));
  const addrinfo* chosen = found;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next)
    if (one->ai_family == AF_INET) {
      chosen = one;
      break;
    }
  sockaddr_storage storage{};
  std::memcpy(&storage, chosen->ai_addr, std::min<std::size_t>(chosen->ai_addrlen, sizeof storage));
  PeerAddress address = peer_address_of(storage);
  freeaddrinfo(found);
  address.udp_port = port;
  return address;
}

}  // namespace godwit::homa
