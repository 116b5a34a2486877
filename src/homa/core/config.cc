#include "homa/core/config.h"

#include <fmt/format.h>

namespace godwit::homa {

namespace {

constexpr std::uint32_t kDataMax = 65507 - kDataHeaderSize;  // of a UDP datagram over IPv4
constexpr std::uint32_t kMessageLengthMax = 1U << 30;        // so that sums of two offsets fit 32 bits

struct Rule {
  bool holds;
  const char* text;
};

}  // namespace

Result<void> check(const Config& c) {
  const Rule rules[] = {
      {c.rtt_bytes >= 1 && c.rtt_bytes <= kMessageLengthMax, "rtt_bytes must be 1 or more (1 GiB at most)"},
      {c.max_data >= 1 && c.max_data <= kDataMax, "max_data must be between 1 and 65447 bytes, what a UDP datagram holds"},
      {c.max_message_length >= 1 && c.max_message_length <= kMessageLengthMax, "max_message_length must be 1 byte to 1 GiB"},
      {c.max_nic_queue >= Duration{}, "max_nic_queue must not be negative"},
      {c.pacer_fifo_permille <= 1000, "pacer_fifo_permille is a share of 1000"},
      {c.num_priorities >= 1 && c.num_priorities <= kPriorityCount, "num_priorities must be 1 to 8"},
      {c.max_overcommit >= 1, "max_overcommit must be 1 or more, or nothing is ever granted"},
      {c.duty_cycle_permille >= 1 && c.duty_cycle_permille <= 1000, "duty_cycle_permille must be 1 to 1000"},
      {c.grant_increment <= c.rtt_bytes, "grant_increment above rtt_bytes could refuse every grant for ever"},
      {c.grant_fifo_permille <= 500, "grant_fifo_permille must be 500 or less"},
      {c.tick > Duration{}, "tick must be positive"},
      {c.resend_ticks >= 2 && c.resend_interval_ticks >= 1, "resend_ticks must be 2 and resend_interval_ticks 1 or more"},
      {c.timeout_resends >= 1, "timeout_resends must be 1 or more"},
      {c.retire_acked >= Duration{} && c.retire_other >= Duration{}, "the retire times must not be negative"},
      {c.limits.peers_max >= 1, "peers_max must be 1 or more"},
      {c.limits.retired_max >= 1, "retired_max must be 1 or more"},
      {c.limits.gaps_per_message_max >= 1, "gaps_per_message_max must be 1 or more"},
      {c.limits.control_packets_max >= 1, "control_packets_max must be 1 or more"},
  };
  for (const Rule& rule : rules)
    if (!rule.holds) return fail(ErrorKind::invalid, fmt::format("homa configuration: {}", rule.text));
  return {};
}

}  // namespace godwit::homa
