// The compression function of SHA-512 over several messages in step, a message per lane of a vector.
#pragma once

#include <cstddef>
#include <cstdint>

namespace godwit::chunks {

inline constexpr std::size_t kSha512BlockBytes = 128;
inline constexpr std::size_t kSha512LanesMax = 8;

// state[i][lane] is word i of a lane's state. Every lane takes `blocks` blocks of 128 bytes from its pointer on.
struct Sha512Lanes {
  alignas(64) std::uint64_t state[8][kSha512LanesMax];
};

// Only where the processor has AVX2: lanes 0 to 3.
void sha512_blocks_avx2(Sha512Lanes& lanes, const std::byte* const data[4], std::size_t blocks);
// Only where the processor has AVX-512F and AVX-512BW: lanes 0 to 7.
void sha512_blocks_avx512(Sha512Lanes& lanes, const std::byte* const data[8], std::size_t blocks);

}  // namespace godwit::chunks
