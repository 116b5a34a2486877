// An open file descriptor with one owner, who closes it. What close() says is not looked at: who has to know that bytes lie on
// the disk has asked for that before.
#pragma once

#include <unistd.h>

#include <utility>

namespace godwit::net {

class Descriptor {
 public:
  Descriptor() = default;
  // Takes what a system call gave; a negative number is one that is not open.
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }

  int get() const { return number_; }
  bool is_open() const { return number_ >= 0; }
  // Gives the number away; the caller closes it.
  [[nodiscard]] int release() { return std::exchange(number_, -1); }
  // errno stays as it is, so that a failure can be told after its descriptor is closed.
  void reset(int number = -1);

 private:
  int number_ = -1;
};

}  // namespace godwit::net
