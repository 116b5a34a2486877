#include "homa/driver/metrics_text.h"

#include <iterator>
#include <string_view>

#include <fmt/format.h>

namespace godwit::homa {

namespace {

class Text {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    fmt::format_to(std::back_inserter(out_), "# HELP godwit_homa_{} {}\n# TYPE godwit_homa_{} {}\n", name, help, name, type);
  }
  void sample(std::string_view labels, double value) {
    fmt::format_to(std::back_inserter(out_), "godwit_homa_{}{} {}\n", name_, labels, value);
  }
  void counter(std::string_view name, std::string_view help, std::uint64_t value) {
    family(name, "counter", help);
    fmt::format_to(std::back_inserter(out_), "godwit_homa_{} {}\n", name, value);
  }
  template <class T>
  void gauge(std::string_view name, std::string_view help, T value) {
    family(name, "gauge", help);
    fmt::format_to(std::back_inserter(out_), "godwit_homa_{} {}\n", name, value);
  }
  // Of the family that was begun last.
  void raw(std::string_view rest) { fmt::format_to(std::back_inserter(out_), "godwit_homa_{}{}\n", name_, rest); }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
  std::string_view name_;
};

void add_packets(Text& out, const Counters& c) {
  const auto by_type = [&](std::string_view name, std::string_view help, const auto& counts) {
    out.family(name, "counter", help);
    for (std::size_t i = 0; i < kPacketTypeCount; ++i)
      out.sample(fmt::format("{{type=\"{}\"}}", name_of(static_cast<PacketType>(i + static_cast<std::size_t>(PacketType::data)))),
                 static_cast<double>(counts[i]));
  };
  by_type("packets_sent_total", "Packets sent", c.sent);
  by_type("packets_received_total", "Packets received", c.received);
  out.family("packets_malformed_total", "counter", "Datagrams that were no packets");
  for (std::size_t i = 0; i < kMalformedCount; ++i)
    out.sample(fmt::format("{{reason=\"{}\"}}", name_of(static_cast<Malformed>(i))), static_cast<double>(c.malformed[i]));
  out.family("sent_bytes_total", "counter", "UDP payload sent, by priority");
  for (std::size_t i = 0; i < kPriorityCount; ++i)
    out.sample(fmt::format("{{priority=\"{}\"}}", i), static_cast<double>(c.sent_bytes_by_priority[i]));
  out.family("packets_dropped_total", "counter", "Packets received and not used");
  const std::pair<const char*, std::uint64_t> dropped[] = {{"unknown_rpc", c.dropped_unknown_rpc},
                                                           {"other_names", c.dropped_other_names},
                                                           {"unknown_port", c.dropped_unknown_port},
                                                           {"duplicate", c.dropped_duplicate},
                                                           {"length_changed", c.dropped_length_changed},
                                                           {"retired", c.dropped_retired},
                                                           {"gaps", c.dropped_gaps},
                                                           {"refused_limit", c.refused_limit},
                                                           {"ignored_ack", c.ignored_acks},
                                                           {"ignored_resend", c.ignored_resends}};
  for (const auto& [reason, value] : dropped) out.sample(fmt::format("{{reason=\"{}\"}}", reason), static_cast<double>(value));
}

void add_calls(Text& out, const Endpoint& endpoint, const LatencyHistogram& calls) {
  const Counters& c = endpoint.counters();
  out.counter("calls_started_total", "Calls made", c.calls_started);
  out.counter("calls_completed_total", "Calls whose response came", c.calls_completed);
  out.counter("calls_failed_total", "Calls that failed", c.calls_failed);
  out.counter("requests_delivered_total", "Requests received whole", c.requests_delivered);
  out.counter("replies_acked_total", "Responses that their clients acknowledged", c.replies_acked);
  out.counter("data_sent_bytes_total", "Message bytes sent", c.data_bytes_sent);
  out.counter("data_received_bytes_total", "Message bytes received for the first time", c.data_bytes_received);
  out.counter("redundant_bytes_total", "Message bytes received once more", c.redundant_bytes);
  out.counter("retransmitted_packets_total", "Data packets sent again", c.retransmitted_packets);
  out.counter("peers_dead_total", "Peers that did not answer any more", c.peers_dead);
  out.counter("ticks_skipped_total", "Timer ticks that came too late to count", c.ticks_skipped);
  out.counter("control_packets_dropped_total", "Control packets that found no room to wait in",
              endpoint.control_packets_dropped());
  out.counter("pity_grants_total", "Grants to the oldest message", endpoint.pity_grants());
  out.counter("retired_evicted_total",
              "Names of finished requests forgotten early: execution at most once is not certain any more",
              endpoint.retired_evicted());
  out.gauge("rpcs", "RPCs that are not over", endpoint.rpc_count());
  out.gauge("peers", "Peers that are known", endpoint.peer_count());
  out.gauge("rtt_bytes", "Bytes that are sent unasked and granted ahead", endpoint.config().rtt_bytes);
  out.gauge("link_mbps", "Megabits per second to which sending is paced, 0: not", endpoint.config().link_mbps);
  if (const std::optional<Duration> round_trip = endpoint.way().round_trip())
    out.gauge("round_trip_seconds", "The least round trip of late", round_trip->as_seconds());
  out.gauge("inbound_bytes", "Bytes declared by requests that the application has not taken", endpoint.inbound_bytes());
  out.family("call_seconds", "histogram", "Time from a call to its response");
  for (std::int64_t us = 4; us <= 1 << 22; us *= 2)
    out.raw(fmt::format("_bucket{{le=\"{}\"}} {}", static_cast<double>(us) / 1e6, calls.count_up_to(Duration::microseconds(us))));
  out.raw(fmt::format("_bucket{{le=\"+Inf\"}} {}", calls.count()));
  out.raw(fmt::format("_sum {}", calls.sum().as_seconds()));
  out.raw(fmt::format("_count {}", calls.count()));
}

void add_socket(Text& out, const Driver& driver) {
  const UdpSocket::Counters& c = driver.socket().counters();
  out.counter("send_calls_total", "System calls that sent", c.send_calls);
  out.counter("receive_calls_total", "System calls that received", c.receive_calls);
  out.counter("datagrams_sent_total", "UDP datagrams sent", c.datagrams_sent);
  out.counter("datagrams_received_total", "UDP datagrams received", c.datagrams_received);
  out.counter("segmented_sends_total", "Sends that carried several datagrams as one (GSO)", c.segmented_sends);
  out.counter("coalesced_receptions_total", "Receptions that carried several datagrams as one (GRO)", c.coalesced_receptions);
  out.counter("blocked_sends_total", "Times that the kernel took no more", c.blocked_sends);
  out.counter("datagrams_truncated_total", "Datagrams that were longer than any of ours", c.dropped_truncated);
  out.counter("datagrams_too_big_total", "Datagrams that were too long for their way", c.dropped_too_big);
  out.counter("datagrams_unsendable_total", "Datagrams that the system refused to send", c.dropped_unsendable);
  out.counter("sleeps_total", "Times that the thread slept", driver.sleeps());
  out.gauge("outbound_bytes", "Bytes of messages being sent", driver.outbound_bytes());
  out.gauge("pool_used_bytes", "Bytes of message buffers in use", driver.pool().used_bytes());
  out.gauge("pool_kept_bytes", "Bytes of message buffers kept for reuse", driver.pool().kept_bytes());
}

}  // namespace

std::string metrics_text(const Driver& driver, const LatencyHistogram& calls) {
  Text out;
  add_calls(out, driver.endpoint(), calls);
  add_packets(out, driver.endpoint().counters());
  add_socket(out, driver);
  return out.take();
}

}  // namespace godwit::homa
