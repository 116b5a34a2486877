// What this machine can do at the moment of a benchmark, so that its results can be judged: copying memory, a bare TCP stream
// over loopback, SHA-256, zstd. One measurement per run, one line of JSON on stdout.
//
//   bench_limits memcpy|tcp|sha256|zstd [MIB]
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kMiB = 1024 * 1024;
constexpr std::size_t kTcpChunk = 256 * 1024;
constexpr std::size_t kHashChunk = 64 * 1024;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<char> random_bytes(std::size_t size) {
  std::mt19937_64 generator(1);
  std::vector<char> bytes(size);
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t value = generator();
    std::memcpy(bytes.data() + i, &value, 8);
  }
  return bytes;
}

// Text-like bytes: half of them repeat, as the contents of file systems do.
std::vector<char> half_random_bytes(std::size_t size) {
  std::vector<char> bytes = random_bytes(size);
  for (std::size_t at = 0; at + 64 <= size; at += 64) std::memset(bytes.data() + at, 'a' + static_cast<int>(at / 4096 % 26), 32);
  return bytes;
}

double cpu_seconds(int who) {
  rusage usage{};
  getrusage(who, &usage);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

void print(const char* what, double bytes, double seconds) {
  const double cpu = cpu_seconds(RUSAGE_SELF) + cpu_seconds(RUSAGE_CHILDREN);
  std::printf("{\"what\": \"%s\", \"bytes\": %.0f, \"seconds\": %.6f, \"gb_per_s\": %.3f, \"cpu_seconds\": %.3f}\n", what, bytes,
              seconds, bytes / seconds / 1e9, cpu);
}

void run_memcpy(std::size_t mib) {
  const std::size_t size = 256 * kMiB;
  std::vector<char> from(size, 'a');
  std::vector<char> to(size, 'b');
  const std::size_t rounds = std::max<std::size_t>(1, mib * kMiB / size);
  const double start = now_seconds();
  for (std::size_t i = 0; i < rounds; ++i) {
    std::memcpy(to.data(), from.data(), size);
    from[i] = to[size - 1 - i];  // so that no round can be left out
  }
  print("memcpy", static_cast<double>(size * rounds), now_seconds() - start);
}

// The sender is a child, its buffer and the receiver's stay the same: nothing but the kernel's work.
void run_tcp(std::size_t mib) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  if (listener < 0 || bind(listener, reinterpret_cast<sockaddr*>(&at), length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length) != 0)
    die("listen");
  const std::size_t total = mib * kMiB;
  const pid_t child = fork();
  if (child < 0) die("fork");
  std::vector<char> buffer(kTcpChunk, 'x');
  if (child == 0) {
    const int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(to, reinterpret_cast<sockaddr*>(&at), length) != 0) die("connect");
    for (std::size_t left = total; left > 0;) {
      const ssize_t sent = send(to, buffer.data(), std::min(left, buffer.size()), MSG_NOSIGNAL);
      if (sent <= 0) die("send");
      left -= static_cast<std::size_t>(sent);
    }
    close(to);
    _exit(0);
  }
  const int from = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (from < 0) die("accept");
  const double start = now_seconds();
  for (std::size_t left = total; left > 0;) {
    const ssize_t got = recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) die("recv");
    left -= std::min(left, static_cast<std::size_t>(got));
  }
  const double seconds = now_seconds() - start;
  int status = 0;
  waitpid(child, &status, 0);
  print("tcp", static_cast<double>(total), seconds);
}

void run_sha256(std::size_t mib) {
  const std::vector<char> bytes = random_bytes(kHashChunk);
  const std::size_t rounds = mib * kMiB / kHashChunk;
  EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  unsigned char out[EVP_MAX_MD_SIZE];
  const double start = now_seconds();
  for (std::size_t i = 0; i < rounds; ++i) {
    if (EVP_DigestInit_ex2(context, digest, nullptr) != 1 || EVP_DigestUpdate(context, bytes.data(), bytes.size()) != 1 ||
        EVP_DigestFinal_ex(context, out, nullptr) != 1)
      die("SHA-256");
  }
  print("sha256", static_cast<double>(rounds * kHashChunk), now_seconds() - start);
  EVP_MD_CTX_free(context);
  EVP_MD_free(digest);
}

void run_zstd(std::size_t mib) {
  const std::vector<char> bytes = half_random_bytes(16 * kMiB);
  std::vector<char> out(ZSTD_compressBound(bytes.size()));
  const std::size_t rounds = std::max<std::size_t>(1, mib * kMiB / bytes.size());
  const double start = now_seconds();
  for (std::size_t i = 0; i < rounds; ++i)
    if (ZSTD_isError(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 1))) die("zstd");
  print("zstd -1", static_cast<double>(rounds * bytes.size()), now_seconds() - start);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const std::size_t mib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
  if (mib > 0 && what == "memcpy") return run_memcpy(mib), 0;
  if (mib > 0 && what == "tcp") return run_tcp(mib), 0;
  if (mib > 0 && what == "sha256") return run_sha256(mib), 0;
  if (mib > 0 && what == "zstd") return run_zstd(mib), 0;
  std::fprintf(stderr, "usage: bench_limits memcpy|tcp|sha256|zstd [MIB]\n");
  return 2;
}
