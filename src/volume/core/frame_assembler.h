// Makes frames of a stream that comes in any pieces: for tests, fuzzers and connections that do not receive payloads straight
// into place. Knows frames and their limits (silo.md 2, 9 and 12), not what is in them. It copies what it is fed and asks for no
// memory on the strength of a length that a peer has said.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "volume/core/packet.h"

namespace godwit::volume {

// How large a body may be: of the first packet on a fresh connection, and of later ones when the largest block of the devices
// announced so far has this size (silo.md 12).
inline constexpr std::uint64_t kFirstBodySizeMax = 16 * 1024 * 1024;
std::uint64_t body_size_max(std::uint32_t largest_block_size_bytes);

class FrameAssembler {
 public:
  struct Frame {
    FrameHeader header;
    ConstBytes body;  // until the next call of feed()
  };

  // Counts for frames that have not been given out yet.
  void set_body_size_max(std::uint64_t size_max) { body_size_max_ = size_max; }

  void feed(ConstBytes bytes);
  // The next whole frame, or nothing until more is fed. Errors: invalid (a frame without a body), limit (a body past the limit,
  // known as soon as its header is); both name device and transaction, and nothing but the same error follows.
  Result<std::optional<Frame>> next();

  // Whether every byte fed belongs to a frame given out: an end of the stream here is a clean end, elsewhere the connection is
  // lost.
  bool at_frame_boundary() const { return given_ == buffer_.size(); }

 private:
  Bytes buffer_;
  std::size_t given_ = 0;  // so much of the buffer has been given out
  std::uint64_t body_size_max_ = kFirstBodySizeMax;
};

}  // namespace godwit::volume
