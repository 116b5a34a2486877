// Has the pages of a volume in memory made by a worker thread shortly before the source's blocks are received into them: a first
// touch of a page costs more than filling it (bench/run move). Looks ahead only where data keep coming in one direction, so that
// a sparse volume stays sparse but for a few pieces.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bitset.h"
#include "base/bytes.h"
#include "net/worker_pool.h"

namespace godwit::volume {

class MemoryTouch {
 public:
  static constexpr std::uint64_t kPieceBytes = 1 << 20;
  static constexpr std::uint64_t kPiecesAhead = 4;

  // `memory` is the whole volume's. `begun` and `ended` frame each use of it on a worker; all outlive the last `ended`.
  MemoryTouch(MutableBytes memory, net::Workers& workers, std::function<void()> begun, std::function<void()> ended);

  // Data are about to be received at this offset.
  void note_placed(std::uint64_t offset);

 private:
  void touch(std::uint64_t piece);

  MutableBytes memory_;
  net::Workers& workers_;
  std::function<void()> begun_;
  std::function<void()> ended_;
  Bitset filled_;   // pieces that data have come for
  Bitset touched_;  // pieces a worker has been asked for
};

}  // namespace godwit::volume
