// The ids of many chunks at once. One SHA-512/256 is a serial chain that leaves most of a processor idle; several messages, each
// in a lane of a vector, fill it. SHA-256 goes through OpenSSL, which has the processor's own instructions for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks {

enum class DigestVariant : std::uint8_t {
  openssl,  // one after the other
  avx2,     // four lanes
  avx512,   // eight lanes
};

std::string_view name_of(DigestVariant variant);
// Those that this processor can run, the best one last.
std::span<const DigestVariant> digest_variants();
// How many chunks to give at once so that the lanes stay full, whatever the chunks' sizes.
inline constexpr std::size_t kDigestBatch = 16;

// out[i] is the id of chunks[i]; both have the same length. Thread-safe.
void chunk_ids_of(std::span<const ConstBytes> chunks, Digest digest, std::span<ChunkId> out);
// The same by one of digest_variants(): for tests and benchmarks.
void chunk_ids_of(std::span<const ConstBytes> chunks, Digest digest, std::span<ChunkId> out, DigestVariant variant);

}  // namespace godwit::chunks
