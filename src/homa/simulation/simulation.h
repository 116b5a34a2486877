// Runs the production core on every host of a simulated network under a generated load, and measures. One thread; a seed repeats
// a run packet for packet. Source: homa.md 13.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "homa/core/endpoint.h"
#include "homa/simulation/event_wheel.h"
#include "homa/simulation/fabric.h"
#include "homa/simulation/results.h"
#include "homa/simulation/setup.h"
#include "homa/simulation/window_host.h"

namespace godwit::homa::simulation {

class Simulation {
 public:
  explicit Simulation(const Setup& setup);

  // Generates, measures, drains.
  Results run();
  // In an idle network: how long one message (or call, where the set-up has answers) takes from one host to another.
  std::int64_t run_alone_ns(std::uint32_t source, std::uint32_t destination, std::uint32_t length);

 private:
  // Named by the RPC's id: the client's ids count up from 2.
  struct Message {
    std::int64_t started_ns = 0;
    RpcHandle rpc;
    std::uint32_t length = 0;
    std::uint32_t destination = 0;
    std::uint32_t received = 0;  // the window-based baseline counts here
    float u = 0;
    bool is_over = false;
  };
  struct Host {
    PeerAddress address;
    std::unique_ptr<Endpoint> endpoint;    // of Homa and FIFO
    std::unique_ptr<WindowHost> windowed;  // of the window-based baseline
    Random generator{0};
    std::vector<Message> messages;
    std::vector<std::pair<std::uint32_t, float>> waiting;  // lengths and places of calls that met the limit
    std::size_t waiting_first = 0;
    std::uint32_t outstanding = 0;
    std::int64_t send_wake_ns = kNoWake, tick_wake_ns = kNoWake;
  };
  static constexpr std::int64_t kNoWake = INT64_MAX;

  void handle(const EventWheel::Event& event);
  void handle_arrival(std::uint32_t host);
  void start(std::uint32_t source, std::uint32_t destination, std::uint32_t length, float u);
  void deliver(PacketIndex packet);
  void deliver_windowed(const FlyingPacket& packet);
  void handle_tick(std::uint32_t host);
  void drain(std::uint32_t host);
  void drain_windowed(std::uint32_t host);
  void send(std::uint32_t host, PacketIndex packet);
  void take_events(std::uint32_t host);
  void take_request(std::uint32_t host, const Event& event);
  void take_response(std::uint32_t host, const Event& event);
  void wake_later(std::uint32_t host);
  void end(std::uint32_t source, Message& message);
  double unloaded_ns(std::uint32_t source, const Message& message);
  std::int64_t measured_alone_ns(std::uint32_t length);
  void sample();
  void begin_window();
  void end_window();
  std::uint64_t received_bytes() const;
  std::uint32_t draw_destination(std::uint32_t source, Random& random) const;
  Results finish();

  const Setup setup_;
  EventWheel events_;
  Fabric fabric_;
  std::vector<Host> hosts_;
  Results results_;
  std::int64_t now_ns_ = 0;
  bool generating_ = true;
  bool in_window_ = false;
  std::uint64_t unfinished_ = 0;
  std::uint64_t received_before_window_ = 0;
  std::uint64_t samples_ = 0, samples_wasted_ = 0, samples_unused_bytes_ = 0;
  std::unordered_map<std::uint32_t, std::int64_t> alone_;  // by length: measured in a network of its own
  std::uint64_t windowed_bytes_ = 0;
};

// Any transport, the oracle too.
Results simulate(const Setup& setup);

}  // namespace godwit::homa::simulation
