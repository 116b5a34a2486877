// The names of things in Homa: endpoints, ports, RPCs. Source: homa.md 2.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>

#include "base/strong.h"

namespace godwit::homa {

// Where datagrams come from and go to: an IP address (IPv4 as ::ffff:a.b.c.d) and a UDP port, in host order. Everything that the
// protocol keeps per peer is keyed by it, because several endpoints share one IP address.
struct PeerAddress {
  std::array<std::byte, 16> ip{};
  std::uint16_t udp_port = 0;

  friend auto operator<=>(const PeerAddress&, const PeerAddress&) = default;
};
// IPv4 datagrams are smaller on the wire than IPv6 ones.
bool is_ipv4(const PeerAddress& address);
// ::ffff:`ipv4`; the address in host order.
PeerAddress ipv4_address(std::uint32_t ipv4, std::uint16_t udp_port);

// A Homa port, not a UDP port: 1..32767 are bound by servers, 32768..65535 given out by the endpoint.
using Port = Strong<struct PortTag, std::uint16_t>;
inline constexpr Port kNoPort{0};
inline constexpr Port kFirstClientPort{32768};

// As its holder knows it: even at the RPC's client, odd at its server.
using RpcId = Strong<struct RpcIdTag, std::uint64_t>;
inline constexpr RpcId kNoRpc{0};
constexpr bool is_client_id(RpcId id) {
  return (id.value & 1) == 0;
}
// The same RPC as the other side knows it.
constexpr RpcId other_side(RpcId id) {
  return RpcId{id.value ^ 1};
}

// Records of an endpoint's tables. An index is used again after its record is freed.
using PeerIndex = Strong<struct PeerIndexTag, std::uint32_t>;
using RpcIndex = Strong<struct RpcIndexTag, std::uint32_t>;
inline constexpr PeerIndex kNoPeer{0xffff'ffff};
inline constexpr RpcIndex kNoRpcIndex{0xffff'ffff};

// An RPC's record and which of its inhabitants is meant: a handle to an RPC that is over never reaches its successor.
struct RpcHandle {
  RpcIndex index = kNoRpcIndex;
  std::uint32_t generation = 0;

  friend auto operator<=>(RpcHandle, RpcHandle) = default;
};

// The owner's name for the bytes of a message that is being sent. The core never looks behind it.
using BufferId = Strong<struct BufferIdTag, std::uint64_t>;

}  // namespace godwit::homa
