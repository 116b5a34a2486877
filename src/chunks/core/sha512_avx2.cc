// Four lanes of SHA-512 in 256-bit registers.
#include "chunks/core/sha512_lanes.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define GODWIT_LANES [[gnu::target("avx2"), gnu::always_inline]] static inline
#include "chunks/core/sha512_rounds.h"

namespace godwit::chunks {

namespace {

struct Vector {
  using Lanes = __m256i;
  static constexpr std::size_t kWordsPerLoad = 4;

  GODWIT_LANES Lanes sum(Lanes a, Lanes b) { return _mm256_add_epi64(a, b); }
  GODWIT_LANES Lanes xor2(Lanes a, Lanes b) { return _mm256_xor_si256(a, b); }
  GODWIT_LANES Lanes xor3(Lanes a, Lanes b, Lanes c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  template <int kBits>
  GODWIT_LANES Lanes rotated(Lanes v) {
    if constexpr (kBits == 8)  // whole bytes: one instruction
      return _mm256_shuffle_epi8(v, _mm256_setr_epi8(1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15, 8, 1, 2, 3, 4, 5, 6, 7, 0,
                                                     9, 10, 11, 12, 13, 14, 15, 8));
    else
      return _mm256_xor_si256(_mm256_srli_epi64(v, kBits), _mm256_slli_epi64(v, 64 - kBits));
  }
  GODWIT_LANES Lanes chosen(Lanes e, Lanes f, Lanes g) {
    return _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
  }
  GODWIT_LANES Lanes majority(Lanes a, Lanes b, Lanes, Lanes& b_xor_c) {
    const Lanes a_xor_b = _mm256_xor_si256(a, b);
    const Lanes result = _mm256_xor_si256(b, _mm256_and_si256(a_xor_b, b_xor_c));
    b_xor_c = a_xor_b;
    return result;
  }
  template <int kBits>
  GODWIT_LANES Lanes shifted(Lanes v) {
    return _mm256_srli_epi64(v, kBits);
  }
  GODWIT_LANES Lanes filled(std::uint64_t word) { return _mm256_set1_epi64x(static_cast<long long>(word)); }
  GODWIT_LANES Lanes loaded(const std::uint64_t* words) { return _mm256_load_si256(reinterpret_cast<const Lanes*>(words)); }
  GODWIT_LANES void store(std::uint64_t* words, Lanes v) { _mm256_store_si256(reinterpret_cast<Lanes*>(words), v); }

  // Four words of each of four messages become four vectors, one per word.
  GODWIT_LANES void load_words(const std::byte* const data[4], std::size_t offset, Lanes words[4]) {
    const Lanes swap = _mm256_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13,
                                        12, 11, 10, 9, 8);
    Lanes rows[4];
    for (int lane = 0; lane < 4; ++lane)
      rows[lane] = _mm256_shuffle_epi8(_mm256_loadu_si256(reinterpret_cast<const Lanes*>(data[lane] + offset)), swap);
    const Lanes low01 = _mm256_unpacklo_epi64(rows[0], rows[1]);
    const Lanes high01 = _mm256_unpackhi_epi64(rows[0], rows[1]);
    const Lanes low23 = _mm256_unpacklo_epi64(rows[2], rows[3]);
    const Lanes high23 = _mm256_unpackhi_epi64(rows[2], rows[3]);
    words[0] = _mm256_permute2x128_si256(low01, low23, 0x20);
    words[1] = _mm256_permute2x128_si256(high01, high23, 0x20);
    words[2] = _mm256_permute2x128_si256(low01, low23, 0x31);
    words[3] = _mm256_permute2x128_si256(high01, high23, 0x31);
  }
};

}  // namespace

[[gnu::target("avx2")]] void sha512_blocks_avx2(Sha512Lanes& lanes, const std::byte* const data[4], std::size_t blocks) {
  sha512_blocks<Vector>(lanes, data, blocks);
}

}  // namespace godwit::chunks

#else

namespace godwit::chunks {
void sha512_blocks_avx2(Sha512Lanes&, const std::byte* const*, std::size_t) {}
}  // namespace godwit::chunks

#endif
