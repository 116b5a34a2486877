#include "homa/driver/link_facts.h"

#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "homa/driver/kernel_address.h"

namespace godwit::homa {

// Asked of the kernel and not read below /sys, which may show the interfaces of another network namespace.
LinkFacts facts_of_interface(const std::string& name) {
  LinkFacts facts;
  facts.interface = name;
  facts.mtu = 1500;
  const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return facts;
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  if (::ioctl(descriptor, SIOCGIFMTU, &request) == 0 && request.ifr_mtu > 0)
    facts.mtu = static_cast<std::uint32_t>(request.ifr_mtu);
  ethtool_cmd settings{};
  settings.cmd = ETHTOOL_GSET;
  request.ifr_data = reinterpret_cast<char*>(&settings);
  if (::ioctl(descriptor, SIOCETHTOOL, &request) == 0) {
    const std::uint32_t speed = ethtool_cmd_speed(&settings);
    const bool is_known = speed != 0 && speed != static_cast<std::uint32_t>(SPEED_UNKNOWN) && speed != 0xffff;
    if (is_known) facts.speed_mbps = speed;
  }
  ::close(descriptor);
  return facts;
}

LinkFacts link_facts(const PeerAddress& local) {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(first, freeifaddrs);
  const bool of_all = is_unspecified(local);
  std::optional<LinkFacts> sum;
  for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_UP) == 0) continue;
    const int family = one->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const bool loopback = (one->ifa_flags & IFF_LOOPBACK) != 0;
    if (!of_all) {
      sockaddr_storage storage{};
      const std::size_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
      std::copy_n(reinterpret_cast<const char*>(one->ifa_addr), size, reinterpret_cast<char*>(&storage));
      // All of 127.0.0.0/8 is the loopback's.
      if (peer_address_of(storage).ip != local.ip && !(loopback && is_loopback(local))) continue;
      LinkFacts facts = facts_of_interface(one->ifa_name);
      facts.is_loopback = loopback;
      return facts;
    }
    if (loopback) continue;
    const LinkFacts facts = facts_of_interface(one->ifa_name);
    if (!sum) {
      sum = facts;
      sum->interface.clear();
    }
    sum->mtu = std::min(sum->mtu, facts.mtu);
    if (facts.speed_mbps) sum->speed_mbps = std::max(sum->speed_mbps.value_or(0), *facts.speed_mbps);
  }
  return sum.value_or(LinkFacts{});
}

Result<PeerAddress> local_address_towards(const PeerAddress& peer) {
  const bool v4 = is_ipv4(peer);
  const int descriptor = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open a UDP socket"));
  const KernelAddress to(peer, !v4);
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  const bool ok =
      connect(descriptor, to.data(), to.size()) == 0 && getsockname(descriptor, reinterpret_cast<sockaddr*>(&own), &size) == 0;
  const int number = errno;
  close(descriptor);
  if (!ok) return fail(Error::from_errno(number, "find a way to " + text_of(peer)));
  PeerAddress local = peer_address_of(own);
  local.udp_port = 0;
  return local;
}

}  // namespace godwit::homa
