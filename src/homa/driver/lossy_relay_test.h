// For tests: a UDP relay between one client and one server that loses, repeats and reorders datagrams by a seeded generator. It
// runs on a thread of its own, waits for nothing but datagrams, and ends with the object.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

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
    end_ = eventfd(0, EFD_CLOEXEC);
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(getsockname(inner_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    address_ = peer_address_of(own);
    thread_ = std::thread([this] { run(); });
  }
  ~LossyRelay() {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(end_, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    thread_.join();
    for (const int descriptor : {inner_, outer_, end_}) close(descriptor);
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

  void run() {
    pollfd descriptors[3] = {{inner_, POLLIN, 0}, {outer_, POLLIN, 0}, {end_, POLLIN, 0}};
    while (poll(descriptors, 3, -1) >= 0 && descriptors[2].revents == 0) {
      if (descriptors[0].revents != 0) carry(inner_, outer_, true);
      if (descriptors[1].revents != 0) carry(outer_, inner_, false);
    }
  }

  void carry(int from, int to, bool to_server) {
    Bytes datagram(65536);
    sockaddr_storage sender{};
    socklen_t size = sizeof sender;
    while (true) {
      const ssize_t got = recvfrom(from, datagram.data(), datagram.size(), 0, reinterpret_cast<sockaddr*>(&sender), &size);
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
      const Bytes now(datagram.begin(), datagram.begin() + got);
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
  int inner_, outer_, end_;
  PeerAddress address_;
  KernelAddress client_;
  bool has_client_ = false;
  Bytes held_[2];
  std::atomic<std::uint64_t> lost_ = 0, relayed_ = 0;
  std::thread thread_;
};

}  // namespace godwit::homa
