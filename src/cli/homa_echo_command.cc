#include "cli/homa_echo_command.h"

#include <pthread.h>

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "cli/console.h"
#include "homa/driver/kernel_address.h"
#include "homa/driver/link_facts.h"
#include "net/event_loop.h"
#include "net/http_server.h"

namespace godwit::cli {

namespace {

// SIGINT and SIGTERM end the transport's run(); the threads that begin meanwhile do not get them.
class StopAtSignal {
 public:
  explicit StopAtSignal(homa::Transport& transport) {
    sigemptyset(&signals_);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR2}) sigaddset(&signals_, signal);
    pthread_sigmask(SIG_BLOCK, &signals_, &before_);
    thread_ = std::thread([this, &transport] {
      int signal = 0;
      sigwait(&signals_, &signal);
      transport.stop();
    });
  }
  ~StopAtSignal() {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t signals_{}, before_{};
  std::thread thread_;
};

void say_ready(Console& console, const homa::Transport& transport, const HomaEchoOptions& options, const std::string& metrics) {
  const std::string at = transport.local_address().text();
  console.line(fmt::format("echoing at {}, Homa port {}{}", at, options.link.homa_port, metrics));
  console.line(transport.describe());
  console.event({{"event", "ready"}, {"listen", at}, {"homa_port", options.link.homa_port}});
}

// What a FREEZE made the transport keep, soon after it came.
class FreezeWatch {
 public:
  FreezeWatch(net::EventLoop& loop, Console& console, homa::Transport& transport)
      : loop_(loop), console_(console), transport_(transport) {
    look();
  }
  ~FreezeWatch() { loop_.cancel(timer_); }

 private:
  void look() {
    if (const std::optional<std::string> trace = transport_.frozen_trace()) {
      console_.line("frozen, oldest packet first:\n" + *trace + "end of the trace");
      console_.event({{"event", "frozen"}, {"packets", *trace}});
    }
    timer_ = loop_.schedule(loop_.now() + Duration::milliseconds(100), [this] { look(); });
  }

  net::EventLoop& loop_;
  Console& console_;
  homa::Transport& transport_;
  net::TimerId timer_;
};

// The transport has its thread, this one is for metrics and traces.
int run_in_loop(Console& console, homa::Transport& transport, const HomaEchoOptions& options) {
  net::EventLoop loop;
  std::unique_ptr<net::HttpServer> server;
  std::string metrics;
  if (!options.metrics.empty()) {
    Result<net::Address> at = net::Address::parse(options.metrics, 0);
    if (!at) return console.error(std::move(at).error().within("--metrics"));
    if (!at->is_loopback() && !options.insecure)
      return console.error(
          Error(ErrorKind::usage, "--metrics " + options.metrics + " is reachable by others: add --insecure if that is meant"));
    const net::HttpHandler answer = [&transport](const net::HttpRequest& request) {
      net::HttpResponse response;
      if (request.path == "/metrics")
        response.body = transport.metrics();
      else
        response.status = 404;
      return response;
    };
    Result<std::unique_ptr<net::HttpServer>> listening = net::HttpServer::listen(loop, loop, *at, answer);
    if (!listening) return console.error(std::move(listening).error().within("--metrics"));
    server = std::move(*listening);
    metrics = ", metrics at http://" + server->address().text() + "/metrics";
  }
  std::optional<FreezeWatch> watch;
  if (options.allow_freeze) watch.emplace(loop, console, transport);
  loop.on_termination([&](int) { loop.stop(); });
  say_ready(console, transport, options, metrics);
  loop.run();
  return kDone;
}

}  // namespace

homa::TransportOptions HomaLinkOptions::transport_options() const {
  homa::TransportOptions options;
  options.bind = bind;
  options.mtu = mtu;
  options.link_mbps = link_mbps;
  options.rtt_bytes = rtt_bytes;
  options.tick = std::chrono::milliseconds(tick_ms);
  if (spin_us) options.spin = std::chrono::microseconds(*spin_us);
  return options;
}

Error error_of(const homa::Failure& failure) {
  return Error(failure.reason == homa::Reason::invalid ? ErrorKind::usage : ErrorKind::io, failure.text);
}

homa::Outcome<void> serve_echo(homa::Transport& transport, std::uint16_t port) {
  return transport.serve(port, [](homa::Request request) {
    homa::Message message = request.take_message();
    // It fails only when the client has gone meanwhile.
    [[maybe_unused]] const homa::Outcome<void> replied = request.reply(std::move(message));
  });
}

Result<std::unique_ptr<homa::Transport>> open_towards(const HomaLinkOptions& link, const homa::Address& server) {
  homa::TransportOptions options = link.transport_options();
  if (options.bind.empty()) {
    Result<homa::PeerAddress> local = homa::local_address_towards({server.ip, server.port});
    if (!local) return fail(std::move(local).error());
    options.bind = homa::text_of(*local);
  }
  homa::Outcome<std::unique_ptr<homa::Transport>> transport = homa::Transport::open(options);
  if (!transport) return fail(error_of(transport.error()));
  return std::move(*transport);
}

int run_homa_echo(const Settings& settings, const HomaEchoOptions& options) {
  Console console(settings.json);
  homa::TransportOptions transport_options = options.link.transport_options();
  if (transport_options.bind.empty()) transport_options.bind = "127.0.0.1";
  transport_options.udp_port = options.udp_port;
  transport_options.threaded = !options.metrics.empty() || options.allow_freeze;
  transport_options.allow_freeze = options.allow_freeze;
  const homa::Outcome<homa::Address> at = homa::Address::resolve(transport_options.bind, options.udp_port);
  if (!at) return console.error(error_of(at.error()));
  if (!homa::is_loopback({at->ip, at->port}) && !options.insecure)
    return console.error(
        Error(ErrorKind::usage, "--bind " + transport_options.bind +
                                    " is reachable by others, and nothing is authenticated: add --insecure if that is meant"));
  homa::Outcome<std::unique_ptr<homa::Transport>> transport = homa::Transport::open(transport_options);
  if (!transport) return console.error(error_of(transport.error()));
  if (homa::Outcome<void> served = serve_echo(**transport, options.link.homa_port); !served)
    return console.error(error_of(served.error()));
  if (transport_options.threaded) return run_in_loop(console, **transport, options);
  const StopAtSignal until(**transport);
  say_ready(console, **transport, options, "");
  (*transport)->run();
  return kDone;
}

}  // namespace godwit::cli
