// Packets to bytes: one overload of `put` per packet writes the body without its payload, one of `payload_of` says which bytes of
// the caller follow it.
#include <limits>

#include "base/check.h"
#include "base/cursor.h"
#include "volume/core/packet.h"

namespace godwit::volume {
namespace {

void put_type(Writer& out, PacketType type) {
  out.u8(static_cast<std::uint8_t>(type));
}

void put_write_form(Writer& out, WriteForm form) {
  put_type(out, PacketType::write_at);
  out.u8(static_cast<std::uint8_t>(form));
}

std::uint32_t count_of(std::size_t size) {
  GODWIT_CHECK(size <= std::numeric_limits<std::uint32_t>::max());
  return static_cast<std::uint32_t>(size);
}

void put_blocks(Writer& out, const std::vector<std::uint32_t>& blocks) {
  out.u32_le(count_of(blocks.size()));
  out.bytes(std::as_bytes(std::span(blocks)));
}

template <class Range>
void put_range(Writer& out, PacketType type, const Range& range) {
  put_type(out, type);
  out.i64_le(range.offset);
  out.i32_le(range.length);
}

void put(Writer& out, const ReadAt& packet) {
  put_range(out, PacketType::read_at, packet);
}
void put(Writer& out, const NeedAt& packet) {
  put_range(out, PacketType::need_at, packet);
}
void put(Writer& out, const DontNeedAt& packet) {
  put_range(out, PacketType::dont_need_at, packet);
}

void put(Writer& out, const WriteData& packet) {
  put_write_form(out, packet.form);
  out.i64_le(packet.offset);
  if (packet.form == WriteForm::zeroes) out.u64_le(packet.zeroes_length);
}

void put(Writer& out, const WriteByHash& packet) {
  put_write_form(out, WriteForm::by_hash);
  out.u8(static_cast<std::uint8_t>(packet.location));
  out.i64_le(packet.offset);
  out.i64_le(packet.length);
  out.bytes(packet.hash);
}

void put(Writer& out, const AlreadyHave& packet) {
  put_write_form(out, WriteForm::already_have);
  out.u64_le(packet.block_size);
  put_blocks(out, packet.blocks);
}

void put(Writer& out, const UnknownWriteForm& packet) {
  put_type(out, PacketType::write_at);
  out.u8(packet.form);
}

void put(Writer& out, const DirtyList& packet) {
  put_type(out, PacketType::dirty_list);
  out.u32_le(packet.block_size);
  put_blocks(out, packet.blocks);
}

void put(Writer& out, const DevInfo& packet) {
  GODWIT_CHECK(packet.name.size() <= kDeviceNameSizeMax && packet.schema.size() <= kSchemaSizeMax);
  put_type(out, PacketType::dev_info);
  out.u64_le(packet.size);
  out.u32_le(packet.block_size);
  out.u16_le(static_cast<std::uint16_t>(packet.name.size()));
  out.text(packet.name);
  out.u32_le(static_cast<std::uint32_t>(packet.schema.size()));
  out.text(packet.schema);
}

void put(Writer& out, const DeviceGroupInfo& packet) {
  GODWIT_CHECK(packet.devices.size() <= kGroupDevicesMax);
  put_type(out, PacketType::device_group_info);
  for (const DeviceGroupInfo::Entry& entry : packet.devices) {
    Bytes info;
    Writer info_out(info);
    put(info_out, entry.info);
    out.u32_le(entry.device.value);
    out.u32_le(count_of(info.size()));
    out.bytes(info);
  }
}

void put(Writer& out, const Event& packet) {
  put_type(out, PacketType::event);
  out.u8(static_cast<std::uint8_t>(packet.type));
  if (packet.type == EventType::custom) out.u8(packet.custom_type);
}

void put(Writer& out, const Hashes& packet) {
  put_type(out, PacketType::hashes);
  for (const Hashes::Entry& entry : packet.blocks) {
    out.u32_le(entry.block);
    out.bytes(entry.hash);
  }
}

void put(Writer& out, const WriteAtWithMap& packet) {
  put_type(out, PacketType::write_at_with_map);
  out.i64_le(packet.offset);
  out.u32_le(count_of(packet.map.size()));
  for (const WriteAtWithMap::Entry& entry : packet.map) {
    out.u64_le(entry.id);
    out.u64_le(entry.location);
  }
}

void put(Writer& out, const RemoveDev&) {
  put_type(out, PacketType::remove_dev);
}

void put(Writer& out, const RemoveFromMap& packet) {
  put_type(out, PacketType::remove_from_map);
  out.u32_le(count_of(packet.ids.size()));
  for (const std::uint64_t id : packet.ids) out.u64_le(id);
}

void put(Writer& out, const AlternateSources& packet) {
  put_type(out, PacketType::alternate_sources);
  out.u32_le(count_of(packet.sources.size()));
  for (const AlternateSources::Entry& entry : packet.sources) {
    out.i64_le(entry.offset);
    out.i64_le(entry.length);
    out.bytes(entry.hash);
    out.u32_le(count_of(entry.location.size()));
    out.text(entry.location);
  }
}

void put(Writer& out, const ReadByHash& packet) {
  put_type(out, PacketType::read_by_hash);
  out.bytes(packet.hash);
}

void put(Writer& out, const ReadAtResponse& packet) {
  put_type(out, PacketType::read_at_response);
  out.u32_le(packet.length);
}

void put(Writer& out, const WriteAtResponse& packet) {
  put_type(out, PacketType::write_at_response);
  out.u32_le(packet.length);
}

void put(Writer& out, const ReadByHashResponse& packet) {
  put_type(out, PacketType::read_by_hash_response);
  out.u32_le(count_of(packet.payload.size()));
}

void put(Writer& out, const ReadByHashResponseErr& packet) {
  put_type(out, PacketType::read_by_hash_response_err);
  out.u32_le(count_of(packet.message.size()));
  out.text(packet.message);
}

void put(Writer& out, const ReadAtResponseErr&) {
  put_type(out, PacketType::read_at_response_err);
}
void put(Writer& out, const WriteAtResponseErr&) {
  put_type(out, PacketType::write_at_response_err);
}
void put(Writer& out, const EventResponse&) {
  put_type(out, PacketType::event_response);
}
void put(Writer& out, const HashesResponse&) {
  put_type(out, PacketType::hashes_response);
}
void put(Writer& out, const DirtyListResponse&) {
  put_type(out, PacketType::dirty_list_response);
}
void put(Writer& out, const UnknownPacket& packet) {
  out.u8(packet.type);
}

template <class P>
ConstBytes payload_of(const P&) {
  return {};
}
ConstBytes payload_of(const WriteData& packet) {
  return packet.payload;
}
ConstBytes payload_of(const WriteAtWithMap& packet) {
  return packet.payload;
}
ConstBytes payload_of(const ReadAtResponse& packet) {
  return packet.payload;
}
ConstBytes payload_of(const ReadByHashResponse& packet) {
  return packet.payload;
}
ConstBytes payload_of(const Event& packet) {
  return packet.type == EventType::custom ? packet.payload : ConstBytes{};
}

}  // namespace

ConstBytes payload_of(const Packet& packet) {
  return std::visit([](const auto& p) -> ConstBytes { return payload_of(p); }, packet);
}

void encode_frame_head(DeviceId device, TxId tx, const Packet& packet, Bytes& out) {
  const std::size_t header_at = out.size();
  Writer writer(out);
  writer.u32_le(device.value);
  writer.u32_le(tx.value);
  writer.u32_le(0);
  std::visit([&](const auto& p) { put(writer, p); }, packet);
  const std::uint32_t body_length = count_of(out.size() - header_at - kFrameHeaderSize + payload_of(packet).size());
  std::memcpy(out.data() + header_at + 8, &body_length, sizeof body_length);
}

void encode_frame(DeviceId device, TxId tx, const Packet& packet, Bytes& out) {
  encode_frame_head(device, tx, packet, out);
  append(out, payload_of(packet));
}

}  // namespace godwit::volume
