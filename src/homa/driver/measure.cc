// Measures the way to a server by calls that it echoes.
#include <algorithm>

#include "homa/driver/transport_impl.h"

namespace godwit::homa {

namespace {

constexpr std::size_t kShort = 100;
constexpr std::size_t kLong = 1'000'000;
constexpr int kLongAtOnce = 4;
constexpr std::uint32_t kRttBytesMin = 10'000;
constexpr std::uint32_t kRttBytesMax = 4'000'000;
constexpr std::chrono::seconds kPatience{5};

Outcome<Latencies> measure_calls(Transport& transport, const Address& server, std::uint16_t port, std::size_t size, int count) {
  LatencyHistogram histogram;
  const Bytes request(size, std::byte{1});
  const int warm_up = count / 10 + 1;
  for (int i = 0; i < count + warm_up; ++i) {
    const Instant begin = Driver::now();
    const Outcome<Message> response = transport.call_and_wait(server, port, request, {.deadline = kPatience});
    if (!response) return std::unexpected(response.error());
    if (i >= warm_up) histogram.record(Driver::now() - begin);
  }
  return latencies_of(histogram);
}

Outcome<double> measure_rate(Transport& transport, const Address& server, std::uint16_t port, int count) {
  const Bytes request(kLong, std::byte{1});
  std::optional<Failure> failure;
  int begun = 0, ended = 0;
  const Instant begin = Driver::now();
  while (ended < count && !failure) {
    while (begun < count && begun - ended < kLongAtOnce) {
      ++begun;
      const Outcome<CallId> made = transport.call(server, port, request,
                                                  [&](Outcome<Message> outcome) {
                                                    ++ended;
                                                    if (!outcome && !failure) failure = std::move(outcome).error();
                                                  },
                                                  {.deadline = kPatience});
      if (!made) return std::unexpected(made.error());
    }
    transport.run_once(std::chrono::milliseconds(100));
  }
  while (ended < begun) transport.run_once(std::chrono::milliseconds(100));  // the completions refer to this call
  if (failure) return std::unexpected(std::move(*failure));
  const double seconds = std::max((Driver::now() - begin).as_seconds(), 1e-9);
  return static_cast<double>(count) * kLong * 8 / 1e6 / seconds;
}

}  // namespace

Latencies latencies_of(const LatencyHistogram& h) {
  const auto ns = [](Duration d) { return std::chrono::nanoseconds(d.nanoseconds); };
  return {.count = h.count(),
          .sum = ns(h.sum()),
          .least = ns(h.least()),
          .most = ns(h.most()),
          .p50 = ns(h.quantile(0.5)),
          .p90 = ns(h.quantile(0.9)),
          .p99 = ns(h.quantile(0.99)),
          .p999 = ns(h.quantile(0.999))};
}

Outcome<Way> measure(Transport& transport, const Address& server, std::uint16_t port, std::uint32_t link_mbps, int count) {
  Way way;
  const std::uint64_t before = transport.totals().retransmitted_packets;
  Outcome<Latencies> calls = measure_calls(transport, server, port, kShort, count);
  if (!calls) return std::unexpected(std::move(calls).error());
  way.short_calls = *calls;
  calls = measure_calls(transport, server, port, transport.packet_bytes(), count);
  if (!calls) return std::unexpected(std::move(calls).error());
  way.packet_calls = *calls;
  const Outcome<double> rate = measure_rate(transport, server, port, std::max(count / 10, kLongAtOnce));
  if (!rate) return std::unexpected(rate.error());
  way.megabits_per_second = *rate;
  way.retransmitted_packets = transport.totals().retransmitted_packets - before;
  // A full packet out and a short one back is half of each echo; the least is the way without queues.
  const double seconds = std::chrono::duration<double>(way.short_calls.least + way.packet_calls.least).count() / 2;
  const double mbps = link_mbps > 0 ? link_mbps : way.megabits_per_second;
  way.rtt_bytes = static_cast<std::uint32_t>(std::clamp(seconds * mbps * 1e6 / 8, double{kRttBytesMin}, double{kRttBytesMax}));
  return way;
}

}  // namespace godwit::homa
