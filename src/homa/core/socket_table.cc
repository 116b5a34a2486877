#include "homa/core/socket_table.h"

#include <fmt/format.h>

namespace godwit::homa {

namespace {
constexpr std::uint32_t kClientPorts = 32768;

std::uint64_t hash_of(Port port) {
  return mix_hash(0, port.value);  // ports are ours: nobody else chooses them
}
}  // namespace

std::uint32_t SocketTable::find(Port port) const {
  return by_port_.find(hash_of(port), [&](std::uint32_t at) { return sockets_[at].port == port; });
}

Result<std::uint32_t> SocketTable::open(Port port) {
  if (port.value >= kFirstClientPort.value)
    return fail(ErrorKind::invalid,
                fmt::format("Homa port {}: a server's port is 1 to 32767; 0 asks for a client's", port.value));
  if (port != kNoPort && find(port) != kNone)
    return fail(ErrorKind::exists, fmt::format("Homa port {} is open already", port.value));
  for (std::uint32_t tries = 0; port == kNoPort; ++tries) {
    if (tries == kClientPorts) return fail(ErrorKind::limit, "all 32768 client ports are in use");
    const Port candidate{next_client_port_};
    next_client_port_ = static_cast<std::uint16_t>(kFirstClientPort.value + (next_client_port_ + 1) % kClientPorts);
    if (find(candidate) == kNone) port = candidate;
  }
  const std::uint32_t socket = sockets_.take();
  sockets_[socket] = {};
  sockets_[socket].port = port;
  by_port_.insert(hash_of(port), socket);
  return socket;
}

void SocketTable::close(std::uint32_t socket) {
  by_port_.erase(hash_of(at(socket).port), socket);
  sockets_.give_back(socket);
}

void SocketTable::push_ready(std::uint32_t socket, RpcHandle rpc) {
  Socket& at_socket = at(socket);
  at_socket.ready.push(rpc);
  if (at_socket.is_announced) return;
  at_socket.is_announced = true;
  readable_.push(at_socket.port);
}

std::optional<Port> SocketTable::next_readable() {
  while (!readable_.empty()) {
    const Port port = readable_.pop();
    if (find(port) != kNone) return port;
  }
  return std::nullopt;
}

}  // namespace godwit::homa
