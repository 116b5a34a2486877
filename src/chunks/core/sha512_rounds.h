// The rounds of SHA-512 over a vector of lanes, whichever instructions a source has for it. The source defines GODWIT_LANES
// before it includes this: every function that uses such instructions has to bear their target, or it can not be inlined where
// they are. V is the source's vector type, `Lanes`, with what is done to it: sum, xor3, rotated, shifted, chosen, majority,
// filled, and load_words, which reads kWordsPerLoad words of each message.
#pragma once

#include <cstddef>
#include <cstdint>

#include "chunks/core/sha512_constants.h"
#include "chunks/core/sha512_lanes.h"

#ifndef GODWIT_LANES
#define GODWIT_LANES static inline
#endif

namespace godwit::chunks {

template <typename V, typename L = typename V::Lanes>
GODWIT_LANES L big_sigma0(L a) {
  return V::xor3(V::template rotated<28>(a), V::template rotated<34>(a), V::template rotated<39>(a));
}
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES L big_sigma1(L e) {
  return V::xor3(V::template rotated<14>(e), V::template rotated<18>(e), V::template rotated<41>(e));
}
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES L small_sigma0(L w) {
  return V::xor3(V::template rotated<1>(w), V::template rotated<8>(w), V::template shifted<7>(w));
}
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES L small_sigma1(L w) {
  return V::xor3(V::template rotated<19>(w), V::template rotated<61>(w), V::template shifted<6>(w));
}

// The roles of the eight words rotate by one from round to round; the caller names them.
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES void round(L a, L b, L c, L& d, L e, L f, L g, L& h, L word, std::size_t t) {
  const L constant = V::filled(kSha512Rounds[t]);
  const L first = V::sum(V::sum(V::sum(h, big_sigma1<V>(e)), V::chosen(e, f, g)), V::sum(constant, word));
  d = V::sum(d, first);
  h = V::sum(first, V::sum(big_sigma0<V>(a), V::majority(a, b, c)));
}

template <typename V, typename L = typename V::Lanes>
GODWIT_LANES void eight_rounds(L s[8], const L words[8], std::size_t t) {
  round<V>(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], words[0], t);
  round<V>(s[7], s[0], s[1], s[2], s[3], s[4], s[5], s[6], words[1], t + 1);
  round<V>(s[6], s[7], s[0], s[1], s[2], s[3], s[4], s[5], words[2], t + 2);
  round<V>(s[5], s[6], s[7], s[0], s[1], s[2], s[3], s[4], words[3], t + 3);
  round<V>(s[4], s[5], s[6], s[7], s[0], s[1], s[2], s[3], words[4], t + 4);
  round<V>(s[3], s[4], s[5], s[6], s[7], s[0], s[1], s[2], words[5], t + 5);
  round<V>(s[2], s[3], s[4], s[5], s[6], s[7], s[0], s[1], words[6], t + 6);
  round<V>(s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[0], words[7], t + 7);
}

// What both functions of sha512_lanes.h do.
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES void sha512_blocks(Sha512Lanes& lanes, const std::byte* const* data, std::size_t blocks) {
  L state[8];
  for (int i = 0; i < 8; ++i) state[i] = V::loaded(lanes.state[i]);
  for (std::size_t block = 0; block < blocks; ++block) {
    L s[8];
    for (int i = 0; i < 8; ++i) s[i] = state[i];
    L w[16];
    for (std::size_t i = 0; i < 16; i += V::kWordsPerLoad) V::load_words(data, block * kSha512BlockBytes + i * 8, w + i);
    eight_rounds<V>(s, w, 0);
    eight_rounds<V>(s, w + 8, 8);
    for (std::size_t t = 16; t < 80; t += 16) {
      for (std::size_t i = 0; i < 16; ++i)
        w[i] = V::sum(V::sum(w[i], small_sigma0<V>(w[(i + 1) % 16])), V::sum(w[(i + 9) % 16], small_sigma1<V>(w[(i + 14) % 16])));
      eight_rounds<V>(s, w, t);
      eight_rounds<V>(s, w + 8, t + 8);
    }
    for (int i = 0; i < 8; ++i) state[i] = V::sum(state[i], s[i]);
  }
  for (int i = 0; i < 8; ++i) V::store(lanes.state[i], state[i]);
}

}  // namespace godwit::chunks
