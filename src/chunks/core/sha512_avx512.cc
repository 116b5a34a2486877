// Eight lanes of SHA-512 in 512-bit registers, which also have rotations and functions of three operands.
#include "chunks/core/sha512_lanes.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define GODWIT_LANES [[gnu::target("avx512f,avx512bw"), gnu::always_inline]] static inline
#include "chunks/core/sha512_rounds.h"

namespace godwit::chunks {

namespace {

struct Vector {
  using Lanes = __m512i;
  static constexpr std::size_t kWordsPerLoad = 8;

  GODWIT_LANES Lanes sum(Lanes a, Lanes b) { return _mm512_add_epi64(a, b); }
  GODWIT_LANES Lanes xor2(Lanes a, Lanes b) { return _mm512_xor_epi64(a, b); }
  GODWIT_LANES Lanes xor3(Lanes a, Lanes b, Lanes c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  template <int kBits>
  GODWIT_LANES Lanes rotated(Lanes v) {
    return _mm512_ror_epi64(v, kBits);
  }
  GODWIT_LANES Lanes chosen(Lanes e, Lanes f, Lanes g) { return _mm512_ternarylogic_epi64(e, f, g, 0xca); }
  GODWIT_LANES Lanes majority(Lanes a, Lanes b, Lanes c, Lanes&) { return _mm512_ternarylogic_epi64(a, b, c, 0xe8); }
  template <int kBits>
  GODWIT_LANES Lanes shifted(Lanes v) {
    return _mm512_srli_epi64(v, kBits);
  }
  GODWIT_LANES Lanes filled(std::uint64_t word) { return _mm512_set1_epi64(static_cast<long long>(word)); }
  GODWIT_LANES Lanes loaded(const std::uint64_t* words) { return _mm512_load_si512(words); }
  GODWIT_LANES void store(std::uint64_t* words, Lanes v) { _mm512_store_si512(words, v); }

  // Eight words of each of eight messages become eight vectors, one per word.
  GODWIT_LANES void load_words(const std::byte* const data[8], std::size_t offset, Lanes words[8]) {
    const Lanes swap = _mm512_broadcast_i32x4(_mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
    Lanes rows[8];
    for (int lane = 0; lane < 8; ++lane) rows[lane] = _mm512_shuffle_epi8(_mm512_loadu_si512(data[lane] + offset), swap);
    // Words of two messages side by side: in low[i] the even words of messages 2i and 2i + 1, in high[i] the odd ones.
    Lanes low[4];
    Lanes high[4];
    for (int i = 0; i < 4; ++i) {
      low[i] = _mm512_unpacklo_epi64(rows[2 * i], rows[2 * i + 1]);
      high[i] = _mm512_unpackhi_epi64(rows[2 * i], rows[2 * i + 1]);
    }
    // Then quarters of 128 bits are dealt out: quarter q holds words 2q and 2q + 1.
    for (int odd = 0; odd < 2; ++odd) {
      const Lanes* const v = odd == 0 ? low : high;
      const Lanes first01 = _mm512_shuffle_i64x2(v[0], v[1], 0x44);  // quarters 0, 1 of both
      const Lanes last01 = _mm512_shuffle_i64x2(v[0], v[1], 0xee);   // quarters 2, 3 of both
      const Lanes first23 = _mm512_shuffle_i64x2(v[2], v[3], 0x44);
      const Lanes last23 = _mm512_shuffle_i64x2(v[2], v[3], 0xee);
      words[0 + odd] = _mm512_shuffle_i64x2(first01, first23, 0x88);
      words[2 + odd] = _mm512_shuffle_i64x2(first01, first23, 0xdd);
      words[4 + odd] = _mm512_shuffle_i64x2(last01, last23, 0x88);
      words[6 + odd] = _mm512_shuffle_i64x2(last01, last23, 0xdd);
    }
  }
};

}  // namespace

[[gnu::target("avx512f,avx512bw")]] void sha512_blocks_avx512(Sha512Lanes& lanes, const std::byte* const data[8],
                                                              std::size_t blocks) {
  sha512_blocks<Vector>(lanes, data, blocks);
}

}  // namespace godwit::chunks

#else

namespace godwit::chunks {
void sha512_blocks_avx512(Sha512Lanes&, const std::byte* const*, std::size_t) {}
}  // namespace godwit::chunks

#endif
