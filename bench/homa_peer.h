// What the programs that Homa's echo is measured beside have in common: a client that keeps calls under way, and the line of JSON
// it prints. Each program is `NAME SIZE OUTSTANDING SECONDS`; server and client are threads of it, as in `godwit homa bench`.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace godwit::bench {

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void die(const char* what) {
  std::perror(what);
  std::exit(1);
}
inline void must(bool ok, const char* what) {
  if (!ok) die(what);
}

// Where the server is: this machine's loopback, or an address in a network namespace (a file below /proc) which the thread that
// makes the server's sockets enters. So one program can have a link between its two sides.
inline std::string server_address() {
  const char* address = std::getenv("BENCH_SERVER_ADDRESS");
  return address == nullptr ? "127.0.0.1" : address;
}
inline void enter_server_network() {
  const char* path = std::getenv("BENCH_SERVER_NETNS");
  if (path == nullptr) return;
  const int space = open(path, O_RDONLY | O_CLOEXEC);
  must(space >= 0 && setns(space, CLONE_NEWNET) == 0, "enter the server's network namespace");
  close(space);
}

struct EchoOptions {
  std::size_t size = 0;
  int outstanding = 0;
  double seconds = 0;
};

// The last three arguments; nothing if they make no sense.
inline std::optional<EchoOptions> echo_options(char** last_three) {
  const EchoOptions o{std::strtoul(last_three[0], nullptr, 10), std::atoi(last_three[1]), std::atof(last_three[2])};
  if (o.size == 0 || o.size > 1'000'000 || o.outstanding < 1 || o.outstanding > 10'000 || o.seconds <= 0) return std::nullopt;
  return o;
}

inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// Keeps echoes under way; receive_one() waits for one to come back, send_one() begins one. The oldest is taken to come back
// first.
template <class Send, class Receive>
void run_echo(const std::string& what, const EchoOptions& options, Send send_one, Receive receive_one) {
  const auto [size, outstanding, seconds] = options;
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

}  // namespace godwit::bench
