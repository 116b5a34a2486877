// Any bytes as a stream: in whatever pieces they come, the same frames come out. The first byte says how large the pieces are.
#include <algorithm>

#include "base/check.h"
#include "volume/core/frame_assembler.h"

using namespace godwit;
using namespace godwit::volume;

namespace {

struct Outcome {
  std::vector<Bytes> bodies;
  bool failed = false;
  bool at_boundary = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome run(ConstBytes stream, std::size_t piece_size) {
  Outcome outcome;
  FrameAssembler assembler;
  assembler.set_body_size_max(4096);
  while (!stream.empty() && !outcome.failed) {
    const ConstBytes piece = stream.first(std::min(piece_size, stream.size()));
    stream = stream.subspan(piece.size());
    assembler.feed(piece);
    for (;;) {
      const Result<std::optional<FrameAssembler::Frame>> frame = assembler.next();
      outcome.failed = !frame.has_value();
      if (!frame || !*frame) break;
      GODWIT_CHECK((*frame)->header.body_length == (*frame)->body.size());
      outcome.bodies.push_back(to_bytes((*frame)->body));
    }
  }
  outcome.at_boundary = !outcome.failed && assembler.at_frame_boundary();
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ConstBytes stream(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  GODWIT_CHECK(run(stream, std::size_t{data[0]} + 1) == run(stream, size));
  return 0;
}
