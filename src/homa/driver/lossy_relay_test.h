// For tests: a UDP relay between one client and one server that loses, repeats and reorders datagrams by a seeded generator. It
// has no thread: who turns client and server turns it, too, so that a machine that does not run one of three threads for half a
// second can not make one side look dead to the other.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "base/bytes.h"
#include "base/random.h"
#include "homa/driver/kernel_address.h"

namespace godwit::homa {

class LossyRelay {
 public:
  struct Faults {
    double loss = 0, duplication = 0, reordering = 0;
  };

  LossyRelay(const PeerAddress& server, Faults faults, std::uint64_t seed)
      : server_(server, false), faults_(faults), random_(seed) {
    inner_ = open();
    outer_ = open();
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(getsockname(inner_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    address_ = peer_address_of(own);
  }
  ~LossyRelay() {
    close(inner_);
    close(outer_);
  }
  LossyRelay(const LossyRelay&) = delete;
  LossyRelay& operator=(const LossyRelay&) = delete;

  // Carries what waits, both ways.
  void turn() {
    carry(inner_, outer_, true);
    carry(outer_, inner_, false);
  }

  // What the client takes for the server.
  const PeerAddress& address() const { return address_; }
  std::uint64_t lost() const { return lost_; }
  std::uint64_t relayed() const { return relayed_; }

 private:
  static int open() {
    const int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int buffer = 4 << 20;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    const KernelAddress any(ipv4_address(0x7f000001, 0), false);
    EXPECT_EQ(bind(descriptor, any.data(), any.size()), 0);
    return descriptor;
  }

  void carry(int from, int to, bool to_server) {
    while (true) {
      sockaddr_storage sender{};
      socklen_t size = sizeof sender;
      const ssize_t got = recvfrom(from, datagram_.data(), datagram_.size(), 0, reinterpret_cast<sockaddr*>(&sender), &size);
      if (got < 0) return;
      if (to_server) {
        client_ = KernelAddress(peer_address_of(sender), false);
        has_client_ = true;
      } else if (!has_client_) {
        continue;
      }
      if (random_.chance(faults_.loss)) {
        ++lost_;
        continue;
      }
      const KernelAddress& target = to_server ? server_ : client_;
      Bytes& held = held_[to_server];
      const Bytes now(datagram_.begin(), datagram_.begin() + got);
      if (held.empty() && random_.chance(faults_.reordering)) {
        held = now;  // goes behind the next one
        continue;
      }
      send(to, target, now);
      if (random_.chance(faults_.duplication)) send(to, target, now);
      if (!held.empty()) send(to, target, std::exchange(held, {}));
    }
  }

  void send(int socket, const KernelAddress& to, const Bytes& datagram) {
    ++relayed_;
    // One that the kernel does not take is one more that is lost.
    if (sendto(socket, datagram.data(), datagram.size(), 0, to.data(), to.size()) < 0) ++lost_;
  }

  const KernelAddress server_;
  const Faults faults_;
  Random random_;
  int inner_, outer_;
  Bytes datagram_ = Bytes(65536);
  PeerAddress address_;
  KernelAddress client_;
  bool has_client_ = false;
  Bytes held_[2];
  std::uint64_t lost_ = 0, relayed_ = 0;
};

}  // namespace godwit::homa
