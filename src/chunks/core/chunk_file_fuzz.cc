// Any bytes as a compressed chunk: never more than the bound comes out, both ways of decoding agree; and any bytes as a chunk to
// be compressed, which must come back.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "chunks/core/chunk_file.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kBound = 1024 * 1024;
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  ChunkDecoder decoder;
  Bytes into(kBound);
  const Result<std::size_t> length = decoder.decode(bytes, into);
  const Result<Bytes> grown = decoder.decode_up_to(bytes, kBound);
  GODWIT_CHECK(length.has_value() == grown.has_value());
  if (length) GODWIT_CHECK(*length >= 1 && std::ranges::equal(ConstBytes(into).first(*length), *grown));
  if (size < 2) return 0;
  constexpr Compression kCompressions[] = {Compression::zstd, Compression::xz, Compression::gzip};
  const Compression compression = kCompressions[data[0] % 3];
  // The lowest levels: xz's higher ones take seconds for their tables.
  Result<ChunkEncoder> encoder = ChunkEncoder::of(compression, 1);
  Bytes file;
  GODWIT_CHECK(encoder->encode(bytes.subspan(1), file).has_value());
  const Result<Bytes> back = decoder.decode_up_to(file, size - 1);
  GODWIT_CHECK(back.has_value() && std::ranges::equal(*back, bytes.subspan(1)));
  return 0;
}
