// Numbers that can not be mistaken for one another: an index, a count, an offset and a size are four types. A Strong has no
// arithmetic of its own beyond order and ++; code that computes says `.value` and so shows that it does.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace godwit {

template <class Tag, class T>
struct Strong {
  using Value = T;
  T value{};

  constexpr Strong() = default;
  constexpr explicit Strong(T v) : value(v) {}
  friend constexpr auto operator<=>(Strong, Strong) = default;
  constexpr Strong& operator++() {
    ++value;
    return *this;
  }
};

}  // namespace godwit

template <class Tag, class T>
struct std::hash<godwit::Strong<Tag, T>> {
  std::size_t operator()(godwit::Strong<Tag, T> s) const noexcept { return std::hash<T>{}(s.value); }
};
