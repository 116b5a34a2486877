// Any bytes as a stream of frames: what decodes encodes to the same bytes, and any split gives the same frames.
#include "base/check.h"
#include "chunks/core/remote_frame.h"

using namespace godwit;
using namespace godwit::chunks;

// The frames of `stream`, fed in pieces of `step` bytes; how it ended.
static Bytes frames_of(ConstBytes stream, std::size_t step, bool& failed) {
  wire::Assembler assembler;
  Bytes joined;
  failed = false;
  for (std::size_t at = 0; at < stream.size() && !failed; at += step) {
    assembler.feed(stream.subspan(at, std::min(step, stream.size() - at)));
    while (true) {
      const Result<std::optional<ConstBytes>> frame = assembler.next();
      if (!frame) failed = true;
      if (!frame || !*frame) break;
      const Result<wire::Message> message = wire::decode_message(**frame);
      if (message) {
        Bytes again;
        const auto* abort = std::get_if<wire::Abort>(&*message);
        wire::encode_message(*message, again);
        // Only our own aborts are cut to size.
        GODWIT_CHECK(std::ranges::equal(again, **frame) || (abort != nullptr && abort->text.size() > wire::kAbortTextSizeMax));
      }
      append(joined, **frame);
    }
  }
  return joined;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes stream(reinterpret_cast<const std::byte*>(data), size);
  if (stream.empty()) return 0;
  bool whole_failed = false, split_failed = false;
  const Bytes whole = frames_of(stream, stream.size(), whole_failed);
  const Bytes split = frames_of(stream, 7, split_failed);
  GODWIT_CHECK(whole == split && whole_failed == split_failed);
  return 0;
}
