// Any bytes as a datagram: it decodes to a packet that encodes and decodes to itself, or it is refused.
#include <algorithm>

#include "base/check.h"
#include "homa/core/packet.h"

using namespace godwit;
using namespace godwit::homa;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes datagram(reinterpret_cast<const std::byte*>(data), size);
  const std::expected<Packet, Malformed> packet = decode_packet(datagram, size, 1'000'000);
  const std::expected<Packet, Malformed> by_head = decode_packet(datagram.first(std::min(size, kHeaderSizeMax)), size, 1'000'000);
  GODWIT_CHECK(packet == by_head);
  if (!packet) return 0;
  GODWIT_CHECK(!describe(*packet).empty());
  std::array<std::byte, kHeaderSizeMax> header;
  const std::size_t header_size = encode_packet(*packet, header);
  GODWIT_CHECK(header_size <= size);
  Bytes again = to_bytes(ConstBytes(header).first(header_size));
  if (packet->type() == PacketType::data) append(again, datagram.subspan(header_size));
  GODWIT_CHECK(decode_packet(again, again.size(), 1'000'000) == packet);
  return 0;
}
