// A ring of memory in which every stretch lies in one piece: its pages are mapped twice, one mapping behind the other. A stream
// that is read into it can be cut into chunks without copying any of them. Positions count up for ever; whoever uses it keeps
// what is in use within size() of one another.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace godwit::chunks {

class StreamRing {
 public:
  // At least `size_min` bytes. Memory is taken as it is touched.
  static Result<std::unique_ptr<StreamRing>> make(std::size_t size_min);
  ~StreamRing();
  StreamRing(const StreamRing&) = delete;
  StreamRing& operator=(const StreamRing&) = delete;

  std::size_t size() const { return size_; }
  // `length` is at most size().
  MutableBytes at(std::uint64_t position, std::size_t length) const { return {base_ + position % size_, length}; }

 private:
  StreamRing(std::byte* base, std::size_t size) : base_(base), size_(size) {}

  std::byte* base_;
  std::size_t size_;
};

}  // namespace godwit::chunks
