// Four lanes of SHA-512 in 256-bit registers.
#include "chunks/core/sha512_lanes.h"

#include "chunks/core/sha512_constants.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define GODWIT_LANES [[gnu::target("avx2"), gnu::always_inline]] inline

namespace godwit::chunks {

namespace {

using Lanes = __m256i;

GODWIT_LANES Lanes sum(Lanes a, Lanes b) {
  return _mm256_add_epi64(a, b);
}
GODWIT_LANES Lanes xor3(Lanes a, Lanes b, Lanes c) {
  return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}
template <int kBits>
GODWIT_LANES Lanes rotated(Lanes v) {
  return _mm256_or_si256(_mm256_srli_epi64(v, kBits), _mm256_slli_epi64(v, 64 - kBits));
}
GODWIT_LANES Lanes chosen(Lanes e, Lanes f, Lanes g) {
  return _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
}
GODWIT_LANES Lanes majority(Lanes a, Lanes b, Lanes c) {
  return _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)));
}
GODWIT_LANES Lanes big_sigma0(Lanes a) {
  return xor3(rotated<28>(a), rotated<34>(a), rotated<39>(a));
}
GODWIT_LANES Lanes big_sigma1(Lanes e) {
  return xor3(rotated<14>(e), rotated<18>(e), rotated<41>(e));
}
GODWIT_LANES Lanes small_sigma0(Lanes w) {
  return xor3(rotated<1>(w), rotated<8>(w), _mm256_srli_epi64(w, 7));
}
GODWIT_LANES Lanes small_sigma1(Lanes w) {
  return xor3(rotated<19>(w), rotated<61>(w), _mm256_srli_epi64(w, 6));
}

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

// The roles of the eight words rotate by one from round to round; the caller names them.
GODWIT_LANES void round(Lanes a, Lanes b, Lanes c, Lanes& d, Lanes e, Lanes f, Lanes g, Lanes& h, Lanes word, std::size_t t) {
  const Lanes constant = _mm256_set1_epi64x(static_cast<long long>(kSha512Rounds[t]));
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

[[gnu::target("avx2")]] void sha512_blocks_avx2(Sha512Lanes& lanes, const std::byte* const data[4], std::size_t blocks) {
  Lanes state[8];
  for (int i = 0; i < 8; ++i) state[i] = _mm256_load_si256(reinterpret_cast<const Lanes*>(lanes.state[i]));
  for (std::size_t block = 0; block < blocks; ++block) {
    Lanes s[8];
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    Lanes w[16];
    for (std::size_t i = 0; i < 4; ++i) load_words(data, block * kSha512BlockBytes + i * 32, w + i * 4);
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
  for (int i = 0; i < 8; ++i) _mm256_store_si256(reinterpret_cast<Lanes*>(lanes.state[i]), state[i]);
}

}  // namespace godwit::chunks

#else

namespace godwit::chunks {
void sha512_blocks_avx2(Sha512Lanes&, const std::byte* const*, std::size_t) {}
}  // namespace godwit::chunks

#endif
