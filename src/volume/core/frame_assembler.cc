#include "volume/core/frame_assembler.h"

#include <fmt/format.h>

#include <algorithm>

namespace godwit::volume {

std::uint64_t body_size_max(std::uint32_t largest_block_size_bytes) {
  constexpr std::uint64_t kLeast = 64 * 1024 * 1024;
  constexpr std::uint64_t kHeadRoom = 64 * 1024;
  return std::max(kLeast, 2 * std::uint64_t{largest_block_size_bytes} + kHeadRoom);
}

void FrameAssembler::feed(ConstBytes bytes) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(given_));
  given_ = 0;
  append(buffer_, bytes);
}

Result<std::optional<FrameAssembler::Frame>> FrameAssembler::next() {
  const ConstBytes left = ConstBytes(buffer_).subspan(given_);
  if (left.size() < kFrameHeaderSize) return std::nullopt;
  const FrameHeader header = decode_frame_header(left.first(kFrameHeaderSize));
  if (header.body_length == 0)
    return fail(ErrorKind::invalid,
                fmt::format("device {}, transaction {}: a frame without a body", header.device.value, header.tx.value));
  if (header.body_length > body_size_max_)
    return fail(ErrorKind::limit, fmt::format("device {}, transaction {}: a body of {} bytes, where {} are the limit",
                                              header.device.value, header.tx.value, header.body_length, body_size_max_));
  if (left.size() - kFrameHeaderSize < header.body_length) return std::nullopt;
  given_ += kFrameHeaderSize + header.body_length;
  return Frame{.header = header, .body = left.subspan(kFrameHeaderSize, header.body_length)};
}

}  // namespace godwit::volume
