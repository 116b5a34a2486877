// Arithmetic on sizes from outside: the result, or nothing when it does not fit.
#pragma once

#include <concepts>
#include <optional>

namespace godwit {

template <std::integral T>
constexpr std::optional<T> checked_add(T a, T b) {
  T sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

template <std::integral T>
constexpr std::optional<T> checked_multiply(T a, T b) {
  T product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// Whether [offset, offset + length) lies within [0, size).
constexpr bool within(unsigned long long offset, unsigned long long length, unsigned long long size) {
  return offset <= size && length <= size - offset;
}

template <std::unsigned_integral T>
constexpr T divide_up(T a, T b) {
  return a / b + (a % b != 0);
}

}  // namespace godwit
