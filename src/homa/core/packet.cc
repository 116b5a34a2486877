#include "homa/core/packet.h"

#include <bit>
#include <cstring>
#include <type_traits>

#include <fmt/format.h>

#include "base/check.h"
#include "base/checked.h"
#include "base/cursor.h"

namespace godwit::homa {

namespace {

// 10 words of 4 bytes are the part of DATA that segmentation offload replicates in the kernel's version.
constexpr std::uint8_t kDataOffsetByte = 0xa0;
// By index_of(type): a shorter packet is dropped.
constexpr std::array<std::size_t, kPacketTypeCount> kHeaderSizes = {60, 33, 37, 28, 28, 62, 28, 28, 90};

AckRecord decode_record(Cursor& in) {
  AckRecord record;
  record.client_id.value = in.u64_be();
  record.client_port.value = in.u16_be();
  record.server_port.value = in.u16_be();
  return record;
}

std::expected<PacketBody, Malformed> decode_data(Cursor& in, std::size_t data_size, std::uint32_t message_length_max) {
  Data data;
  data.message_length = in.u32_be();
  data.incoming = in.u32_be();
  data.cutoff_version = in.u16_be();
  data.retransmit = in.u8() != 0;
  in.take(1);
  data.offset = in.u32_be();
  data.segment_length = in.u32_be();
  data.ack = decode_record(in);
  if (data_size == 0) return std::unexpected(Malformed::empty_segment);
  if (data.segment_length != data_size) return std::unexpected(Malformed::segment_length);
  if (data.message_length == 0 || data.message_length > message_length_max) return std::unexpected(Malformed::message_length);
  if (!within(data.offset, data.segment_length, data.message_length)) return std::unexpected(Malformed::beyond_message);
  return data;
}

std::expected<PacketBody, Malformed> decode_ack(Cursor& in) {
  Ack ack;
  ack.count = in.u16_be();
  if (ack.count > kAcksPerPacket) return std::unexpected(Malformed::ack_count);
  for (AckRecord& record : ack.more) record = decode_record(in);
  // What lies behind the count is not part of the packet.
  for (std::size_t i = ack.count; i < ack.more.size(); ++i) ack.more[i] = {};
  return ack;
}

std::expected<PacketBody, Malformed> decode_body(PacketType type, Cursor& in, std::size_t data_size,
                                                 std::uint32_t message_length_max) {
  switch (type) {
    case PacketType::data: return decode_data(in, data_size, message_length_max);
    case PacketType::grant: {
      const std::uint32_t offset = in.u32_be();
      return Grant{offset, in.u8()};
    }
    case PacketType::resend: {
      const std::uint32_t offset = in.u32_be();
      const std::uint32_t length = in.u32_be();
      return Resend{offset, length, in.u8()};
    }
    case PacketType::unknown: return Unknown{};
    case PacketType::busy: return Busy{};
    case PacketType::cutoffs: {
      CutoffsUpdate update;
      for (std::uint32_t& longest : update.longest) longest = in.u32_be();
      update.version = in.u16_be();
      return update;
    }
    case PacketType::freeze: return Freeze{};
    case PacketType::need_ack: return NeedAck{};
    case PacketType::ack: return decode_ack(in);
  }
  return std::unexpected(Malformed::unknown_type);
}

// Fields of a header of known size, in order.
class HeaderWriter {
 public:
  explicit HeaderWriter(std::byte* out) : out_(out) {}

  void u8(std::uint8_t value) { put(value); }
  void u16(std::uint16_t value) { put(std::byteswap(value)); }
  void u32(std::uint32_t value) { put(std::byteswap(value)); }
  void u64(std::uint64_t value) { put(std::byteswap(value)); }
  void record(const AckRecord& ack) {
    u64(ack.client_id.value);
    u16(ack.client_port.value);
    u16(ack.server_port.value);
  }

 private:
  template <class T>
  void put(T value) {
    std::memcpy(out_, &value, sizeof value);
    out_ += sizeof value;
  }
  std::byte* out_;
};

struct BodyEncoder {
  HeaderWriter& out;

  void operator()(const Data& data) const {
    out.u32(data.message_length);
    out.u32(data.incoming);
    out.u16(data.cutoff_version);
    out.u8(data.retransmit ? 1 : 0);
    out.u8(0);
    out.u32(data.offset);
    out.u32(data.segment_length);
    out.record(data.ack);
  }
  void operator()(const Grant& grant) const {
    out.u32(grant.offset);
    out.u8(grant.priority);
  }
  void operator()(const Resend& resend) const {
    out.u32(resend.offset);
    out.u32(resend.length);
    out.u8(resend.priority);
  }
  void operator()(const CutoffsUpdate& update) const {
    for (const std::uint32_t longest : update.longest) out.u32(longest);
    out.u16(update.version);
  }
  void operator()(const Ack& ack) const {
    GODWIT_CHECK(ack.count <= kAcksPerPacket);
    out.u16(ack.count);
    for (const AckRecord& record : ack.more) out.record(record);
  }
  void operator()(const auto&) const {}
};

}  // namespace

std::string_view name_of(PacketType type) {
  constexpr std::array<std::string_view, kPacketTypeCount> kNames = {"DATA",    "GRANT",  "RESEND",   "UNKNOWN", "BUSY",
                                                                     "CUTOFFS", "FREEZE", "NEED_ACK", "ACK"};
  return kNames[index_of(type)];
}

std::string_view name_of(Malformed reason) {
  constexpr std::array<std::string_view, kMalformedCount> kNames = {
      "too_short", "unknown_type", "empty_segment", "segment_length", "message_length", "beyond_message", "ack_count"};
  return kNames[static_cast<std::size_t>(reason)];
}

std::expected<Packet, Malformed> decode_packet(ConstBytes head, std::size_t datagram_size, std::uint32_t message_length_max) {
  GODWIT_CHECK(head.size() <= datagram_size && (head.size() == datagram_size || head.size() >= kHeaderSizeMax));
  if (datagram_size < kCommonHeaderSize) return std::unexpected(Malformed::too_short);
  Cursor in(head);
  Packet packet;
  packet.source.value = in.u16_be();
  packet.destination.value = in.u16_be();
  in.take(9);
  const std::uint8_t type = in.u8();
  in.take(6);
  packet.sender_id.value = in.u64_be();
  const std::size_t index = type - static_cast<std::size_t>(PacketType::data);  // wraps to a huge one below it
  if (index >= kPacketTypeCount) return std::unexpected(Malformed::unknown_type);
  if (datagram_size < kHeaderSizes[index]) return std::unexpected(Malformed::too_short);
  std::expected<PacketBody, Malformed> body =
      decode_body(static_cast<PacketType>(type), in, datagram_size - kHeaderSizes[index], message_length_max);
  if (!body) return std::unexpected(body.error());
  packet.body = *body;
  return packet;
}

std::size_t encode_packet(const Packet& packet, std::span<std::byte, kHeaderSizeMax> out) {
  const std::size_t size = kHeaderSizes[packet.body.index()];
  HeaderWriter writer(out.data());
  writer.u16(packet.source.value);
  writer.u16(packet.destination.value);
  writer.u64(0);
  writer.u8(packet.type() == PacketType::data ? kDataOffsetByte : 0);
  writer.u8(static_cast<std::uint8_t>(packet.type()));
  writer.u32(0);
  writer.u16(0);
  writer.u64(packet.sender_id.value);
  std::visit(BodyEncoder{writer}, packet.body);
  return size;
}

std::string describe(const Packet& packet) {
  std::string text = fmt::format("{} {}>{} id {}", name_of(packet.type()), packet.source.value, packet.destination.value,
                                 packet.sender_id.value);
  if (const auto* data = std::get_if<Data>(&packet.body)) {
    text += fmt::format(" offset {} size {} of {} incoming {}{}", data->offset, data->segment_length, data->message_length,
                        data->incoming, data->retransmit ? " again" : "");
    if (data->ack.client_id != kNoRpc) text += fmt::format(" ack {}", data->ack.client_id.value);
  } else if (const auto* grant = std::get_if<Grant>(&packet.body)) {
    text += fmt::format(" offset {} priority {}", grant->offset, grant->priority);
  } else if (const auto* resend = std::get_if<Resend>(&packet.body)) {
    text += fmt::format(" offset {} length {} priority {}", resend->offset, resend->length, resend->priority);
  } else if (const auto* ack = std::get_if<Ack>(&packet.body)) {
    for (std::size_t i = 0; i < ack->count; ++i) text += fmt::format(" +{}", ack->more[i].client_id.value);
  } else if (const auto* update = std::get_if<CutoffsUpdate>(&packet.body)) {
    text += fmt::format(" version {}", update->version);
  }
  return text;
}

}  // namespace godwit::homa
