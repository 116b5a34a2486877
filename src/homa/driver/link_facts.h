// What this machine knows about the network interface that an address belongs to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "homa/core/ids.h"

namespace godwit::homa {

struct LinkFacts {
  std::string interface;  // "": none in particular
  std::uint32_t mtu = 1500;
  std::optional<std::uint32_t> speed_mbps;  // as the card says; virtual ones do not
  bool is_loopback = false;
};

// Of the interface with this address. For the unspecified address: the least MTU and the best speed of those that are up,
// loopback left out.
LinkFacts link_facts(const PeerAddress& local);

// Of the interface called so; `is_loopback` is not looked at, and one that is not there has an MTU of 1500 and no speed.
LinkFacts facts_of_interface(const std::string& name);

// The address that this machine would use towards `peer`. ErrorKind::io if there is no way.
Result<PeerAddress> local_address_towards(const PeerAddress& peer);

}  // namespace godwit::homa
