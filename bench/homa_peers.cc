// Echo over raw UDP, over TCP with TCP_NODELAY, and over ZeroMQ where it was there at build time: what `godwit homa bench` is
// measured beside. `bench_homa_peers udp|tcp|zmq SIZE OUTSTANDING SECONDS`. Each side blocks in its receive call. Raw UDP
// promises nothing: it is the limit for one packet. `bench_homa_peers incast-tcp SENDERS SIZE ROUNDS`: that many connections are
// told by a byte to bring a message each at the same moment; how long each took until all of it was there.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "homa_peer.h"

#if __has_include(<zmq.h>) && defined(GODWIT_BENCH_ZMQ)
#include <zmq.h>
#define HAS_ZMQ 1
#endif

namespace {

using namespace godwit::bench;

struct Pair {
  int server, client;
};

sockaddr_in server_socket_address() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  must(inet_pton(AF_INET, server_address().c_str(), &address.sin_addr) == 1, "BENCH_SERVER_ADDRESS");
  return address;
}

void bind_any(int socket, sockaddr_in& address) {
  socklen_t size = sizeof address;
  must(bind(socket, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  must(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
}

Pair udp_pair() {
  const int server = socket(AF_INET, SOCK_DGRAM, 0), client = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address = server_socket_address();
  bind_any(server, address);
  must(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
  return {server, client};
}

Pair tcp_pair() {
  int listener = -1;
  std::thread([&] {
    enter_server_network();
    listener = socket(AF_INET, SOCK_STREAM, 0);
  }).join();
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = server_socket_address();
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

#ifdef HAS_ZMQ
void run_zmq(const EchoOptions& options) {
  const std::size_t size = options.size;
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
  run_echo(
      "zmq", options, [&] { zmq_send(client, buffer.data(), size, 0); },
      [&] { must(zmq_recv(client, buffer.data(), buffer.size(), 0) == static_cast<int>(size), "zmq_recv"); });
  zmq_send(client, "", 1, 0);
  serving.join();
  zmq_close(client);
  zmq_close(server);
  zmq_ctx_term(context);
}
#endif

void run_sockets(const std::string& what, const EchoOptions& options) {
  const std::size_t size = options.size;
  std::vector<char> buffer(size);
  const Pair pair = what == "udp" ? udp_pair() : tcp_pair();
  std::thread serving([&] { what == "udp" ? serve_udp(pair.server) : serve_tcp(pair.server, size); });
  if (what == "udp") {
    run_echo(
        what, options, [&] { must(send(pair.client, buffer.data(), size, 0) == static_cast<ssize_t>(size), "send"); },
        [&] { must(recv(pair.client, buffer.data(), size, 0) == static_cast<ssize_t>(size), "recv"); });
    // An empty datagram ends the server.
    must(send(pair.client, buffer.data(), 0, 0) == 0, "send");
  } else {
    run_echo(
        what, options, [&] { write_all(pair.client, buffer.data(), size); },
        [&] { must(read_all(pair.client, buffer.data(), size), "recv"); });
    shutdown(pair.client, SHUT_WR);
  }
  serving.join();
}

int run_incast(int senders, std::size_t size, int rounds) {
  std::vector<Pair> pairs;
  std::vector<std::thread> servers;
  for (int i = 0; i < senders; ++i) {
    pairs.push_back(tcp_pair());
    // The many send towards the one: here the "server" side of each pair is a sender, told to begin by a byte.
    servers.emplace_back([socket = pairs.back().server, size] {
      const std::vector<char> message(size);
      char go = 0;
      while (read_all(socket, &go, 1)) write_all(socket, message.data(), size);
    });
  }
  std::vector<double> took;
  std::vector<char> buffer(size);
  const double cpu = cpu_seconds();
  for (int round = 0; round < rounds; ++round) {
    const auto begin = Clock::now();
    for (const Pair& pair : pairs) write_all(pair.client, "g", 1);
    std::vector<std::size_t> left(pairs.size(), size);
    std::vector<pollfd> waiting;
    for (const Pair& pair : pairs) waiting.push_back({pair.client, POLLIN, 0});
    for (std::size_t open = pairs.size(); open > 0;) {
      must(poll(waiting.data(), waiting.size(), -1) > 0, "poll");
      for (std::size_t i = 0; i < waiting.size(); ++i) {
        if ((waiting[i].revents & (POLLIN | POLLHUP)) == 0) continue;
        const ssize_t got = recv(waiting[i].fd, buffer.data(), left[i], 0);
        must(got > 0, "recv");
        left[i] -= static_cast<std::size_t>(got);
        if (left[i] > 0) continue;
        took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
        waiting[i].fd = -1;
        --open;
      }
    }
  }
  const double used = cpu_seconds() - cpu;
  for (const Pair& pair : pairs) shutdown(pair.client, SHUT_WR);
  for (std::thread& server : servers) server.join();
  std::sort(took.begin(), took.end());
  std::printf(
      "{\"what\":\"incast-tcp\",\"senders\":%d,\"size\":%zu,\"messages\":%zu,\"lost\":0,\"p50_us\":%.2f,\"p99_us\":%.2f,"
      "\"cpu_us_per_call\":%.2f}\n",
      senders, size, took.size(), took[took.size() / 2], took[took.size() * 99 / 100],
      used / static_cast<double>(took.size()) * 1e6);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 5 ? argv[1] : "";
  if (what == "incast-tcp") {
    const int senders = std::atoi(argv[2]), rounds = std::atoi(argv[4]);
    const std::size_t size = std::strtoul(argv[3], nullptr, 10);
    if (senders < 1 || senders > 1000 || rounds < 1 || size < 1 || size > 1'000'000)
      return std::fprintf(stderr, "bench_homa_peers: no such incast\n"), 2;
    return run_incast(senders, size, rounds);
  }
  const std::optional<EchoOptions> options = argc == 5 ? echo_options(argv + 2) : std::nullopt;
  if (!options || (what != "udp" && what != "tcp" && what != "zmq") || (what == "udp" && options->size > 65507))
    return std::fprintf(stderr,
                        "usage: bench_homa_peers udp|tcp|zmq SIZE OUTSTANDING SECONDS, or incast-tcp SENDERS SIZE ROUNDS\n"),
           2;
  if (what != "zmq") return run_sockets(what, *options), 0;
#ifdef HAS_ZMQ
  run_zmq(*options);
  return 0;
#else
  return std::fprintf(stderr, "bench_homa_peers: built without ZeroMQ\n"), 1;
#endif
}
