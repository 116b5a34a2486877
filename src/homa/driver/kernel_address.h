// A PeerAddress as the kernel takes it, and back; and as people write it. Scopes of link-local addresses are not kept.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "homa/core/ids.h"

namespace godwit::homa {

class KernelAddress {
 public:
  KernelAddress() = default;
  // For a socket of IPv6, or (for IPv4 addresses only) one of IPv4.
  KernelAddress(const PeerAddress& address, bool is_ipv6_socket);

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&any_); }
  socklen_t size() const { return any_.v6.sin6_family == AF_INET6 ? sizeof any_.v6 : sizeof any_.v4; }

 private:
  union {
    sockaddr_in6 v6;
    sockaddr_in v4;
  } any_{};
};

PeerAddress peer_address_of(const sockaddr_storage& address);
// "192.0.2.7:9160", "[2001:db8::7]:9160".
std::string text_of(const PeerAddress& address);
bool is_loopback(const PeerAddress& address);
bool is_unspecified(const PeerAddress& address);

// Of "HOST:PORT", "[v6]:PORT" or a host alone; asks the system's resolver, and waits for it. IPv4 comes first where a name has
// both. ErrorKind::usage, not_found.
Result<PeerAddress> resolve_peer(std::string_view text, std::uint16_t default_port);

}  // namespace godwit::homa
