// An address as the kernel takes it. Internal to net.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>

#include "net/address.h"

namespace godwit::net {

class SocketAddress {
 public:
  SocketAddress() = default;
  SocketAddress(const sockaddr* address, socklen_t size);

  // Of a Unix path (ErrorKind::invalid when too long for the kernel).
  static Result<SocketAddress> of_unix(const std::string& path);
  // Of a host that is a number already; nothing when it is a name.
  static std::optional<SocketAddress> of_number(const std::string& host, std::uint16_t port);
  // Of a socket's own and the other end; empty when the kernel does not say.
  static SocketAddress local_of(int socket);
  static SocketAddress peer_of(int socket);

  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }
  int family() const { return size_ == 0 ? AF_UNSPEC : storage_.ss_family; }
  // A Unix socket without a name has an Address with neither host nor path.
  Address address() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

}  // namespace godwit::net
