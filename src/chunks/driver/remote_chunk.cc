#include "chunks/driver/remote_chunk.h"

#include <fmt/format.h>

namespace godwit::chunks {

static std::unexpected<Error> mismatch(const ChunkId& id, const ChunkId& is, std::size_t size) {
  return fail(ErrorKind::corrupt, fmt::format("chunk {} is damaged: its {} bytes hash to {}", id.hex(), size, is.hex()));
}

ChunkVerifier::ChunkVerifier()
    : decoders_([] { return ChunkDecoder(); }),
      encoders_([] { return std::move(*ChunkEncoder::of(Compression::zstd, std::nullopt)); }) {}

Result<Bytes> ChunkVerifier::unpacked(ConstBytes stored, bool compressed, std::uint64_t size_max) {
  if (!compressed) {
    if (stored.size() > size_max) return fail(ErrorKind::limit, fmt::format("{} bytes, {} at most", stored.size(), size_max));
    return to_bytes(stored);
  }
  return decoders_.with([&](ChunkDecoder& decoder) { return decoder.decode_up_to(stored, size_max); });
}

Result<Bytes> ChunkVerifier::open(const ChunkId& id, Digest digest, ConstBytes stored, bool compressed, std::uint64_t size_max) {
  Result<Bytes> data = unpacked(stored, compressed, size_max);
  if (!data) return fail(ErrorKind::corrupt, fmt::format("chunk {} is damaged: {}", id.hex(), data.error().message()));
  if (const ChunkId is = chunk_id_of(*data, digest); is != id) return mismatch(id, is, data->size());
  return data;
}

Result<Bytes> ChunkVerifier::open(const ChunkId& id, ConstBytes stored, bool compressed, std::uint64_t size_max) {
  Result<Bytes> data = unpacked(stored, compressed, size_max);
  if (!data) return fail(ErrorKind::corrupt, fmt::format("chunk {} is damaged: {}", id.hex(), data.error().message()));
  const Digest likely = last_.load(std::memory_order_relaxed);
  const ChunkId is = chunk_id_of(*data, likely);
  if (is == id) return data;
  if (chunk_id_of(*data, other_than(likely)) != id) return mismatch(id, is, data->size());
  last_.store(other_than(likely), std::memory_order_relaxed);
  return data;
}

Result<Bytes> ChunkVerifier::compress(ConstBytes data) {
  return encoders_.with([&](ChunkEncoder& encoder) -> Result<Bytes> {
    Bytes out;
    if (Result<void> encoded = encoder.encode(data, out); !encoded) return fail(std::move(encoded).error());
    return out;
  });
}

}  // namespace godwit::chunks
