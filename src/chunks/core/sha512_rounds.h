// The rounds of SHA-512 over a vector of lanes, whichever instructions a source has for it. The source defines GODWIT_LANES
// before it includes this: every function that uses such instructions has to bear their target, or it can not be inlined where
// they are. V is the source's vector type, `Lanes`, with what is done to it: sum, xor2, xor3, rotated, shifted, chosen,
// majority (given b ^ c, which it makes a ^ b), filled, and load_words, which reads kWordsPerLoad words of each message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

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

// The words of the message for the sixteen rounds to come, one at a time.
template <typename V, std::size_t kAt, typename L = typename V::Lanes>
GODWIT_LANES void expand(L w[16]) {
  w[kAt] =
      V::sum(V::sum(w[kAt], small_sigma0<V>(w[(kAt + 1) % 16])), V::sum(w[(kAt + 9) % 16], small_sigma1<V>(w[(kAt + 14) % 16])));
}

// Round `t` + kAt. The roles of the eight words rotate by one from round to round: a word's place is its role less kAt. The word
// it needs is made right before: the two do not wait for each other, and fewer registers are held than if all were made at once.
// `b_xor_c` goes from round to round, since a and b of one are b and c of the next.
template <typename V, bool kExpands, std::size_t kAt, typename L = typename V::Lanes>
GODWIT_LANES void round(L s[8], L w[16], L& b_xor_c, std::size_t t) {
  if constexpr (kExpands) expand<V, kAt>(w);
  constexpr auto place = [](std::size_t role) { return (role + 16 - kAt) % 8; };
  const L a = s[place(0)];
  const L e = s[place(4)];
  const L input = V::sum(s[place(7)], V::sum(w[kAt], V::filled(kSha512Rounds[t + kAt])));
  const L first = V::sum(V::sum(input, V::chosen(e, s[place(5)], s[place(6)])), big_sigma1<V>(e));
  s[place(3)] = V::sum(s[place(3)], first);
  s[place(7)] = V::sum(first, V::sum(big_sigma0<V>(a), V::majority(a, s[place(1)], s[place(2)], b_xor_c)));
}

template <typename V, bool kExpands, typename L, std::size_t... kAt>
GODWIT_LANES void sixteen_rounds(L s[8], L w[16], L& b_xor_c, std::size_t t, std::index_sequence<kAt...>) {
  (round<V, kExpands, kAt>(s, w, b_xor_c, t), ...);
}

// Without a loop, as everything here that names elements of an array: only then do they stay in registers.
template <typename V, typename L, std::size_t... kAt>
GODWIT_LANES void add_words(L into[8], const L s[8], std::index_sequence<kAt...>) {
  ((into[kAt] = V::sum(into[kAt], s[kAt])), ...);
}

// What both functions of sha512_lanes.h do.
template <typename V, typename L = typename V::Lanes>
GODWIT_LANES void sha512_blocks(Sha512Lanes& lanes, const std::byte* const* data, std::size_t blocks) {
  constexpr auto each = std::make_index_sequence<16>();
  L state[8];
  for (int i = 0; i < 8; ++i) state[i] = V::loaded(lanes.state[i]);
  for (std::size_t block = 0; block < blocks; ++block) {
    L s[8] = {state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]};
    L w[16];
    for (std::size_t i = 0; i < 16; i += V::kWordsPerLoad) V::load_words(data, block * kSha512BlockBytes + i * 8, w + i);
    L b_xor_c = V::xor2(s[1], s[2]);
    sixteen_rounds<V, false>(s, w, b_xor_c, 0, each);
    for (std::size_t t = 16; t < 80; t += 16) sixteen_rounds<V, true>(s, w, b_xor_c, t, each);
    add_words<V>(state, s, std::make_index_sequence<8>());
  }
  for (int i = 0; i < 8; ++i) V::store(lanes.state[i], state[i]);
}

}  // namespace godwit::chunks
