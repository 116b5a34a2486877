// What a simulation found: slowdowns by tenth of the messages, throughput, queues, and how much was simulated.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "homa/simulation/fabric.h"
#include "homa/simulation/setup.h"

namespace godwit::homa::simulation {

// Slowdowns of one group of messages.
class Slowdowns {
 public:
  void add(double slowdown) { values_.push_back(static_cast<float>(slowdown)); }
  void reserve(std::size_t count) { values_.reserve(count); }
  std::size_t count() const { return values_.size(); }
  // The ceil(q * n)-th smallest; 0 if there are none.
  double quantile(double q) const;

 private:
  mutable std::vector<float> values_;  // partly sorted by looking
};

struct Results {
  std::array<Slowdowns, 10> tenths;  // of the messages by length
  Slowdowns shortest_half;

  std::uint64_t started = 0, measured = 0, unfinished = 0;  // messages; `measured` started in the window
  std::uint64_t waited_for_room = 0;                        // calls that met the limit of outstanding ones
  std::uint64_t bytes_generated = 0, bytes_received = 0;    // of messages, in the window
  double throughput = 0;                                    // share of the link, as load is
  double offered = 0;                                       // the same of the bytes generated
  double wasted = 0;                                        // share of the samples in the window
  double granted_unused_mean_bytes = 0;                     // per receiver, over the samples in the window
  std::uint64_t granted_unused_most_bytes = 0;
  std::array<QueueLength, 3> queues;
  std::uint64_t acks = 0;  // of the window-based baseline
  std::uint64_t packets = 0, data_packets = 0, grants = 0, resends = 0, busies = 0, retransmissions = 0, failed = 0;
  double simulated_ms = 0;
  std::uint64_t trace_hash = 0;  // of every packet with its time, source and first bytes
};

// One named value as JSON and CSV give it.
struct Figure {
  std::string_view key;  // static
  std::variant<bool, std::uint64_t, double, std::string> value;
};
std::string text_of(const Figure& figure);

struct NamedQueue {
  std::string_view where;
  QueueLength length;
};

// What was simulated, and what was found besides the slowdowns and queues. What the transport does not have is left out: a zero
// is a measured one.
std::vector<Figure> describe(const Setup& setup);
std::vector<Figure> figures(const Setup& setup, const Results& results);
// The kinds of ports that the network has; none for the oracle.
std::vector<NamedQueue> queues(const Setup& setup, const Results& results);

// All of the above as lines "# key: value", then a table of slowdowns: a head line and a line per tenth and for the shortest
// half.
std::string to_csv(const Setup& setup, const Results& results);
// The longest message of each tenth.
std::array<std::uint32_t, 10> tenth_lengths(const Workload& workload);

}  // namespace godwit::homa::simulation
