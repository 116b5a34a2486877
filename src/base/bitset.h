// A set of block numbers below a fixed bound, with operations on ranges that work a word at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace godwit {

class Bitset {
 public:
  Bitset() = default;
  explicit Bitset(std::uint64_t size) : size_(size), words_((size + 63) / 64) {}

  std::uint64_t size() const { return size_; }
  bool test(std::uint64_t i) const { return (words_[i / 64] >> (i % 64)) & 1; }
  void set(std::uint64_t i) { words_[i / 64] |= bit(i); }
  void clear(std::uint64_t i) { words_[i / 64] &= ~bit(i); }

  // [first, last), last <= size.
  void set_range(std::uint64_t first, std::uint64_t last);
  void clear_range(std::uint64_t first, std::uint64_t last);
  bool all_in(std::uint64_t first, std::uint64_t last) const;
  bool any_in(std::uint64_t first, std::uint64_t last) const;

  std::uint64_t count() const;
  bool none() const;

  // The first member at or after `from`; the first non-member at or after `from`; size() stands for none.
  std::uint64_t next_set(std::uint64_t from) const;
  std::uint64_t next_clear(std::uint64_t from) const;

  void merge(const Bitset& other);     // this |= other; the sizes are equal
  void subtract(const Bitset& other);  // this &= ~other
  const std::vector<std::uint64_t>& words() const { return words_; }
  std::vector<std::uint64_t>& words() { return words_; }

  friend bool operator==(const Bitset&, const Bitset&) = default;

 private:
  static std::uint64_t bit(std::uint64_t i) { return std::uint64_t{1} << (i % 64); }
  std::uint64_t size_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace godwit
