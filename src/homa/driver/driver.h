// An endpoint of the core on a UDP socket: keeps the messages' bytes, moves datagrams between socket and core, and waits. One
// thread uses it, except for wake(). It calls nobody back: what the application gets is asked for with poll_event(). The public
// interfaces (transport.cc, c_interface.cc) stand on it. Source: homa.md 13, 14.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "homa/core/endpoint.h"
#include "homa/driver/message_pool.h"
#include "homa/driver/spin_gauge.h"
#include "homa/driver/udp_socket.h"

namespace godwit::homa {

struct DriverOptions {
  UdpOptions udp;
  Config config;
  std::uint64_t seed = 0;
  // How long to look for datagrams without sleeping, before sleeping: before every sleep, or where it pays (SpinGauge).
  Duration spin{};
  bool spins_where_it_pays = false;
  // Where packets come one after another and only ticks are due, waits are in the receiving call itself: one system call instead
  // of two, and no timer for each wait. wake() then ends a wait only after a tick of the kernel's timer, so not where threads
  // hand work over.
  bool wait_in_receive = false;
  // Waits for the link's pace that are shorter are spun away: the kernel's timers are not so exact. Needs a CPU to spare.
  Duration pace_spin{};
  // Bytes of messages being sent; more calls are refused (ErrorKind::busy) until some are done. Replies never are.
  std::uint64_t outbound_bytes_max = 64ULL << 20;
  // Bytes of buffers kept for reuse.
  std::size_t kept_bytes_max = 64U << 20;
};

// What the application gets, with the message's bytes (none for a failure).
struct Delivery {
  Event event;
  MessageBuffer bytes;
};

class Driver {
 public:
  // ErrorKind::io, invalid.
  static Result<std::unique_ptr<Driver>> open(const DriverOptions& options);
  ~Driver();

  // The steady clock, in the instants that the core is given.
  static Instant now();

  MessagePool& pool() { return pool_; }
  const MessagePool& pool() const { return pool_; }
  const UdpSocket& socket() const { return *socket_; }
  Endpoint& endpoint() { return endpoint_; }
  const Endpoint& endpoint() const { return endpoint_; }

  Result<Port> open_port(Port port);
  void close_port(Port port);

  // As Endpoint's; nothing is sent before the next transmit(). ErrorKind::busy besides.
  Result<StartedCall> call(Port from, const PeerAddress& to, Port to_port, MessageBuffer bytes, std::uint32_t length,
                           std::uint64_t cookie);
  Result<void> reply(RpcHandle rpc, MessageBuffer bytes, std::uint32_t length);
  bool abort(RpcHandle rpc);
  bool discard(RpcHandle rpc);

  // Hands the kernel all that may go now.
  void transmit();
  // Waits until datagrams come, something is due, wake() is called or `latest` comes; takes in what has come. transmit() before.
  void wait(Instant latest);
  // Ends the wait() under way or the next one: at once, or with `wait_in_receive` within 10 ms. Thread-safe.
  void wake();

  std::optional<Port> poll_readable() { return endpoint_.poll_readable(); }
  std::optional<Delivery> poll_event(Port port);

  std::uint64_t outbound_bytes() const { return outbound_bytes_; }
  // Waits by a system call of their own.
  std::uint64_t sleeps() const { return sleeps_; }
  // Not 0: our datagrams were too long for the way to somebody; the least MTU that the network told, or 1 if it did not say.
  std::uint32_t narrow_mtu() const { return narrow_mtu_; }

 private:
  Driver(const DriverOptions& options, std::unique_ptr<UdpSocket> socket, int wake_descriptor);

  struct Inbound {
    std::uint32_t generation = 0;
    MessageBuffer bytes;
  };

  void choose_batch();
  bool receive_waiting(Instant& now, bool may_wait);
  void take_in(Instant now, const Arrived& arrived);
  bool wants_look(Instant now);
  bool look_then_wait(Instant& now, Instant until, bool wants_look, bool in_receive);
  bool may_wait_in_receive(Instant now, Instant latest) const;
  void place(const Placement& placement, const std::byte* datagram);
  Instant next_due() const;
  void sleep(Instant now, Instant until);
  void free_released();
  void report_unreachable();

  const DriverOptions options_;
  MessagePool pool_;
  std::unique_ptr<UdpSocket> socket_;
  const int wake_descriptor_;
  Endpoint endpoint_;
  std::vector<Port> ports_;
  std::vector<Inbound> inbound_;  // by the index of the RPC's record
  std::array<OutDatagram, UdpSocket::kBatch> outgoing_;
  std::size_t outgoing_begin_ = 0, outgoing_end_ = 0;
  std::optional<Instant> send_again_;  // the kernel refused and will not tell when it takes more
  std::uint64_t outbound_bytes_ = 0;
  std::atomic<bool> is_woken_ = false;
  std::size_t last_received_ = 0;
  int timerless_turns_ = 0;
  SpinGauge spin_gauge_;
  std::uint64_t sleeps_ = 0;
  std::uint32_t narrow_mtu_ = 0;
};

}  // namespace godwit::homa
