// Eight lanes of SHA-512 in 512-bit registers, which also have rotations and functions of three operands.
#include "chunks/core/sha512_lanes.h"

#include "chunks/core/sha512_constants.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define GODWIT_LANES [[gnu::target("avx512f,avx512bw"), gnu::always_inline]] inline

namespace godwit::chunks {

namespace {

using Lanes = __m512i;

GODWIT_LANES Lanes sum(Lanes a, Lanes b) {
  return _mm512_add_epi64(a, b);
}
GODWIT_LANES Lanes xor3(Lanes a, Lanes b, Lanes c) {
  return _mm512_ternarylogic_epi64(a, b, c, 0x96);
}
template <int kBits>
GODWIT_LANES Lanes rotated(Lanes v) {
  return _mm512_ror_epi64(v, kBits);
}
GODWIT_LANES Lanes chosen(Lanes e, Lanes f, Lanes g) {
  return _mm512_ternarylogic_epi64(e, f, g, 0xca);
}
GODWIT_LANES Lanes majority(Lanes a, Lanes b, Lanes c) {
  return _mm512_ternarylogic_epi64(a, b, c, 0xe8);
}
GODWIT_LANES Lanes big_sigma0(Lanes a) {
  return xor3(rotated<28>(a), rotated<34>(a), rotated<39>(a));
}
GODWIT_LANES Lanes big_sigma1(Lanes e) {
  return xor3(rotated<14>(e), rotated<18>(e), rotated<41>(e));
}
GODWIT_LANES Lanes small_sigma0(Lanes w) {
  return xor3(rotated<1>(w), rotated<8>(w), _mm512_srli_epi64(w, 7));
}
GODWIT_LANES Lanes small_sigma1(Lanes w) {
  return xor3(rotated<19>(w), rotated<61>(w), _mm512_srli_epi64(w, 6));
}

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

// The roles of the eight words rotate by one from round to round; the caller names them.
GODWIT_LANES void round(Lanes a, Lanes b, Lanes c, Lanes& d, Lanes e, Lanes f, Lanes g, Lanes& h, Lanes word, std::size_t t) {
  const Lanes constant = _mm512_set1_epi64(static_cast<long long>(kSha512Rounds[t]));
  const Lanes first = sum(sum(sum(h, big_sigma1(e)), chosen(e, f, g)), sum(constant, word));
  d = sum(d, first);
  h = sum(first, sum(big_sigma0(a), majority(a, b, c)));
}

GODWIT_LANES void eight_rounds(Lanes s[8], const Lanes words[8], std::size_t t) {
  round(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], words[0], t);
  round(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], words[1], t + 1);
  round(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], words[2], t + 2);
  round(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], words[3], t + 3);
  round(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], words[4], t + 4);
  round(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], words[5], t + 5);
  round(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], words[6], t + 6);
  round(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], words[7], t + 7);
}

}  // namespace

[[gnu::target("avx512f,avx512bw")]] void sha512_blocks_avx512(Sha512Lanes& lanes, const std::byte* const data[8],
                                                              std::size_t blocks) {
  Lanes state[8];
  for (int i = 0; i < 8; ++i) state[i] = _mm512_load_si512(lanes.state[i]);
  for (std::size_t block = 0; block < blocks; ++block) {
    Lanes s[8];
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    Lanes w[16];
    for (std::size_t i = 0; i < 2; ++i) load_words(data, block * kSha512BlockBytes + i * 64, w + i * 8);
    eight_rounds(s, w, 0);
    eight_rounds(s, w + 8, 8);
    for (std::size_t t = 16; t < 80; t += 16) {
      for (std::size_t i = 0; i < 16; ++i)
        w[i] = sum(sum(w[i], small_sigma0(w[(i + 1) % 16])), sum(w[(i + 9) % 16], small_sigma1(w[(i + 14) % 16])));
      eight_rounds(s, w, t);
      eight_rounds(s, w + 8, t + 8);
    }
    for (int i = 0; i < 8; ++i) state[i] = sum(state[i], s[i]);
  }
  for (int i = 0; i < 8; ++i) _mm512_store_si512(lanes.state[i], state[i]);
}

}  // namespace godwit::chunks

#else

namespace godwit::chunks {
void sha512_blocks_avx512(Sha512Lanes&, const std::byte* const*, std::size_t) {}
}  // namespace godwit::chunks

#endif
