#include "net/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::net {

SocketAddress::SocketAddress(const sockaddr* address, socklen_t size) : size_(size) {
  GODWIT_CHECK(size <= sizeof storage_);
  std::memcpy(&storage_, address, size);
}

Result<SocketAddress> SocketAddress::of_unix(const std::string& path) {
  sockaddr_un un{};
  un.sun_family = AF_UNIX;
  if (path.size() >= sizeof un.sun_path)
    return fail(ErrorKind::invalid, fmt::format("unix:{}: the path is longer than {} bytes", path, sizeof un.sun_path - 1));
  std::memcpy(un.sun_path, path.data(), path.size());
  const std::size_t size = offsetof(sockaddr_un, sun_path) + path.size() + 1;
  return SocketAddress(reinterpret_cast<const sockaddr*>(&un), static_cast<socklen_t>(size));
}

std::optional<SocketAddress> SocketAddress::of_number(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || found == nullptr) return std::nullopt;
  SocketAddress address(found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return address;
}

SocketAddress SocketAddress::local_of(int socket) {
  SocketAddress address;
  socklen_t size = sizeof address.storage_;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address.storage_), &size) == 0) address.size_ = size;
  return address;
}

SocketAddress SocketAddress::peer_of(int socket) {
  SocketAddress address;
  socklen_t size = sizeof address.storage_;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&address.storage_), &size) == 0) address.size_ = size;
  return address;
}

Address SocketAddress::address() const {
  Address out;
  if (family() == AF_UNIX) {
    const auto* un = reinterpret_cast<const sockaddr_un*>(&storage_);
    const std::size_t room = size_ - offsetof(sockaddr_un, sun_path);
    out.unix_path.assign(un->sun_path, strnlen(un->sun_path, room));
    return out;
  }
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (getnameinfo(data(), size_, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
    out.host = host;
    out.port = static_cast<std::uint16_t>(std::stoul(port));
  }
  return out;
}

}  // namespace godwit::net
