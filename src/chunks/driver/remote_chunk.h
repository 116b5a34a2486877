// A chunk as it travels: whether the bytes are what the id says, where the id's digest may not be known. Source: casync.md 2.4
// (6), 3.5.
#pragma once

#include <atomic>
#include <memory>

#include "chunks/core/chunk_file.h"
#include "chunks/core/chunk_id.h"
#include "chunks/driver/lender.h"

namespace godwit::chunks {

// Thread-safe. Remembers which digest fitted last, for ids of which nobody has said it.
class ChunkVerifier {
 public:
  ChunkVerifier();
  // The chunk's own bytes. ErrorKind::corrupt where `stored` is damaged or another chunk, ErrorKind::limit past `size_max`.
  Result<Bytes> open(const ChunkId& id, ConstBytes stored, bool compressed, std::uint64_t size_max = kChunkBytesMax);
  // The same where the digest is known.
  Result<Bytes> open(const ChunkId& id, Digest digest, ConstBytes stored, bool compressed, std::uint64_t size_max);
  // As casync stores it.
  Result<Bytes> compress(ConstBytes data);

 private:
  Result<Bytes> unpacked(ConstBytes stored, bool compressed, std::uint64_t size_max);

  Lender<ChunkDecoder> decoders_;
  Lender<ChunkEncoder> encoders_;
  std::atomic<Digest> last_ = Digest::sha512_256;
};

}  // namespace godwit::chunks
