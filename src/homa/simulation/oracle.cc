#include "homa/simulation/oracle.h"

#include <algorithm>
#include <queue>
#include <utility>

namespace godwit::homa::simulation {

namespace {

struct Waiting {
  double left_ns;  // of the downlink's time
  std::uint64_t number;
  std::int64_t started_ns;
  double fixed_ns;  // what the ideal has besides the downlink
  double ideal_ns;
  double u;
  double bytes_per_ns;  // of the message, headers not included

  friend bool operator<(const Waiting& a, const Waiting& b) {  // the shortest on top
    return a.left_ns != b.left_ns ? a.left_ns > b.left_ns : a.number > b.number;
  }
};

// One downlink: always the message with the fewest bytes left.
class Downlink {
 public:
  // What it carries from `begin_ns` to `end_ns` is counted.
  Downlink(double begin_ns, double end_ns) : begin_ns_(begin_ns), end_ns_(end_ns) {}

  template <class Done>
  void run_until(double when, Done&& done) {
    while (!waiting_.empty() && now_ + waiting_.top().left_ns <= when) {
      count(waiting_.top(), now_ + waiting_.top().left_ns);
      now_ += waiting_.top().left_ns;
      const Waiting over = waiting_.top();
      waiting_.pop();
      done(over, now_);
    }
    if (!waiting_.empty()) {
      Waiting first = waiting_.top();
      waiting_.pop();
      count(first, when);
      first.left_ns -= when - now_;
      waiting_.push(first);
    }
    now_ = when;
  }
  void add(const Waiting& message) { waiting_.push(message); }
  double bytes_received() const { return bytes_received_; }
  std::size_t unfinished() const { return waiting_.size(); }

 private:
  // It carries `message` from now until then.
  void count(const Waiting& message, double until) {
    const double from = std::max(now_, begin_ns_);
    bytes_received_ += std::max(0.0, std::min(until, end_ns_) - from) * message.bytes_per_ns;
  }

  double begin_ns_, end_ns_;
  double bytes_received_ = 0;
  std::priority_queue<Waiting> waiting_;
  double now_ = 0;
};

struct Arrival {
  std::int64_t when_ns;
  std::uint32_t source;
  friend bool operator<(const Arrival& a, const Arrival& b) {  // the earliest on top
    return a.when_ns != b.when_ns ? a.when_ns > b.when_ns : a.source > b.source;
  }
};

}  // namespace

Results run_oracle(const Setup& setup) {
  const std::uint32_t hosts = setup.topology.hosts(), per_rack = setup.topology.hosts_per_rack;
  const double host_ns_per_byte = 8e3 / setup.topology.host_mbps, gap_ns = 1e9 / setup.messages_per_second;
  Random random(setup.options.seed);
  std::vector<Random> generators;
  std::vector<Downlink> downlinks(
      hosts, Downlink(static_cast<double>(setup.warmup.nanoseconds), static_cast<double>(setup.end.nanoseconds)));
  std::priority_queue<Arrival> arrivals;
  for (std::uint32_t i = 0; i < hosts; ++i) {
    generators.push_back(random.fork());
    arrivals.push({draw_gap_ns(generators[i], gap_ns), i});
  }
  Results results;
  const auto done = [&](const Waiting& message, double now) {
    if (message.started_ns < setup.warmup.nanoseconds) return;
    const double slowdown = (now - static_cast<double>(message.started_ns) + message.fixed_ns) / message.ideal_ns;
    results.tenths[std::min<std::size_t>(9, static_cast<std::size_t>(message.u * 10))].add(slowdown);
    if (message.u < 0.5) results.shortest_half.add(slowdown);
    ++results.measured;
  };
  for (; arrivals.top().when_ns < setup.end.nanoseconds; ++results.started) {
    const Arrival arrival = arrivals.top();
    arrivals.pop();
    Random& generator = generators[arrival.source];
    arrivals.push({arrival.when_ns + draw_gap_ns(generator, gap_ns), arrival.source});
    const Workload::Drawn drawn = setup.workload.draw(generator);
    if (arrival.when_ns >= setup.warmup.nanoseconds) results.bytes_generated += drawn.length;
    auto destination = static_cast<std::uint32_t>(generator.below(hosts - 1));
    if (destination >= arrival.source) ++destination;
    const auto ideal = static_cast<double>(ideal_ns(setup, drawn.length, arrival.source / per_rack == destination / per_rack));
    const double own = static_cast<double>(wire_bytes(setup, drawn.length)) * host_ns_per_byte;
    downlinks[destination].run_until(static_cast<double>(arrival.when_ns), done);
    downlinks[destination].add({own, results.started, arrival.when_ns, ideal - own, ideal, drawn.u, drawn.length / own});
  }
  double received = 0;
  for (Downlink& downlink : downlinks) {
    downlink.run_until(static_cast<double>((setup.end + setup.drain).nanoseconds), done);
    received += downlink.bytes_received();
    results.unfinished += downlink.unfinished();
  }
  results.bytes_received = static_cast<std::uint64_t>(received);
  const double link_bytes = setup.topology.host_mbps * 1e6 / 8 * (setup.end - setup.warmup).as_seconds() * setup.share * hosts;
  results.offered = static_cast<double>(results.bytes_generated) / link_bytes;
  results.throughput = received / link_bytes;
  results.simulated_ms = static_cast<double>(setup.end.nanoseconds) / 1e6;
  return results;
}

}  // namespace godwit::homa::simulation
