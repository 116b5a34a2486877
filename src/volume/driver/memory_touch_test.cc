#include "volume/driver/memory_touch.h"

#include <gtest/gtest.h>

#include <vector>

namespace godwit::volume {
namespace {

constexpr std::uint64_t kPiece = MemoryTouch::kPieceBytes;

// Does the work at once and counts it.
class CountingWorkers final : public net::Workers {
 public:
  void run(net::Task work, net::Task after) override {
    ++runs;
    work();
    after();
  }
  std::size_t runs = 0;
};

struct TouchedMemory {
  explicit TouchedMemory(std::uint64_t pieces) : bytes(pieces * kPiece) {}
  void receive(std::uint64_t piece) { touch.note_placed(piece * kPiece + 65536); }

  Bytes bytes;
  CountingWorkers workers;
  std::size_t begun = 0;
  std::size_t ended = 0;
  MemoryTouch touch{bytes, workers, [this] { ++begun; }, [this] { ++ended; }};
};

TEST(MemoryTouch, ScatteredDataTouchNothingAhead) {
  TouchedMemory memory(20);
  for (std::uint64_t piece : {0, 5, 10, 15, 19}) memory.receive(piece);
  EXPECT_EQ(memory.workers.runs, 0u);
}

TEST(MemoryTouch, DataThatKeepComingAreTouchedAheadOfThemOnce) {
  struct Row {
    const char* name;
    std::vector<std::uint64_t> pieces;
    std::size_t touched;
  };
  const Row rows[] = {
      {"rising", {3, 4}, 1 + MemoryTouch::kPiecesAhead},
      {"rising on", {3, 4, 5, 6}, 3 + MemoryTouch::kPiecesAhead},
      {"rising to the end", {17, 18, 19}, 2},
      {"falling", {16, 15}, 1 + MemoryTouch::kPiecesAhead},
      {"falling to the beginning", {2, 1, 0}, 2},
      {"the same piece again", {3, 4, 4, 3, 4}, 1 + MemoryTouch::kPiecesAhead},
  };
  for (const Row& row : rows) {
    TouchedMemory memory(20);
    for (std::uint64_t piece : row.pieces) memory.receive(piece);
    EXPECT_EQ(memory.workers.runs, row.touched) << row.name;
    EXPECT_EQ(memory.begun, row.touched) << row.name;
    EXPECT_EQ(memory.ended, row.touched) << row.name;
  }
}

TEST(MemoryTouch, AShortLastPieceIsTouchedWithinItsBounds) {
  Bytes bytes(2 * kPiece + 5, std::byte{9});
  CountingWorkers workers;
  MemoryTouch touch(bytes, workers, [] {}, [] {});
  touch.note_placed(0);
  touch.note_placed(kPiece);
  EXPECT_EQ(workers.runs, 2u);
  EXPECT_EQ(bytes, Bytes(2 * kPiece + 5, std::byte{9}));
}

}  // namespace
}  // namespace godwit::volume
