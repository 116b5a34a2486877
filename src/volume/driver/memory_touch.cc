#include "volume/driver/memory_touch.h"

#include <algorithm>
#include <utility>

#include "store/memory_device.h"

namespace godwit::volume {

MemoryTouch::MemoryTouch(MutableBytes memory, net::Workers& workers, std::function<void()> begun, std::function<void()> ended)
    : memory_(memory),
      workers_(workers),
      begun_(std::move(begun)),
      ended_(std::move(ended)),
      filled_((memory.size() + kPieceBytes - 1) / kPieceBytes),
      touched_(filled_.size()) {}

void MemoryTouch::note_placed(std::uint64_t offset) {
  const std::uint64_t piece = offset / kPieceBytes;
  if (filled_.test(piece)) return;
  filled_.set(piece);
  // Blocks come in rising order, or in falling order where all of them were written lately.
  if (piece > 0 && filled_.test(piece - 1))
    for (std::uint64_t p = piece; p < std::min(piece + 1 + kPiecesAhead, filled_.size()); ++p) touch(p);
  if (piece + 1 < filled_.size() && filled_.test(piece + 1))
    for (std::uint64_t p = piece + 1; p-- > piece - std::min(piece, kPiecesAhead);) touch(p);
}

void MemoryTouch::touch(std::uint64_t piece) {
  if (touched_.test(piece)) return;
  touched_.set(piece);
  const std::uint64_t begin = piece * kPieceBytes;
  const MutableBytes range = memory_.subspan(begin, std::min<std::uint64_t>(kPieceBytes, memory_.size() - begin));
  begun_();
  workers_.run([range] { store::touch_ahead(range); }, [ended = ended_] { ended(); });
}

}  // namespace godwit::volume
