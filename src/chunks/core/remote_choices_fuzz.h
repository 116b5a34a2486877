// What the fuzzers of both sessions share: an input is a row of bytes that is read as choices; where it ends, zeros follow.
#pragma once

#include "base/bytes.h"
#include "chunks/core/remote_frame.h"

namespace godwit::chunks::fuzz {

class Choices {
 public:
  explicit Choices(ConstBytes bytes) : bytes_(bytes) {}
  bool are_left() const { return at_ < bytes_.size(); }
  std::uint32_t below(std::uint32_t bound) { return are_left() ? std::to_integer<std::uint32_t>(bytes_[at_++]) % bound : 0; }

  // Few ids, so that they meet again.
  ChunkId id() {
    ChunkId id;
    id.bytes[0] = static_cast<std::byte>(below(6));
    return id;
  }

  // A message that a peer could send; its data is borrowed from a constant.
  wire::Message message() {
    static const Bytes kData(5, std::byte{1});
    switch (below(12)) {
      case 0: return wire::Hello{std::uint64_t{1} << below(14) | std::uint64_t{1} << below(14) | std::uint64_t{1} << below(14)};
      case 1: return wire::Piece{wire::File::index, kData};
      case 2: return wire::PieceEof{wire::File::index};
      case 3: return wire::Piece{wire::File::archive, kData};
      case 4: return wire::PieceEof{wire::File::archive};
      case 5:
      case 6: {
        wire::Request request{below(2) == 1 ? wire::Priority::high : wire::Priority::low, {id()}};
        while (below(3) == 2) request.ids.push_back(id());
        return request;
      }
      case 7:
      case 8: return wire::Chunk{id(), below(2) == 1, kData};
      case 9: return wire::Missing{id()};
      case 10: return wire::Goodbye{};
      default: return wire::Abort{below(140), "text"};
    }
  }

 private:
  ConstBytes bytes_;
  std::size_t at_ = 0;
};

}  // namespace godwit::chunks::fuzz
