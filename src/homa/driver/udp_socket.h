// One UDP socket in the kernel's fast ways: many datagrams per system call, one descriptor for a run of equal ones (UDP GSO and
// GRO), priorities per packet, errors of the network read from the error queue. What a kernel or a route can not do is noticed at
// the first refusal and done plainly from then on. Never fragments. Source: homa.md 14.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "homa/core/endpoint.h"

namespace godwit::homa {

struct UdpOptions {
  // Where to listen; the unspecified address without a family takes IPv4 and IPv6 at once.
  std::optional<PeerAddress> bind;
  std::uint16_t port = 0;  // when `bind` is not given; 0: any
  std::uint32_t buffer_bytes = 4 << 20;
  bool gso = true;
  bool gro = true;
  // Homa's priority p goes out as the top three bits of the TOS or traffic class byte.
  std::array<std::uint8_t, kPriorityCount> priority_map = {0, 1, 2, 3, 4, 5, 6, 7};
  bool mark_priorities = true;
};

// A datagram to send: what the core gave out, and where the bytes of its message lie (until they have gone).
struct OutDatagram {
  Transmit packet;
  const std::byte* data = nullptr;
};

// One or more datagrams of `segment` bytes each (the last may be shorter), valid until the next receive().
struct Arrived {
  PeerAddress from;
  ConstBytes bytes;
  std::size_t segment = 0;
};

// The network's word about a peer.
struct Unreachable {
  PeerAddress peer;
  CallError error = CallError::unreachable;
  std::uint32_t mtu = 0;  // not 0: our datagrams are too long for the way there, which carries so much
};

class UdpSocket {
 public:
  static constexpr std::size_t kBatch = 64;

  static Result<std::unique_ptr<UdpSocket>> open(const UdpOptions& options);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int descriptor() const { return descriptor_; }
  const PeerAddress& local_address() const { return local_; }
  bool is_dual() const { return is_dual_; }

  // What waits, at most kBatch receptions. `may_wait`: where nothing does, waits in the same system call for the first one, but
  // no longer than a tick of the kernel's timer (1 to 10 ms).
  std::span<const Arrived> receive(bool may_wait);

  // How many of `batch`, from its front, are done with: handed over, or unsendable. Fewer than all: the kernel takes no more now;
  // is_blocked() says whether it will say when it does, or has to be asked again after a while.
  std::size_t send(std::span<const OutDatagram> batch);
  enum class Blocked : std::uint8_t { no, until_writable, for_a_while };
  Blocked blocked() const { return blocked_; }

  bool poll_unreachable(Unreachable& out);

  struct Counters {
    std::uint64_t send_calls = 0, receive_calls = 0;
    std::uint64_t datagrams_sent = 0, datagrams_received = 0;
    std::uint64_t segmented_sends = 0;  // of them, calls' messages that carried several datagrams
    std::uint64_t coalesced_receptions = 0;
    std::uint64_t dropped_truncated = 0;
    std::uint64_t dropped_too_big = 0;
    std::uint64_t dropped_unsendable = 0;
    std::uint64_t blocked_sends = 0;
  };
  const Counters& counters() const { return counters_; }
  bool has_gso() const { return gso_; }
  bool has_gro() const { return gro_; }
  std::uint32_t receive_buffer_bytes() const { return receive_buffer_bytes_; }
  std::uint32_t send_buffer_bytes() const { return send_buffer_bytes_; }

 private:
  struct Receiving;
  struct Sending;
  UdpSocket(int descriptor, bool is_ipv6, bool is_dual, const UdpOptions& options);

  std::size_t prepare(std::span<const OutDatagram> batch);
  std::size_t group_size(std::span<const OutDatagram> batch) const;
  // Whether sending can go on.
  bool handle_send_error(int number, const OutDatagram& first, std::size_t count, std::size_t& done);
  void drain_errors();
  void note_unreachable(const Unreachable& news);
  bool avoids_gso(const PeerAddress& peer) const;

  const int descriptor_;
  const bool is_ipv6_;  // the socket's family; IPv4 peers are then mapped addresses
  const bool is_dual_;
  const UdpOptions options_;
  PeerAddress local_;
  bool gso_;
  bool gro_ = false;
  bool can_wait_ = false;
  bool priority_cmsg_;
  std::uint32_t receive_buffer_bytes_ = 0, send_buffer_bytes_ = 0;
  Blocked blocked_ = Blocked::no;
  bool retried_ = false;
  std::set<std::array<std::byte, 16>> without_gso_;
  std::vector<Unreachable> unreachable_;
  std::unique_ptr<Receiving> receiving_;
  std::unique_ptr<Sending> sending_;
  Counters counters_;
};

}  // namespace godwit::homa
