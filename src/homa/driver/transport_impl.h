// What a Transport is made of. Internal to the driver.
#pragma once

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <godwit/homa.hpp>

#include "homa/core/indexed_heap.h"
#include "homa/driver/call_table.h"
#include "homa/driver/command_queue.h"
#include "homa/driver/driver.h"
#include "homa/driver/latency_histogram.h"
#include "homa/driver/link_facts.h"

namespace godwit::homa {

Failure failure_of(const Error& error);
Failure failure_of(CallError error, const PeerAddress& peer, std::uint32_t narrow_mtu);
inline PeerAddress peer_of(const Address& address) {
  return {address.ip, address.port};
}
inline Address address_of(const PeerAddress& peer) {
  return {peer.ip, peer.udp_port};
}

Latencies latencies_of(const LatencyHistogram& histogram);

// An RPC's handle as a number that a Request carries.
inline std::uint64_t number_of(RpcHandle rpc) {
  return (std::uint64_t{rpc.generation} << 32) | rpc.index.value;
}
inline RpcHandle handle_of(std::uint64_t number) {
  return {RpcIndex{static_cast<std::uint32_t>(number)}, static_cast<std::uint32_t>(number >> 32)};
}

// The core's and the socket's settings for a transport's, with what was found out about the link.
Result<DriverOptions> driver_options(const TransportOptions& options, LinkFacts& facts);

struct Transport::Impl {
  struct Service {
    std::uint16_t port;
    Handler handler;
  };

  std::unique_ptr<Driver> driver;
  LinkFacts facts;
  bool is_threaded = false;
  bool is_link_said = false, is_rtt_said = false;  // by the user
  Port client_port;
  std::thread thread;
  std::atomic<std::thread::id> thread_id;
  std::atomic<bool> stopping = false;
  CommandQueue commands;
  std::vector<Command> taken;
  CallTable calls;
  IndexedHeap<Instant> deadlines;
  HeapPositions deadline_positions;
  // Few, and looked up per request: a search is shorter than a hash.
  std::vector<std::unique_ptr<Service>> services;
  std::vector<std::unique_ptr<Service>> ended_services;  // one may be running
  LatencyHistogram latencies;
  std::uint64_t replies_refused = 0;

  // Whether the caller may touch what is the transport's thread's.
  bool is_own_thread() const { return !is_threaded || thread_id.load(std::memory_order_acquire) == std::this_thread::get_id(); }
  // Runs `task` on the transport's thread and waits for its end; here, if that thread is gone.
  void run_there(const std::function<void()>& task);

  Outcome<CallId> submit(std::uint32_t slot);
  Outcome<void> start(std::uint32_t slot);
  bool cancel(CallId call);
  void finish(std::uint32_t slot, Outcome<Message> outcome);
  Message message_of(MessageBuffer bytes, std::uint32_t length);

  Outcome<void> reply(std::uint64_t rpc, Message response);

  void turn(Transport& self, Instant latest);
  void execute_commands();
  void expire(Instant now);
  void deliver(Transport& self);
  void deliver_request(Transport& self, Delivery delivery, Port port);
  void deliver_response(Delivery delivery);
  void run_thread(Transport& self);
  void end_all_calls();
};

}  // namespace godwit::homa
