// What the core of the Homa transport costs, without a network: two endpoints hand each other their packets in memory. CPU time
// of this thread, per packet and side, and per short RPC and side. One line of JSON per measurement.
//
//   bench_homa_core [SECONDS]
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/check.h"
#include "homa/core/endpoint.h"

using namespace godwit;
using namespace godwit::homa;

namespace {

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

struct Side {
  Side(std::uint32_t number, const Config& config)
      : address(ipv4_address(number, 9160)), endpoint(config, Random(number), RpcId{2}) {
    GODWIT_CHECK(endpoint.open_port(Port{1}) && endpoint.open_port(kNoPort));
  }
  PeerAddress address;
  Endpoint endpoint;
};

class Pair {
 public:
  explicit Pair(const Config& config) : client_(1, config), server_(2, config) {}

  std::uint64_t packets() const { return packets_; }
  std::uint64_t calls() const { return calls_; }

  void call(std::uint32_t request) {
    GODWIT_CHECK(
        client_.endpoint.handle_call(now_, {kFirstClientPort, server_.address, Port{1}, request, BufferId{1}, 0}).has_value());
  }
  // Until nothing moves; every request is answered by `response` bytes.
  void run(std::uint32_t response) {
    while (move(client_, server_) + move(server_, client_) > 0) {
      take(server_, response);
      take(client_, response);
    }
  }

 private:
  int move(Side& from, Side& to) {
    int moved = 0;
    Transmit out;
    now_ = now_ + Duration{1000};
    from.endpoint.handle_timeout(now_);
    while (moved < 64 && from.endpoint.poll_transmit(now_, out)) {
      const std::size_t size = std::size_t{out.header_size} + out.length;
      const ConstBytes head(out.header.data(), std::min(size, kHeaderSizeMax));
      static_cast<void>(to.endpoint.handle_packet(now_, from.address, head, size));
      ++moved;
    }
    if (moved > 0) to.endpoint.handle_batch_end(now_);
    packets_ += static_cast<std::uint64_t>(moved);
    return moved;
  }
  void take(Side& side, std::uint32_t response) {
    while (const std::optional<Port> port = side.endpoint.poll_readable())
      while (const std::optional<Event> event = side.endpoint.poll_event(*port)) {
        if (event->kind == Event::Kind::request) {
          GODWIT_CHECK(side.endpoint.handle_reply(now_, event->rpc, response, BufferId{2}).has_value());
        } else {
          GODWIT_CHECK(event->kind == Event::Kind::response);
          ++calls_;
        }
      }
    Release release;
    while (side.endpoint.poll_release(release)) continue;
  }

  Side client_, server_;
  Instant now_{1'000'000'000};
  std::uint64_t packets_ = 0, calls_ = 0;
};

struct Load {
  const char* name;
  std::uint32_t request, response;
  int at_once;
};

void measure(const Load& load, double seconds) {
  Config config;
  config.link_mbps = 0;
  config.rtt_bytes = 60'000;
  config.grant_increment = 10'000;
  Pair pair(config);
  const double begin = cpu_seconds();
  double taken = 0;
  while (taken < seconds) {
    for (int i = 0; i < load.at_once; ++i) pair.call(load.request);
    pair.run(load.response);
    taken = cpu_seconds() - begin;
  }
  std::printf("{\"load\":\"%s\",\"calls\":%llu,\"packets\":%llu,\"ns_per_packet_and_side\":%.0f,\"ns_per_call_and_side\":%.0f}\n",
              load.name, static_cast<unsigned long long>(pair.calls()), static_cast<unsigned long long>(pair.packets()),
              taken * 1e9 / static_cast<double>(pair.packets()) / 2, taken * 1e9 / static_cast<double>(pair.calls()) / 2);
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
  for (const Load& load :
       {Load{"100 B echo, 1 outstanding", 100, 100, 1}, Load{"100 B echo, 32 outstanding", 100, 100, 32},
        Load{"500 kB there, 100 B back", 500'000, 100, 1}, Load{"500 kB there, 16 outstanding", 500'000, 100, 16}})
    measure(load, seconds);
  return 0;
}
