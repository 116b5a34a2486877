#include "homa/core/ids.h"

#include <algorithm>

namespace godwit::homa {

bool is_ipv4(const PeerAddress& address) {
  return std::all_of(address.ip.begin(), address.ip.begin() + 10, [](std::byte b) { return b == std::byte{0}; }) &&
         address.ip[10] == std::byte{0xff} && address.ip[11] == std::byte{0xff};
}

PeerAddress ipv4_address(std::uint32_t ipv4, std::uint16_t udp_port) {
  PeerAddress address;
  address.ip[10] = address.ip[11] = std::byte{0xff};
  for (std::size_t i = 0; i < 4; ++i) address.ip[12 + i] = static_cast<std::byte>(ipv4 >> (24 - 8 * i));
  address.udp_port = udp_port;
  return address;
}

}  // namespace godwit::homa
