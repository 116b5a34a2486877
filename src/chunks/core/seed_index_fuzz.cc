// Any bytes as a seed index: what is accepted is written back as it came.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "chunks/core/seed_index.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const Result<SeedIndex> index = decode_seed_index(bytes); index)
    GODWIT_CHECK(std::ranges::equal(encode_seed_index(*index), bytes));
  return 0;
}
