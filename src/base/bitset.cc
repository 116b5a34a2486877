#include "base/bitset.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace godwit {

static constexpr std::uint64_t kAll = ~std::uint64_t{0};

// Calls f(word index, mask of the range's bits in it) for every word that [first, last) touches; stops when f says false.
template <class F>
static bool for_each_word(std::uint64_t first, std::uint64_t last, F f) {
  if (first >= last) return true;
  const std::uint64_t first_word = first / 64, last_word = (last - 1) / 64;
  for (std::uint64_t w = first_word; w <= last_word; ++w) {
    std::uint64_t mask = kAll;
    if (w == first_word) mask &= kAll << (first % 64);
    if (w == last_word) mask &= kAll >> (63 - (last - 1) % 64);
    if (!f(w, mask)) return false;
  }
  return true;
}

void Bitset::set_range(std::uint64_t first, std::uint64_t last) {
  GODWIT_CHECK(last <= size_);
  for_each_word(first, last, [&](std::uint64_t w, std::uint64_t mask) {
    words_[w] |= mask;
    return true;
  });
}

void Bitset::clear_range(std::uint64_t first, std::uint64_t last) {
  GODWIT_CHECK(last <= size_);
  for_each_word(first, last, [&](std::uint64_t w, std::uint64_t mask) {
    words_[w] &= ~mask;
    return true;
  });
}

bool Bitset::all_in(std::uint64_t first, std::uint64_t last) const {
  return for_each_word(first, last, [&](std::uint64_t w, std::uint64_t mask) { return (words_[w] & mask) == mask; });
}

bool Bitset::any_in(std::uint64_t first, std::uint64_t last) const {
  return !for_each_word(first, last, [&](std::uint64_t w, std::uint64_t mask) { return (words_[w] & mask) == 0; });
}

std::uint64_t Bitset::count() const {
  std::uint64_t n = 0;
  for (std::uint64_t w : words_) n += static_cast<std::uint64_t>(std::popcount(w));
  return n;
}

bool Bitset::none() const {
  return std::all_of(words_.begin(), words_.end(), [](std::uint64_t w) { return w == 0; });
}

std::uint64_t Bitset::next_set(std::uint64_t from) const {
  if (from >= size_) return size_;
  std::uint64_t w = from / 64;
  std::uint64_t word = words_[w] & (kAll << (from % 64));
  while (word == 0) {
    if (++w == words_.size()) return size_;
    word = words_[w];
  }
  return w * 64 + static_cast<std::uint64_t>(std::countr_zero(word));
}

std::uint64_t Bitset::next_clear(std::uint64_t from) const {
  if (from >= size_) return size_;
  std::uint64_t w = from / 64;
  std::uint64_t word = ~words_[w] & (kAll << (from % 64));
  while (word == 0) {
    if (++w == words_.size()) return size_;
    word = ~words_[w];
  }
  return std::min(size_, w * 64 + static_cast<std::uint64_t>(std::countr_zero(word)));
}

void Bitset::merge(const Bitset& other) {
  GODWIT_CHECK(size_ == other.size_);
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
}

void Bitset::subtract(const Bitset& other) {
  GODWIT_CHECK(size_ == other.size_);
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
}

}  // namespace godwit
