#include "homa/driver/udp_socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstring>

#include "homa/driver/kernel_address.h"

namespace godwit::homa {

namespace {

const PeerAddress kLoopback4 = ipv4_address(0x7f000001, 0);

PeerAddress loopback6() {
  PeerAddress address;
  address.ip[15] = std::byte{1};
  return address;
}

// A socket of the kernel's own ways, which tells the TOS or traffic class byte of what comes.
class Witness {
 public:
  explicit Witness(const PeerAddress& at) : is_ipv4_(is_ipv4(at)) {
    descriptor_ = socket(is_ipv4_ ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const KernelAddress name(at, !is_ipv4_);
    EXPECT_EQ(bind(descriptor_, name.data(), name.size()), 0);
    const int on = 1;
    EXPECT_EQ(is_ipv4_ ? setsockopt(descriptor_, IPPROTO_IP, IP_RECVTOS, &on, sizeof on)
                       : setsockopt(descriptor_, IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on),
              0);
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    address_ = peer_address_of(own);
  }
  ~Witness() { close(descriptor_); }

  const PeerAddress& address() const { return address_; }
  // Of the next datagram; waits for it. -1: the kernel did not say.
  int next_traffic_class() {
    std::array<std::byte, 2048> payload;
    iovec vector{payload.data(), payload.size()};
    alignas(cmsghdr) char control[256];
    msghdr message{};
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    EXPECT_GT(recvmsg(descriptor_, &message, 0), 0);
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) return *reinterpret_cast<unsigned char*>(CMSG_DATA(c));
      int value = 0;
      if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_TCLASS) continue;
      std::memcpy(&value, CMSG_DATA(c), sizeof value);
      return value;
    }
    return -1;
  }

 private:
  const bool is_ipv4_;
  int descriptor_;
  PeerAddress address_;
};

OutDatagram datagram_to(const PeerAddress& to, std::uint8_t priority) {
  OutDatagram datagram;
  datagram.packet.to = to;
  datagram.packet.priority = priority;
  datagram.packet.header_size =
      static_cast<std::uint8_t>(encode_packet({Port{1}, Port{2}, RpcId{2}, Busy{}}, datagram.packet.header));
  return datagram;
}

}  // namespace

TEST(UdpSocket, ThePriorityIsInTheTopBitsOfTheTrafficClass) {
  struct Row {
    const char* name;
    UdpOptions options;
    PeerAddress to;
    std::array<int, kPriorityCount> expected;
  };
  const std::array<int, kPriorityCount> plain = {0, 32, 64, 96, 128, 160, 192, 224};
  UdpOptions four, six, dual, mapped, unmarked;
  four.bind = mapped.bind = unmarked.bind = kLoopback4;
  six.bind = loopback6();
  mapped.priority_map = {0, 0, 1, 1, 2, 2, 3, 7};
  unmarked.mark_priorities = false;
  const Row rows[] = {{"IPv4", four, kLoopback4, plain},
                      {"IPv6", six, loopback6(), plain},
                      {"both, to IPv4", dual, kLoopback4, plain},
                      {"both, to IPv6", dual, loopback6(), plain},
                      {"mapped", mapped, kLoopback4, {0, 0, 32, 32, 64, 64, 96, 224}},
                      {"not marked", unmarked, kLoopback4, {0, 0, 0, 0, 0, 0, 0, 0}}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Witness witness(row.to);
    Result<std::unique_ptr<UdpSocket>> socket = UdpSocket::open(row.options);
    ASSERT_TRUE(socket) << socket.error().message();
    // Two of each, which may go as one; all in one batch.
    std::vector<OutDatagram> batch;
    for (std::uint8_t priority = 0; priority < kPriorityCount; ++priority)
      for (int i = 0; i < 2; ++i) batch.push_back(datagram_to(witness.address(), priority));
    ASSERT_EQ((*socket)->send(batch), batch.size());
    for (const OutDatagram& sent : batch)
      EXPECT_EQ(witness.next_traffic_class(), row.expected[sent.packet.priority]) << int{sent.packet.priority};
  }
}

}  // namespace godwit::homa
