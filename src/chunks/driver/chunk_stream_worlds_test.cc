// The chunks of a stream in drawn worlds: any sizes, data, holes, reads and number of threads. GODWIT_SEEDS sets how many worlds,
// GODWIT_SEEDS_FROM where to begin.
#include <fcntl.h>
#include <unistd.h>

#include <deque>
#include <thread>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/core/cut_worlds_test.h"
#include "chunks/driver/chunk_stream.h"
#include "net/event_loop.h"
#include "sim/world.h"
#include "store/block_device_conformance.h"

using namespace godwit;
using namespace godwit::chunks;
using store::conformance::wait_for;

namespace {

enum class Input : std::uint8_t { sparse_file, drawn_reads, pipe };

// Without what its holes have.
void write_sparse(const std::string& path, const worlds::World& world) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  GODWIT_CHECK(file >= 0 && ::ftruncate(file, static_cast<off_t>(world.content.size())) == 0);
  std::uint64_t at = 0;
  const auto write_up_to = [&](std::uint64_t end) {
    const ConstBytes data = ConstBytes(world.content).subspan(at, end - at);
    GODWIT_CHECK(::pwrite(file, data.data(), data.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(data.size()));
  };
  for (const worlds::Stretch& hole : world.holes) {
    write_up_to(hole.offset);
    at = hole.offset + hole.length;
  }
  write_up_to(world.content.size());
  ::close(file);
}

class ChunkStreamWorlds : public ::testing::Test {
 protected:
  std::unique_ptr<ByteSource> open_input(Input input, const worlds::World& world, Random& random) {
    const std::string path = folder_ / "input";
    ::unlink(path.c_str());
    const unsigned bits = 12 + static_cast<unsigned>(random.below(11));
    if (input == Input::sparse_file) {
      write_sparse(path, world);
      return ByteSource::open(path).value();
    }
    if (input == Input::drawn_reads)
      return ByteSource::made_by(
          [rest = ConstBytes(world.content), random = random.fork(), bits](MutableBytes into) mutable -> Result<std::size_t> {
            const std::size_t count = std::min({rest.size(), into.size(), worlds::any_magnitude(random, bits)});
            std::ranges::copy(rest.first(count), into.begin());
            rest = rest.subspan(count);
            return count;
          },
          "drawn reads", 0600);
    GODWIT_CHECK(::mkfifo(path.c_str(), 0600) == 0);
    writer_ = std::jthread([path, rest = ConstBytes(world.content), random = random.fork(), bits]() mutable {
      const int pipe = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
      while (!rest.empty()) {
        const ssize_t count = ::write(pipe, rest.data(), std::min<std::size_t>(rest.size(), worlds::any_magnitude(random, bits)));
        GODWIT_CHECK(count > 0);
        rest = rest.subspan(static_cast<std::size_t>(count));
      }
      ::close(pipe);
    });
    return ByteSource::open(path).value();
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::jthread writer_;
};

TEST_F(ChunkStreamWorlds, AnyThreadsAndReadsGiveTheChunksThatTheSpecificationSays) {
  for (const std::uint64_t seed : sim::scenario_seeds(40)) {
    Random random(seed);
    // Now and then more than the ring holds.
    const worlds::World world = worlds::draw_world(random, seed % 5 == 0 ? 40'000'000 : 3'000'000, 20);
    const auto input = static_cast<Input>(random.below(3));
    const Digest digest = random.below(4) == 0 ? Digest::sha256 : Digest::sha512_256;
    const ChunkStreamOptions options{.rule = CutRule::of(world.sizes).value(),
                                     .digest = digest,
                                     .digest_stream = random.below(2) == 0,
                                     .threads = 1 + static_cast<unsigned>(random.below(8)),
                                     .scan = scan_variants()[random.below(scan_variants().size())]};
    SCOPED_TRACE(fmt::format("GODWIT_SEEDS_FROM={} GODWIT_SEEDS=1: input {}, {} threads, {}, {}", seed, static_cast<int>(input),
                             options.threads, name_of(options.scan), world.description));
    const std::unique_ptr<net::Workers> workers = net::make_workers(loop_, options.threads);
    ChunkStream stream(open_input(input, world, random), options, *workers, loop_);

    struct Seen {
      std::uint64_t number = 0;
      std::uint64_t end = 0;
      ChunkId id;
    };
    std::vector<Seen> seen;
    // Some batches are held for a while, and let go in another order than they came in.
    std::vector<ChunkBatch> held;
    const Result<ChunkStreamEnd> end = wait_for<ChunkStreamEnd>(
        [this] { loop_.run(); },
        [&](auto done) {
          stream.start(
              [&](ChunkBatch batch) {
                for (const StreamChunk& chunk : batch.chunks)
                  for (std::uint64_t i = 0; i < chunk.count; ++i)
                    seen.push_back({.number = chunk.number + i, .end = chunk.offset + (i + 1) * chunk.length(), .id = chunk.id});
                held.push_back(std::move(batch));
                if (held.size() > 2) {
                  std::swap(held[random.below(held.size())], held.back());
                  held.pop_back();
                }
              },
              std::move(done));
        });
    held.clear();
    if (writer_.joinable()) writer_.join();
    ASSERT_TRUE(end) << end.error().message();

    const worlds::Cuts cuts = worlds::cuts_by_definition(world.sizes, world.content);
    std::ranges::sort(seen, {}, &Seen::number);
    ASSERT_EQ(seen.size(), cuts.size());
    std::uint64_t start = 0;
    for (std::size_t i = 0; i < cuts.size(); start = cuts[i++]) {
      ASSERT_EQ(seen[i].number, i);
      ASSERT_EQ(seen[i].end, cuts[i]) << i;
      ASSERT_EQ(seen[i].id, chunk_id_of(ConstBytes(world.content).subspan(start, cuts[i] - start), digest)) << i;
    }
    EXPECT_EQ(end->size, world.content.size());
    EXPECT_EQ(end->chunk_count, cuts.size());
    EXPECT_EQ(end->digest, options.digest_stream ? std::optional(chunk_id_of(world.content, digest)) : std::nullopt);
  }
}

}  // namespace
