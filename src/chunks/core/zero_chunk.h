// The chunk that an index of these sizes cuts out of a long run of zeros: known beforehand by its id, so that nobody has to fetch
// it, and a reader can tell a hole.
#pragma once

#include <cstdint>

#include "chunks/core/index.h"

namespace godwit::chunks {

class ZeroChunk {
 public:
  // Hashes one such chunk.
  explicit ZeroChunk(const IndexHeader& header);

  // Whether the chunk of this number holds nothing but zeros, and has the usual length of such.
  bool is(const Index& index, std::size_t number) const {
    return length_ != 0 && index.entries[number].id == id_ && index.length_of(number) == length_;
  }

 private:
  std::uint64_t length_ = 0;  // 0: sizes that nothing can be cut with have no zero chunk
  ChunkId id_;
};

}  // namespace godwit::chunks
