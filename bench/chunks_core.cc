// What the two hot loops of chunks cost on one core: finding cuts, and the ids of chunks (SHA-512/256) by every variant that this
// processor has. `bench_chunks_core [ROUNDS]`; a line of JSON, in GB/s, the best of the rounds (a shared machine only takes
// away).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "chunks/core/chunk_digest.h"
#include "chunks/core/chunker.h"

namespace {

using namespace godwit;
using namespace godwit::chunks;

constexpr std::size_t kBytes = std::size_t{256} << 20;

double seconds_of(auto&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// Random bytes: no run of zeros makes it easy.
Bytes random_bytes() {
  std::mt19937_64 generator(1);
  Bytes bytes(kBytes);
  for (std::size_t at = 0; at < kBytes; at += 8) {
    const std::uint64_t value = generator();
    std::memcpy(bytes.data() + at, &value, 8);
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 5;
  if (rounds < 1) return std::fprintf(stderr, "usage: bench_chunks_core [ROUNDS]\n"), 2;
  const Bytes bytes = random_bytes();
  const CutRule rule = *CutRule::of(ChunkSizes());
  std::vector<std::uint64_t> cuts;
  double chunker = 0;
  std::vector<double> digests(digest_variants().size());
  for (int round = 0; round < rounds; ++round) {
    cuts.clear();
    const double took = seconds_of([&] {
      Chunker whole(rule);
      whole.feed(bytes, cuts);
      whole.finish(cuts);
    });
    chunker = std::max(chunker, kBytes / took / 1e9);
    std::vector<ConstBytes> chunks;
    std::uint64_t start = 0;
    for (const std::uint64_t cut : cuts) {
      chunks.push_back(ConstBytes(bytes).subspan(start, cut - start));
      start = cut;
    }
    std::vector<ChunkId> ids(chunks.size());
    for (std::size_t v = 0; v < digests.size(); ++v) {
      const double hashing = seconds_of([&] {
        for (std::size_t at = 0; at < chunks.size(); at += kDigestBatch) {
          const std::size_t count = std::min(kDigestBatch, chunks.size() - at);
          chunk_ids_of(std::span(chunks).subspan(at, count), Digest::sha512_256, std::span(ids).subspan(at, count),
                       digest_variants()[v]);
        }
      });
      digests[v] = std::max(digests[v], kBytes / hashing / 1e9);
    }
  }
  std::printf("{\"chunker\":%.3f,\"chunks\":%zu", chunker, cuts.size());
  for (std::size_t v = 0; v < digests.size(); ++v)
    std::printf(",\"sha512-256 %s\":%.3f", std::string(name_of(digest_variants()[v])).c_str(), digests[v]);
  std::printf("}\n");
  return 0;
}
