// Any bytes as an archive, whole and in two pieces: both ways give the same steps, and what is taken is written back the same.
#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"
#include "chunks/core/archive_decoder.h"

using namespace godwit;
using namespace godwit::chunks;

// What the decoder said, in a form that can be compared; and the heads of nodes as they would be written.
static std::string told(ConstBytes bytes, std::size_t piece) {
  ArchiveDecoder decoder;
  std::string story;
  ConstBytes input;
  for (;;) {
    const Result<ArchiveDecoder::Step> step = decoder.next(input);
    if (!step) return story + "error " + step.error().message();
    switch (*step) {
      case ArchiveDecoder::Step::need_input:
        GODWIT_CHECK(input.empty());
        if (bytes.empty()) return story + "ended early";
        input = bytes.first(std::min(piece, bytes.size()));
        bytes = bytes.subspan(input.size());
        break;
      case ArchiveDecoder::Step::enter: {
        Bytes head;
        append_node_head(head, decoder.node());
        // desync's attributes are taken for what they mean.
        if (decoder.features() != 0xb000000010001f22) GODWIT_CHECK(std::ranges::equal(head, decoder.node_head()));
        GODWIT_CHECK(decoder.name().empty() || check_file_name(decoder.name()));
        story += "enter " + std::string(decoder.name()) + ";";
        break;
      }
      case ArchiveDecoder::Step::payload: story += as_text(decoder.payload()); break;
      case ArchiveDecoder::Step::leave: story += "leave;"; break;
      case ArchiveDecoder::Step::end: return story + (decoder.finish(input) && bytes.empty() ? "end" : "more");
    }
  }
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  const std::string whole = told(bytes, size + 1);
  GODWIT_CHECK(told(bytes, 1) == whole);
  GODWIT_CHECK(told(bytes, size / 2 + 1) == whole);
  return 0;
}
