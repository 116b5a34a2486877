#include "cli/homa_bench_command.h"

#include <sys/resource.h>

#include <thread>

#include <fmt/format.h>

#include "base/bytes.h"
#include "cli/console.h"
#include "homa/driver/time_slice.h"

namespace godwit::cli {

namespace json = boost::json;

namespace {

using Clock = std::chrono::steady_clock;

double us(std::chrono::nanoseconds d) {
  return static_cast<double>(d.count()) / 1e3;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::string text_of(const homa::Latencies& l) {
  return fmt::format("p50 {:.1f} us, p90 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, least {:.1f}, most {:.1f}", us(l.p50), us(l.p90),
                     us(l.p99), us(l.p999), us(l.least), us(l.most));
}

void add(json::object& object, const homa::Latencies& l) {
  const std::pair<const char*, std::chrono::nanoseconds> figures[] = {
      {"p50_us", l.p50}, {"p90_us", l.p90}, {"p99_us", l.p99}, {"p999_us", l.p999}, {"least_us", l.least}, {"most_us", l.most}};
  for (const auto& [name, value] : figures) object[name] = us(value);
}

Bytes request_of(std::uint32_t size) {
  return Bytes(size, std::byte{0x5a});
}

// --- bench ---

struct Line {
  std::uint32_t size;
  std::uint32_t outstanding;
};

struct Figures {
  homa::Latencies latencies;
  std::uint64_t calls = 0, failed = 0;
  double seconds = 0;
  double cpu = 0;
  homa::Totals totals;
  std::string first_failure;
};

// Keeps `outstanding` calls under way for so long; each one's end begins the next.
class Load {
 public:
  Load(homa::Transport& transport, const homa::Address& server, std::uint16_t port, const Line& line)
      : transport_(transport), server_(server), port_(port), request_(request_of(line.size)), wanted_(line.outstanding) {}

  Figures run(double seconds) {
    const double cpu = cpu_seconds();
    begin_ = Clock::now();
    end_ = begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    for (std::uint32_t i = 0; i < wanted_; ++i) begin_call();
    while (under_way_ > 0) transport_.run_once(std::chrono::milliseconds(100));
    figures_.seconds = seconds_since(begin_);
    figures_.cpu = cpu_seconds() - cpu;
    figures_.latencies = transport_.latencies();
    figures_.totals = transport_.totals();
    return figures_;
  }

 private:
  void begin_call() {
    ++under_way_;
    const homa::Outcome<homa::CallId> made =
        transport_.call(server_, port_, request_, [this](homa::Outcome<homa::Message> response) { finish(std::move(response)); });
    if (made) return;
    --under_way_;
    note(made.error());
  }
  void finish(homa::Outcome<homa::Message> response) {
    --under_way_;
    response ? void(++figures_.calls) : note(response.error());
    if (figures_.failed == 0 && Clock::now() < end_) begin_call();
  }
  void note(const homa::Failure& failure) {
    if (figures_.failed++ == 0) figures_.first_failure = failure.text;
  }

  homa::Transport& transport_;
  const homa::Address server_;
  const std::uint16_t port_;
  const Bytes request_;
  const std::uint32_t wanted_;
  Clock::time_point begin_, end_;
  std::uint32_t under_way_ = 0;
  Figures figures_;
};

void tell(Console& console, const Line& line, const Figures& f, bool both_sides) {
  const double calls = static_cast<double>(std::max<std::uint64_t>(f.calls, 1));
  const double rate = calls / f.seconds;
  const double gbps = rate * line.size * 8 / 1e9;
  const double cpu_us = f.cpu / calls * 1e6;
  console.line(
      fmt::format("{} B, {} under way: {:.0f} calls/s, {:.2f} Gb/s each way; {}; CPU {:.2f} us per call{}; {:.2f} system calls "
                  "each; {} packets sent again",
                  line.size, line.outstanding, rate, gbps, text_of(f.latencies), cpu_us, both_sides ? " (both sides)" : "",
                  static_cast<double>(f.totals.system_calls) / calls, f.totals.retransmitted_packets));
  json::object event{{"event", "measured"},
                     {"size", line.size},
                     {"outstanding", line.outstanding},
                     {"calls", f.calls},
                     {"failed", f.failed},
                     {"seconds", f.seconds},
                     {"calls_per_second", rate},
                     {"gbit_per_second", gbps},
                     {"cpu_us_per_call", cpu_us},
                     {"cpu_of_both_sides", both_sides},
                     {"system_calls_per_call", static_cast<double>(f.totals.system_calls) / calls},
                     {"retransmitted_packets", f.totals.retransmitted_packets}};
  add(event, f.latencies);
  console.event(event);
}

// A server on a thread of its own, as a client elsewhere would find it.
class OwnServer {
 public:
  static Result<std::unique_ptr<OwnServer>> start(const HomaLinkOptions& link) {
    homa::TransportOptions options = link.transport_options();
    if (options.bind.empty()) options.bind = "127.0.0.1";
    homa::Outcome<std::unique_ptr<homa::Transport>> transport = homa::Transport::open(options);
    if (!transport) return fail(error_of(transport.error()));
    if (homa::Outcome<void> served = serve_echo(**transport, link.homa_port); !served) return fail(error_of(served.error()));
    return std::make_unique<OwnServer>(std::move(*transport));
  }
  explicit OwnServer(std::unique_ptr<homa::Transport> transport)
      : transport_(std::move(transport)), thread_([this] { transport_->run(); }) {}
  ~OwnServer() {
    transport_->stop();
    thread_.join();
  }
  homa::Address address() const { return transport_->local_address(); }

 private:
  std::unique_ptr<homa::Transport> transport_;
  std::thread thread_;
};

}  // namespace

int run_homa_ping(const Settings& settings, const HomaPingOptions& options) {
  Console console(settings.json);
  const homa::Outcome<homa::Address> server = homa::Address::resolve(options.server);
  if (!server) return console.error(error_of(server.error()));
  Result<std::unique_ptr<homa::Transport>> transport = open_towards(options.link, *server);
  if (!transport) return console.error(transport.error());
  const Bytes request = request_of(options.size);
  const auto deadline = std::chrono::nanoseconds(static_cast<std::int64_t>(options.deadline_ms * 1e6));
  std::uint32_t failed = 0;
  std::optional<homa::Failure> failure;
  for (std::uint32_t i = 0; i < options.count; ++i) {
    const Clock::time_point begin = Clock::now();
    homa::Outcome<homa::Message> response =
        (*transport)->call_and_wait(*server, options.link.homa_port, request, {.deadline = deadline});
    if (!response) {
      ++failed;
      failure = std::move(response).error();
      if (failure->reason == homa::Reason::refused || failure->reason == homa::Reason::invalid) break;
    }
    if (options.interval_ms <= 0 || i + 1 == options.count) continue;
    // Late packets of the call are still answered meanwhile.
    const auto next =
        begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::milli>(options.interval_ms));
    while (Clock::now() < next) (*transport)->run_once(next - Clock::now());
  }
  const homa::Latencies l = (*transport)->latencies();
  const homa::Totals totals = (*transport)->totals();
  console.line(fmt::format("{} calls of {} B to {}: {} answered, {} failed, {} packets sent again", l.count + failed,
                           options.size, server->text(), l.count, failed, totals.retransmitted_packets));
  if (l.count > 0) console.line(text_of(l));
  json::object event{{"event", "pinged"},   {"server", server->text()}, {"size", options.size},
                     {"answered", l.count}, {"failed", failed},         {"retransmitted_packets", totals.retransmitted_packets}};
  add(event, l);
  console.event(event);
  return failure ? console.error(error_of(*failure)) : kDone;
}

int run_homa_bench(const Settings& settings, const HomaBenchOptions& options) {
  Console console(settings.json);
  homa::ask_for_short_slices();
  std::unique_ptr<OwnServer> own;
  homa::Address at;
  if (options.server.empty()) {
    Result<std::unique_ptr<OwnServer>> started = OwnServer::start(options.link);
    if (!started) return console.error(started.error());
    own = std::move(*started);
    at = own->address();
  } else {
    const homa::Outcome<homa::Address> server = homa::Address::resolve(options.server);
    if (!server) return console.error(error_of(server.error()));
    at = *server;
  }
  std::vector<Line> lines = {{100, 1}, {100, 32}, {500'000, 4}};
  if (options.size) lines = {{*options.size, options.outstanding}};
  for (const Line& line : lines) {
    // Each with a transport of its own, so that its counters are its own.
    Result<std::unique_ptr<homa::Transport>> transport = open_towards(options.link, at);
    if (!transport) return console.error(transport.error());
    if (&line == lines.data()) console.line((*transport)->describe());
    const Figures figures = Load(**transport, at, options.link.homa_port, line).run(options.seconds);
    if (figures.failed > 0) return console.error(Error(ErrorKind::io, figures.first_failure));
    tell(console, line, figures, own != nullptr);
  }
  return kDone;
}

}  // namespace godwit::cli
