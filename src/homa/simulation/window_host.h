// A host of the window-based baseline: a stream per message with a fixed window, opened by an acknowledgement per packet,
// messages served in turn, one priority. Only what the comparison needs: nothing is lost in the simulated network, so nothing is
// repeated. Source: homa.md 13, "Baselines".
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "homa/core/link_pacer.h"
#include "homa/core/ring_queue.h"

namespace godwit::homa::simulation {

class WindowHost {
 public:
  explicit WindowHost(const Config& config) : config_(config), link_(config) {}

  // `message` names it at this host; numbers count up from 0.
  void start(std::uint32_t message, std::uint32_t destination, std::uint32_t length);

  struct Out {
    std::uint32_t destination = 0;
    std::uint32_t message = 0;
    std::uint32_t length = 0;  // of the data, or of what is acknowledged
    bool is_ack = false;
  };
  std::optional<Out> poll(std::int64_t now_ns);
  std::int64_t next_send_ns() const { return turn_.empty() ? INT64_MAX : link_.ready_at().nanoseconds; }

  // Data for us: an acknowledgement goes back. `message` is the sender's name of it.
  void handle_data(std::uint32_t source, std::uint32_t message, std::uint32_t length);
  void handle_ack(std::uint32_t message, std::uint32_t length);

 private:
  struct Sending {
    std::uint32_t destination = 0, length = 0, sent = 0, acked = 0;
    bool has_turn = false;
  };
  bool may_send(const Sending& s) const { return s.sent < s.length && s.sent - s.acked < config_.rtt_bytes; }
  void give_turn(std::uint32_t message);

  const Config& config_;
  LinkPacer link_;
  std::vector<Sending> sending_;
  RingQueue<std::uint32_t> turn_;  // messages that may send
  RingQueue<Out> acks_;
};

}  // namespace godwit::homa::simulation
