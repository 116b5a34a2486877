// Any bytes as an index: whole and in two pieces it says the same, and what is accepted is written back as it came.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "chunks/core/index.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  const Result<Index> whole = decode_index(bytes);
  const std::size_t split = size == 0 ? 0 : data[size - 1] % size;
  IndexDecoder decoder;
  std::vector<IndexEntry> entries;
  const bool fed = decoder.feed(bytes.first(split), entries) && decoder.feed(bytes.subspan(split), entries);
  const bool accepted = fed && decoder.finish().has_value();
  GODWIT_CHECK(accepted == whole.has_value());
  if (!whole) return 0;
  GODWIT_CHECK(entries == whole->entries && decoder.blob_size() == whole->blob_size());
  GODWIT_CHECK(std::ranges::equal(encode_index(*whole), bytes));
  if (whole->blob_size() > 0) {
    GODWIT_CHECK(whole->chunk_at(0) == 0);
    GODWIT_CHECK(whole->chunk_at(whole->blob_size() - 1) == whole->entries.size() - 1);
  }
  return 0;
}
