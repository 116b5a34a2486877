// Echo over raw UDP, over TCP with TCP_NODELAY, and over ZeroMQ where it was there at build time: what `godwit homa bench` is
// measured beside. `bench_homa_peers udp|tcp|zmq SIZE OUTSTANDING SECONDS` prints one JSON line. Server and client are threads of
// this process, as in `godwit homa bench`; each blocks in its receive call. Raw UDP promises nothing: it is the limit for one
// packet.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<zmq.h>) && defined(GODWIT_BENCH_ZMQ)
#include <zmq.h>
#define HAS_ZMQ 1
#endif

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}
void must(bool ok, const char* what) {
  if (!ok) die(what);
}

struct Pair {
  int server, client;
};

sockaddr_in loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void bind_any(int socket, sockaddr_in& address) {
  socklen_t size = sizeof address;
  must(bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  must(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
}

Pair udp_pair() {
  const int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = loopback();
  bind_any(server, address);
  must(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  return {server, client};
}

Pair tcp_pair() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = loopback();
  bind_any(listener, address);
  must(listen(listener, 1) == 0, "listen");
  must(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  const int server = accept(listener, nullptr, nullptr);
  const int one = 1;
  for (const int s : {server, client}) setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  close(listener);
  return {server, client};
}

void serve_udp(int socket) {
  std::vector<char> buffer(65536);
  sockaddr_in from{};
  while (true) {
    socklen_t size = sizeof from;
    const ssize_t got = recvfrom(socket, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0) return;
    must(sendto(socket, buffer.data(), static_cast<std::size_t>(got), 0, reinterpret_cast<sockaddr*>(&from), size) == got,
         "sendto");
  }
}

bool read_all(int socket, char* at, std::size_t size) {
  while (size > 0) {
    const ssize_t got = recv(socket, at, size, 0);
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}
void write_all(int socket, const char* at, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
    must(sent > 0, "send");
    at += sent;
    size -= static_cast<std::size_t>(sent);
  }
}

void serve_tcp(int socket, std::size_t size) {
  std::vector<char> buffer(size);
  while (read_all(socket, buffer.data(), size)) write_all(socket, buffer.data(), size);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// Keeps `outstanding` echoes under way; they come back in order.
template <class Send, class Receive>
void run(const std::string& what, std::size_t size, int outstanding, double seconds, Send send_one, Receive receive_one) {
  std::vector<double> took;
  std::deque<Clock::time_point> begun;
  const double cpu = cpu_seconds();
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int i = 0; i < outstanding; ++i) {
    begun.push_back(Clock::now());
    send_one();
  }
  while (!begun.empty()) {
    receive_one();
    const auto now = Clock::now();
    took.push_back(std::chrono::duration<double, std::micro>(now - begun.front()).count());
    begun.pop_front();
    if (now >= end) continue;
    begun.push_back(now);
    send_one();
  }
  const double total = std::chrono::duration<double>(Clock::now() - begin).count();
  const double used = cpu_seconds() - cpu;
  std::sort(took.begin(), took.end());
  const auto count = static_cast<double>(took.size());
  std::printf(
      "{\"what\":\"%s\",\"size\":%zu,\"outstanding\":%d,\"calls_per_second\":%.0f,\"gbit_per_second\":%.3f,\"p50_us\":%.2f,"
      "\"p99_us\":%.2f,\"cpu_us_per_call\":%.2f}\n",
      what.c_str(), size, outstanding, count / total, count / total * static_cast<double>(size) * 8 / 1e9, took[took.size() / 2],
      took[took.size() * 99 / 100], used / count * 1e6);
}

#ifdef HAS_ZMQ
void run_zmq(std::size_t size, int outstanding, double seconds) {
  void* context = zmq_ctx_new();
  void* server = zmq_socket(context, ZMQ_ROUTER);
  must(zmq_bind(server, "tcp://127.0.0.1:*") == 0, "zmq_bind");
  char endpoint[64];
  std::size_t length = sizeof endpoint;
  must(zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &length) == 0, "zmq_getsockopt");
  std::thread serving([&] {
    std::vector<char> id(256), buffer(size + 1);
    while (true) {
      const int id_size = zmq_recv(server, id.data(), id.size(), 0);
      const int got = zmq_recv(server, buffer.data(), buffer.size(), 0);
      if (got <= 1 && size > 1) return;
      zmq_send(server, id.data(), static_cast<std::size_t>(id_size), ZMQ_SNDMORE);
      zmq_send(server, buffer.data(), static_cast<std::size_t>(got), 0);
    }
  });
  void* client = zmq_socket(context, ZMQ_DEALER);
  must(zmq_connect(client, endpoint) == 0, "zmq_connect");
  std::vector<char> buffer(size + 1);
  run(
      "zmq", size, outstanding, seconds, [&] { zmq_send(client, buffer.data(), size, 0); },
      [&] { must(zmq_recv(client, buffer.data(), buffer.size(), 0) == static_cast<int>(size), "zmq_recv"); });
  zmq_send(client, "", 1, 0);
  serving.join();
  zmq_close(client);
  zmq_close(server);
  zmq_ctx_term(context);
}
#endif

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return std::fprintf(stderr, "usage: bench_homa_peers udp|tcp|zmq SIZE OUTSTANDING SECONDS\n"), 2;
  const std::string what = argv[1];
  const auto size = static_cast<std::size_t>(std::strtoul(argv[2], nullptr, 10));
  const int outstanding = std::atoi(argv[3]);
  const double seconds = std::atof(argv[4]);
  if (size == 0 || outstanding < 1 || (what == "udp" && size > 65507))
    return std::fprintf(stderr, "bench_homa_peers: no such size\n"), 2;
  std::vector<char> buffer(size);
  if (what == "zmq") {
#ifdef HAS_ZMQ
    run_zmq(size, outstanding, seconds);
    return 0;
#else
    return std::fprintf(stderr, "bench_homa_peers: built without ZeroMQ\n"), 1;
#endif
  }
  const Pair pair = what == "udp" ? udp_pair() : tcp_pair();
  std::thread serving([&] { what == "udp" ? serve_udp(pair.server) : serve_tcp(pair.server, size); });
  if (what == "udp") {
    run(
        what, size, outstanding, seconds,
        [&] { must(send(pair.client, buffer.data(), size, 0) == static_cast<ssize_t>(size), "send"); },
        [&] { must(recv(pair.client, buffer.data(), size, 0) == static_cast<ssize_t>(size), "recv"); });
    // An empty datagram ends the server.
    must(send(pair.client, buffer.data(), 0, 0) == 0, "send");
  } else {
    run(
        what, size, outstanding, seconds, [&] { write_all(pair.client, buffer.data(), size); },
        [&] { must(read_all(pair.client, buffer.data(), size), "recv"); });
    shutdown(pair.client, SHUT_WR);
  }
  serving.join();
  return 0;
}
