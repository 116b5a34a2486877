// Any bytes as an encoder cache: what is accepted is written back as it came.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "chunks/core/encoder_cache.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const Result<EncoderCache> cache = decode_encoder_cache(bytes); cache)
    GODWIT_CHECK(std::ranges::equal(encode_encoder_cache(*cache), bytes));
  return 0;
}
