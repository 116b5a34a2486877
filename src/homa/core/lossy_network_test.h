// For tests: hosts in a simulated network that loses, duplicates and reorders datagrams, has blackouts, and whose hosts crash and
// start again. Every client makes calls until its workload is done; every answer is checked; at the end nothing may be left.
#pragma once

#include <set>

#include "homa/core/test_host_test.h"
#include "sim/world.h"

namespace godwit::homa {

struct Faults {
  double loss = 0;
  double duplication = 0;
  Duration delay_max = Duration::microseconds(20);  // drawn per datagram, so that they overtake one another
  Duration duplicate_delay_max = Duration::microseconds(200);
  // Nothing gets through within the window, which comes early and again after each period; zero: never.
  Duration blackout{}, blackout_period{};
  // A host crashes and starts anew after each period, in turn; zero: never.
  Duration crash_period{};
  // That a datagram is also sent by a stranger, changed, or again by its sender, unchanged and late.
  double forgery = 0;
};

struct Workload {
  std::uint32_t calls = 20;  // per client
  std::uint32_t outstanding = 4;
  std::uint32_t length_max = 60'000;
  Duration service_max = Duration::microseconds(300);
};

class LossyNetwork {
 public:
  LossyNetwork(std::uint64_t seed, const Config& config, const Faults& faults, const Workload& workload, std::uint32_t hosts);

  // Runs the workload to its end, and then until everything is forgotten; checks all that can be.
  void run();

  sim::World world;

  std::uint64_t completed() const { return completed_; }
  // That the faults struck: datagrams that a blackout swallowed, hosts that crashed.
  std::uint64_t blacked_out() const { return blacked_out_; }
  std::uint64_t crashes() const { return crashes_; }
  Endpoint& endpoint(std::uint32_t host) { return hosts_[host].now->endpoint(); }

 private:
  struct Host {
    PeerAddress address;
    std::unique_ptr<TestHost> now;
    sim::Group group;
    std::uint32_t incarnation = 0;
    Instant wake = Instant::never();
    std::uint64_t wake_turn = 0;
    std::uint32_t started = 0, ended = 0, outstanding = 0;
  };
  struct Expected {
    std::uint32_t host;
    std::uint32_t incarnation;
    std::uint32_t request_length, response_length;
  };

  void start_host(std::uint32_t host);
  void crash_host(std::uint32_t host);
  void crash_later();
  void start_calls(std::uint32_t host);
  void pump(std::uint32_t host);
  void wake_later(std::uint32_t host);
  void send(std::uint32_t from, Datagram datagram);
  void forge(std::uint32_t from, std::uint32_t to, Bytes bytes);
  void deliver_later(std::uint32_t from, std::uint32_t to, Bytes bytes, Duration delay);
  void take_events(std::uint32_t host);
  void serve(std::uint32_t host, Taken request);
  void check_end(std::uint32_t host, const Taken& end);
  bool is_blacked_out() const;
  bool is_done() const;
  void check_nothing_left();

  const Config config_;
  const Faults faults_;
  const Workload workload_;
  std::vector<Host> hosts_;
  std::map<std::uint64_t, Expected> expected_;                  // by call, which its bytes begin with
  std::set<std::pair<std::uint64_t, std::uint64_t>> executed_;  // call, server incarnation
  std::uint64_t calls_ = 0, completed_ = 0, blacked_out_ = 0, crashes_ = 0;
  std::uint32_t next_crash_ = 0;
};

}  // namespace godwit::homa
