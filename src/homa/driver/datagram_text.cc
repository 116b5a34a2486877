#include "homa/driver/datagram_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "homa/core/packet.h"

namespace godwit::homa {

namespace {

constexpr std::size_t kTypeAt = 13;
constexpr std::size_t kSegmentLengthAt = 44;

std::expected<Packet, Malformed> decode(ConstBytes head) {
  std::size_t size = head.size();
  if (size >= kDataHeaderSize && head[kTypeAt] == std::byte{static_cast<unsigned char>(PacketType::data)}) {
    std::size_t segment = 0;
    for (std::size_t i = 0; i < 4; ++i) segment = segment << 8 | std::to_integer<std::size_t>(head[kSegmentLengthAt + i]);
    size = std::max(size, kDataHeaderSize + segment);
  }
  if (head.size() >= std::min(size, kHeaderSizeMax)) return decode_packet(head, size, UINT32_MAX);
  Bytes padded = to_bytes(head);
  padded.resize(std::min(size, kHeaderSizeMax));
  return decode_packet(padded, size, UINT32_MAX);
}

}  // namespace

std::string describe_datagram(ConstBytes head) {
  const auto packet = decode(head);
  if (packet) return describe(*packet);
  return fmt::format("no packet ({}): {}", name_of(packet.error()), to_hex(head.first(std::min(head.size(), kHeaderSizeMax))));
}

bool is_packet(ConstBytes head) {
  return decode(head).has_value();
}

}  // namespace godwit::homa
