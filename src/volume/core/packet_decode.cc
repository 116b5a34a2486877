// Bytes to packets. Each function takes the cursor behind the type byte; what it leaves unread is judged by decode_packet: of
// which packets trailing bytes are ignored is silo.md 9.
#include <algorithm>
#include <limits>

#include "base/cursor.h"
#include "volume/core/packet.h"

namespace godwit::volume {
namespace {

std::unexpected<Error> truncated(std::string what) {
  return fail(ErrorKind::truncated, std::move(what));
}
std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorKind::invalid, std::move(what));
}

// A range of a device that could exist: neither negative nor beyond what an offset can say.
bool is_range(std::int64_t offset, std::uint64_t length) {
  constexpr std::uint64_t kOffsetMax = std::numeric_limits<std::int64_t>::max();
  return offset >= 0 && length <= kOffsetMax - static_cast<std::uint64_t>(offset);
}
bool is_range(std::int64_t offset, std::int64_t length) {
  return length >= 0 && is_range(offset, static_cast<std::uint64_t>(length));
}

Sha256 take_hash(Cursor& in) {
  Sha256 hash{};
  const ConstBytes bytes = in.take(hash.size());
  if (in.ok()) std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

// A count of entries that are all there; else nothing. Asked before memory is.
std::optional<std::size_t> take_count(Cursor& in, std::size_t entry_size_min) {
  const std::size_t count = in.u32_le();
  if (!in.ok() || count > in.remaining() / entry_size_min) return std::nullopt;
  return count;
}

template <class Range>
Result<Packet> range_packet(Cursor& in) {
  Range range;
  range.offset = in.i64_le();
  range.length = in.i32_le();
  if (!in.ok()) return truncated("a range cut off");
  if (!is_range(range.offset, std::int64_t{range.length})) return invalid("a range that can not be");
  return range;
}

Result<Packet> write_data(Cursor& in, WriteForm form) {
  WriteData write;
  write.form = form;
  write.offset = in.i64_le();
  if (form == WriteForm::zeroes) write.zeroes_length = in.u64_le();
  write.payload = in.rest();
  if (!in.ok()) return truncated("a write cut off before its bytes");
  const std::uint64_t length_min = form == WriteForm::raw ? write.payload.size() : write.zeroes_length;
  if (!is_range(write.offset, length_min)) return invalid("a write at a range that can not be");
  return write;
}

Result<Packet> write_by_hash(Cursor& in) {
  WriteByHash write;
  write.location = static_cast<HashLocation>(in.u8());
  write.offset = in.i64_le();
  write.length = in.i64_le();
  write.hash = take_hash(in);
  if (!in.ok()) return truncated("a write by hash cut off");
  if (!is_range(write.offset, write.length)) return invalid("a write by hash at a range that can not be");
  return write;
}

bool take_blocks(Cursor& in, std::vector<std::uint32_t>& blocks) {
  const std::optional<std::size_t> count = take_count(in, sizeof(std::uint32_t));
  if (!count) return false;
  blocks.resize(*count);
  const ConstBytes bytes = in.take(*count * sizeof(std::uint32_t));
  if (!bytes.empty()) std::memcpy(blocks.data(), bytes.data(), bytes.size());
  return true;
}

Result<Packet> already_have(Cursor& in) {
  AlreadyHave packet;
  packet.block_size = in.u64_le();
  if (!take_blocks(in, packet.blocks)) return truncated("a list of blocks cut off");
  (void)in.rest();  // bytes behind it do no harm at an original (silo.md 13)
  return packet;
}

Result<Packet> write_at(Cursor& in) {
  const std::uint8_t form = in.u8();
  if (!in.ok()) return truncated("a write without a sub-type");
  switch (static_cast<WriteForm>(form)) {
    case WriteForm::raw:
    case WriteForm::rle:
    case WriteForm::gzip:
    case WriteForm::zeroes: return write_data(in, static_cast<WriteForm>(form));
    case WriteForm::by_hash: return write_by_hash(in);
    case WriteForm::already_have: return already_have(in);
  }
  (void)in.rest();
  return UnknownWriteForm{form};
}

Result<Packet> dirty_list(Cursor& in) {
  DirtyList packet;
  packet.block_size = in.u32_le();
  if (!take_blocks(in, packet.blocks)) return truncated("a list of blocks cut off");
  return packet;
}

Result<DevInfo> dev_info(Cursor& in) {
  DevInfo info;
  info.size = in.u64_le();
  info.block_size = in.u32_le();
  const std::size_t name_size = in.u16_le();
  if (name_size > kDeviceNameSizeMax) return fail(ErrorKind::limit, "a device name of " + std::to_string(name_size) + " bytes");
  info.name = as_text(in.take(name_size));
  const std::size_t schema_size = in.u32_le();
  if (schema_size > kSchemaSizeMax) return fail(ErrorKind::limit, "a schema of " + std::to_string(schema_size) + " bytes");
  info.schema = as_text(in.take(schema_size));
  if (!in.ok()) return truncated("a device description cut off");
  if (info.size == 0 || info.size > std::numeric_limits<std::int64_t>::max())
    return invalid("a device of a size that can not be");
  if (info.block_size == 0) return invalid("a device with a block size of 0");
  return info;
}

Result<void> check_group(const DeviceGroupInfo& group) {
  std::vector<std::uint32_t> ids;
  std::vector<std::string_view> names;
  for (const DeviceGroupInfo::Entry& entry : group.devices) {
    if (entry.device == kControlDevice) return invalid("a device with the number of the control channel");
    ids.push_back(entry.device.value);
    names.push_back(entry.info.name);
  }
  std::sort(ids.begin(), ids.end());
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) return invalid("two devices with one number");
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin != names.end()) return invalid("two devices with the name " + escaped(*twin));
  return {};
}

Result<Packet> device_group_info(Cursor& in) {
  DeviceGroupInfo group;
  while (!in.at_end()) {
    if (group.devices.size() == kGroupDevicesMax) return fail(ErrorKind::limit, "too many devices in one group");
    DeviceGroupInfo::Entry entry;
    entry.device = DeviceId{in.u32_le()};
    const ConstBytes body = in.take(in.u32_le());
    if (!in.ok()) return truncated("an entry of a device group cut off");
    Cursor info_in(body);
    if (info_in.u8() != static_cast<std::uint8_t>(PacketType::dev_info)) return invalid("an entry that is no device description");
    Result<DevInfo> info = dev_info(info_in);
    if (!info) return fail(std::move(info).error().within("device " + std::to_string(entry.device.value)));
    entry.info = std::move(*info);
    group.devices.push_back(std::move(entry));
  }
  if (Result<void> checked = check_group(group); !checked) return fail(std::move(checked).error());
  return group;
}

Result<Packet> event(Cursor& in) {
  Event packet;
  packet.type = static_cast<EventType>(in.u8());
  if (packet.type == EventType::custom) {
    packet.custom_type = in.u8();
    packet.payload = in.rest();
  }
  if (!in.ok()) return truncated("an event cut off");
  (void)in.rest();  // bytes behind other events do no harm at an original (silo.md 13)
  return packet;
}

Result<Packet> hashes(Cursor& in) {
  constexpr std::size_t kEntrySize = 4 + 32;
  if (in.remaining() % kEntrySize != 0) return truncated("a list of hashes cut off");
  Hashes packet;
  packet.blocks.resize(in.remaining() / kEntrySize);
  for (Hashes::Entry& entry : packet.blocks) {
    entry.block = in.u32_le();
    entry.hash = take_hash(in);
  }
  return packet;
}

Result<Packet> write_at_with_map(Cursor& in) {
  WriteAtWithMap packet;
  packet.offset = in.i64_le();
  const std::optional<std::size_t> count = take_count(in, 2 * sizeof(std::uint64_t));
  if (!count) return truncated("a map cut off");
  packet.map.resize(*count);
  for (WriteAtWithMap::Entry& entry : packet.map) {
    entry.id = in.u64_le();
    entry.location = in.u64_le();
  }
  packet.payload = in.rest();
  if (!is_range(packet.offset, packet.payload.size())) return invalid("a write at a range that can not be");
  return packet;
}

Result<Packet> remove_from_map(Cursor& in) {
  RemoveFromMap packet;
  const std::optional<std::size_t> count = take_count(in, sizeof(std::uint64_t));
  if (!count) return truncated("a list of ids cut off");
  packet.ids.resize(*count);
  for (std::uint64_t& id : packet.ids) id = in.u64_le();
  return packet;
}

Result<Packet> alternate_sources(Cursor& in) {
  AlternateSources packet;
  const std::optional<std::size_t> count = take_count(in, 8 + 8 + 32 + 4);
  if (!count) return truncated("a list of sources cut off");
  packet.sources.resize(*count);
  for (AlternateSources::Entry& entry : packet.sources) {
    entry.offset = in.i64_le();
    entry.length = in.i64_le();
    entry.hash = take_hash(in);
    entry.location = as_text(in.take(in.u32_le()));
    if (!in.ok()) return truncated("a source cut off");
    if (!is_range(entry.offset, entry.length)) return invalid("a source for a range that can not be");
  }
  return packet;
}

Result<Packet> read_by_hash(Cursor& in) {
  ReadByHash packet;
  packet.hash = take_hash(in);
  if (!in.ok()) return truncated("a hash cut off");
  return packet;
}

Result<Packet> read_at_response(Cursor& in) {
  ReadAtResponse packet;
  packet.length = in.u32_le();
  const ConstBytes data = in.rest();
  if (!in.ok()) return truncated("an answer to a read cut off");
  packet.payload = data.first(std::min<std::size_t>(packet.length, data.size()));
  return packet;
}

Result<Packet> write_at_response(Cursor& in) {
  const WriteAtResponse packet{in.u32_le()};
  if (!in.ok()) return truncated("an answer to a write cut off");
  return packet;
}

Result<Packet> read_by_hash_response(Cursor& in) {
  const ReadByHashResponse packet{in.take(in.u32_le())};
  if (!in.ok()) return truncated("an answer to a read by hash cut off");
  return packet;
}

Result<Packet> read_by_hash_response_err(Cursor& in) {
  ReadByHashResponseErr packet;
  packet.message = as_text(in.take(in.u32_le()));
  if (!in.ok()) return truncated("a refusal of a read by hash cut off");
  return packet;
}

Result<Packet> decode_after_type(PacketType type, Cursor& in) {
  switch (type) {
    case PacketType::read_at: return range_packet<ReadAt>(in);
    case PacketType::write_at: return write_at(in);
    case PacketType::need_at: return range_packet<NeedAt>(in);
    case PacketType::dont_need_at: return range_packet<DontNeedAt>(in);
    case PacketType::dirty_list: return dirty_list(in);
    case PacketType::dev_info: return dev_info(in);
    case PacketType::event: return event(in);
    case PacketType::hashes: return hashes(in);
    case PacketType::write_at_with_map: return write_at_with_map(in);
    case PacketType::remove_dev: return RemoveDev{};
    case PacketType::remove_from_map: return remove_from_map(in);
    case PacketType::alternate_sources: return alternate_sources(in);
    case PacketType::device_group_info: return device_group_info(in);
    case PacketType::read_by_hash: return read_by_hash(in);
    case PacketType::read_at_response: return read_at_response(in);
    case PacketType::read_at_response_err: return ReadAtResponseErr{};
    case PacketType::write_at_response: return write_at_response(in);
    case PacketType::write_at_response_err: return WriteAtResponseErr{};
    case PacketType::event_response: return EventResponse{};
    case PacketType::hashes_response: return HashesResponse{};
    case PacketType::dirty_list_response: return DirtyListResponse{};
    case PacketType::read_by_hash_response: return read_by_hash_response(in);
    case PacketType::read_by_hash_response_err: return read_by_hash_response_err(in);
  }
  (void)in.rest();
  return UnknownPacket{static_cast<std::uint8_t>(type)};
}

// Bytes behind the last field of these are accepted by an original, so we do the same (silo.md 5 and 9).
bool ignores_trailing_bytes(PacketType type) {
  switch (type) {
    case PacketType::read_at:
    case PacketType::need_at:
    case PacketType::dont_need_at:
    case PacketType::dirty_list:
    case PacketType::dev_info:
    case PacketType::remove_from_map:
    case PacketType::write_at_response:
    case PacketType::event_response:
    case PacketType::dirty_list_response: return true;
    default: return false;
  }
}

}  // namespace

Result<Packet> decode_packet(ConstBytes body) {
  Cursor in(body);
  const auto type = static_cast<PacketType>(in.u8());
  if (!in.ok()) return truncated("a body without a type");
  Result<Packet> packet = decode_after_type(type, in);
  if (!packet) return fail(std::move(packet).error().within(name_of(type)));
  if (in.remaining() != 0 && !ignores_trailing_bytes(type))
    return invalid(name_of(type) + ": " + std::to_string(in.remaining()) + " bytes too many");
  return packet;
}

}  // namespace godwit::volume
