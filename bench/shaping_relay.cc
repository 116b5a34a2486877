// A TCP relay that behaves like a line between two hosts: each direction has a rate, a delay and a bounded queue in front of it,
// shared by all connections. What does not fit into the queue stays in its sender's socket, as it would behind a slow router.
//
//   bench_relay LISTEN_PORT CONNECT_PORT [BITS_PER_SECOND] [ROUND_TRIP_MICROSECONDS] [QUEUE_BYTES]
//
// Both ports are loopback's; LISTEN_PORT 0 takes any. Prints the port it listens on. Ends with SIGTERM.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

namespace {

using Nanoseconds = std::int64_t;

constexpr std::size_t kPieceBytes = 16 * 1024;   // what enters the queue at a time
constexpr int kReceiveBufferBytes = 64 * 1024;   // the kernel's own queue in front of ours, kept small
constexpr std::size_t kUndelivered = 16u << 20;  // due but not taken by the receiver: then nothing more is let in

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

Nanoseconds now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One direction of the line: when the last bit that was let in will have left the queue.
struct Line {
  double nanoseconds_per_byte;
  Nanoseconds delay;
  std::size_t queue_bytes;
  Nanoseconds busy_until = 0;

  bool has_room(Nanoseconds at) const {
    return static_cast<double>(busy_until - at) < static_cast<double>(queue_bytes) * nanoseconds_per_byte;
  }
  // When a piece let in now arrives at the other end.
  Nanoseconds let_in(Nanoseconds at, std::size_t bytes) {
    busy_until = std::max(busy_until, at) + static_cast<Nanoseconds>(static_cast<double>(bytes) * nanoseconds_per_byte);
    return busy_until + delay;
  }
};

struct Piece {
  Nanoseconds due = 0;
  std::vector<char> bytes;  // none: the end of the stream
  std::size_t taken = 0;
};

// One direction of one connection.
struct Way {
  int from = -1;
  int to = -1;
  Line* line = nullptr;
  std::deque<Piece> pieces;
  std::size_t held = 0;
  bool ended = false;     // nothing more comes in
  bool finished = false;  // the end has been delivered
  bool stuck = false;     // the receiver's socket is full

  bool wants_in(Nanoseconds at) const { return !ended && held < kUndelivered && line->has_room(at); }

  void take_in(Nanoseconds at) {
    Piece piece;
    piece.bytes.resize(kPieceBytes);
    const ssize_t count = recv(from, piece.bytes.data(), piece.bytes.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    ended = count <= 0;
    piece.bytes.resize(ended ? 0 : static_cast<std::size_t>(count));
    piece.due = line->let_in(at, piece.bytes.size());
    held += piece.bytes.size();
    pieces.push_back(std::move(piece));
  }

  void deliver(Nanoseconds at) {
    stuck = false;
    while (!pieces.empty() && pieces.front().due <= at) {
      Piece& piece = pieces.front();
      if (piece.bytes.empty()) {
        shutdown(to, SHUT_WR);
        finished = true;
      } else {
        const ssize_t count =
            send(to, piece.bytes.data() + piece.taken, piece.bytes.size() - piece.taken, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) {
          stuck = true;
          return;
        }
        if (count < 0) {  // the receiver is gone: nobody misses the rest
          pieces.clear();
          ended = finished = true;
          return;
        }
        piece.taken += static_cast<std::size_t>(count);
        held -= static_cast<std::size_t>(count);
        if (piece.taken < piece.bytes.size()) continue;
      }
      pieces.pop_front();
    }
  }
};

struct Connection {
  Way ways[2];
  ~Connection() {
    close(ways[0].from);
    close(ways[0].to);
  }
};

sockaddr_in loopback(int port) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  return at;
}

int new_socket() {
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (s < 0) die("socket");
  setsockopt(s, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return s;
}

std::unique_ptr<Connection> begin(int accepted, int connect_port, Line* lines) {
  const int on = 1;
  setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int dialled = new_socket();
  const sockaddr_in to = loopback(connect_port);
  if (connect(dialled, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    close(accepted);
    close(dialled);
    return nullptr;
  }
  auto connection = std::make_unique<Connection>();
  connection->ways[0] = {.from = accepted, .to = dialled, .line = &lines[0], .pieces = {}};
  connection->ways[1] = {.from = dialled, .to = accepted, .line = &lines[1], .pieces = {}};
  return connection;
}

// Sleeps until a socket is ready or the next piece is due.
void wait(std::vector<pollfd>& polled, Nanoseconds next) {
  timespec timeout{};
  const Nanoseconds left = std::max<Nanoseconds>(0, next - now());
  timeout.tv_sec = left / 1'000'000'000;
  timeout.tv_nsec = left % 1'000'000'000;
  if (ppoll(polled.data(), polled.size(), &timeout, nullptr) < 0 && errno != EINTR) die("poll");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: bench_relay LISTEN_PORT CONNECT_PORT [BITS_PER_SECOND] [ROUND_TRIP_MICROSECONDS] [QUEUE_BYTES]\n");
    return 2;
  }
  const auto number = [&](int i, double otherwise) { return argc > i ? std::strtod(argv[i], nullptr) : otherwise; };
  const double rate = number(3, 1e9);
  const Line line{8e9 / rate, static_cast<Nanoseconds>(number(4, 10'000) * 1000 / 2),
                  static_cast<std::size_t>(number(5, 256 * 1024))};
  Line lines[2] = {line, line};

  const int listener = new_socket();
  sockaddr_in at = loopback(static_cast<int>(number(1, 0)));
  socklen_t length = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), length) != 0 || listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length) != 0)
    die("listen");
  std::printf("%d\n", ntohs(at.sin_port));
  std::fflush(stdout);

  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<pollfd> polled;
  for (;;) {
    polled.clear();
    polled.push_back({listener, POLLIN, 0});
    Nanoseconds next = now() + 1'000'000'000;
    const Nanoseconds asked = now();
    for (const auto& connection : connections) {
      for (const Way& way : connection->ways) {
        const bool in = way.wants_in(asked);
        polled.push_back({in ? way.from : -1, POLLIN, 0});
        polled.push_back({way.stuck ? way.to : -1, POLLOUT, 0});
        if (!way.pieces.empty() && !way.stuck) next = std::min(next, way.pieces.front().due);
        if (!in && !way.ended)  // the queue has room again at this time
          next = std::min(next, std::max(asked + 20'000, way.line->busy_until -
                                                             static_cast<Nanoseconds>(static_cast<double>(way.line->queue_bytes) *
                                                                                      way.line->nanoseconds_per_byte)));
      }
    }
    wait(polled, next);
    std::size_t i = 1;
    for (const auto& connection : connections) {
      for (Way& way : connection->ways) {
        if (polled[i].revents != 0 && way.wants_in(now())) way.take_in(now());
        way.deliver(now());
        i += 2;
      }
    }
    std::erase_if(connections, [](const auto& c) { return c->ways[0].finished && c->ways[1].finished; });
    if (polled[0].revents & POLLIN) {
      const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (accepted < 0) continue;
      if (auto connection = begin(accepted, static_cast<int>(number(2, 0)), lines)) connections.push_back(std::move(connection));
    }
  }
}
