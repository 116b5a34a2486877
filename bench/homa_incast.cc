// Incast: many hosts answer one at the same moment, over Homa. `bench_homa_incast SENDERS SIZE ROUNDS`: each sender is a
// transport with a thread of its own that answers a short request with SIZE bytes; how long each answer took from the round's
// begin. The senders may be in another network namespace, as homa_peer.h says. Beside it: `bench_homa_peers incast-tcp`.
#include <thread>

#include <godwit/homa.hpp>

#include "homa_peer.h"

namespace {

using namespace godwit::bench;
namespace homa = godwit::homa;

constexpr std::uint16_t kPort = 99;

std::unique_ptr<homa::Transport> open(const std::string& address, bool threaded) {
  homa::Outcome<std::unique_ptr<homa::Transport>> transport = homa::Transport::open({.bind = address, .threaded = threaded});
  must(transport.has_value(), "open");
  return std::move(*transport);
}

std::unique_ptr<homa::Transport> open_sender() {
  std::unique_ptr<homa::Transport> sender;
  std::thread([&] {
    enter_server_network();
    sender = open(server_address(), true);
  }).join();
  return sender;
}

}  // namespace

int main(int argc, char** argv) {
  const int senders = argc == 4 ? std::atoi(argv[1]) : 0, rounds = argc == 4 ? std::atoi(argv[3]) : 0;
  const std::size_t size = argc == 4 ? std::strtoul(argv[2], nullptr, 10) : 0;
  if (senders < 1 || senders > 1000 || rounds < 1 || size < 1 || size > 1'000'000)
    return std::fprintf(stderr, "usage: bench_homa_incast SENDERS SIZE ROUNDS\n"), 2;
  std::vector<std::unique_ptr<homa::Transport>> servers;
  for (int i = 0; i < senders; ++i) {
    servers.push_back(open_sender());
    homa::Transport& server = *servers.back();
    must(server.serve(kPort, [&server, size](homa::Request request) { (void)request.reply(server.make_message(size)); })
             .has_value(),
         "serve");
  }
  const std::unique_ptr<homa::Transport> client =
      open(std::getenv("BENCH_SERVER_NETNS") == nullptr ? server_address() : "", false);
  std::vector<double> took;
  int lost = 0;
  const std::byte go{1};
  const double cpu = cpu_seconds();
  for (int round = 0; round < rounds; ++round) {
    const auto begin = Clock::now();
    int open_calls = senders;
    for (const auto& server : servers) {
      const auto made = client->call(server->local_address(), kPort, std::span(&go, 1), [&](homa::Outcome<homa::Message> answer) {
        --open_calls;
        answer ? took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count()) : void(++lost);
      });
      must(made.has_value(), "call");
    }
    while (open_calls > 0) client->run_once(std::chrono::seconds(1));
  }
  const double used = cpu_seconds() - cpu;
  if (took.empty()) return std::fprintf(stderr, "bench_homa_incast: no answers\n"), 1;
  std::sort(took.begin(), took.end());
  std::printf(
      "{\"what\":\"incast-godwit\",\"senders\":%d,\"size\":%zu,\"messages\":%zu,\"lost\":%d,\"p50_us\":%.2f,\"p99_us\":%.2f,"
      "\"cpu_us_per_call\":%.2f}\n",
      senders, size, took.size(), lost, took[took.size() / 2], took[took.size() * 99 / 100],
      used / static_cast<double>(took.size()) * 1e6);
  return 0;
}
