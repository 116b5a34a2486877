#include "volume/core/packet.h"

#include <fmt/format.h>

#include <limits>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::volume {

FrameHeader decode_frame_header(ConstBytes twelve) {
  GODWIT_CHECK(twelve.size() == kFrameHeaderSize);
  Cursor cursor(twelve);
  FrameHeader header;
  header.device = DeviceId{cursor.u32_le()};
  header.tx = TxId{cursor.u32_le()};
  header.body_length = cursor.u32_le();
  return header;
}

std::string name_of(PacketType type) {
  switch (type) {
    case PacketType::read_at: return "ReadAt";
    case PacketType::write_at: return "WriteAt";
    case PacketType::need_at: return "NeedAt";
    case PacketType::dont_need_at: return "DontNeedAt";
    case PacketType::dirty_list: return "DirtyList";
    case PacketType::dev_info: return "DevInfo";
    case PacketType::event: return "Event";
    case PacketType::hashes: return "Hashes";
    case PacketType::write_at_with_map: return "WriteAtWithMap";
    case PacketType::remove_dev: return "RemoveDev";
    case PacketType::remove_from_map: return "RemoveFromMap";
    case PacketType::alternate_sources: return "AlternateSources";
    case PacketType::device_group_info: return "DeviceGroupInfo";
    case PacketType::read_by_hash: return "ReadByHash";
    case PacketType::read_at_response: return "ReadAtResponse";
    case PacketType::read_at_response_err: return "ReadAtResponseErr";
    case PacketType::write_at_response: return "WriteAtResponse";
    case PacketType::write_at_response_err: return "WriteAtResponseErr";
    case PacketType::event_response: return "EventResponse";
    case PacketType::hashes_response: return "HashesResponse";
    case PacketType::dirty_list_response: return "DirtyListResponse";
    case PacketType::read_by_hash_response: return "ReadByHashResponse";
    case PacketType::read_by_hash_response_err: return "ReadByHashResponseErr";
  }
  return fmt::format("packet 0x{:02x}", static_cast<unsigned>(type));
}

MalformedAction malformed_action(ConstBytes body) {
  if (body.empty()) return MalformedAction::close;
  const auto type = static_cast<PacketType>(body[0]);
  switch (type) {
    case PacketType::write_at:
    case PacketType::write_at_with_map: return MalformedAction::answer_write_error;
    case PacketType::read_at: return MalformedAction::answer_read_error;
    case PacketType::read_by_hash: return MalformedAction::answer_hash_error;
    case PacketType::need_at:
    case PacketType::dont_need_at:
      // Complete but with a negative range: an original lets a run of 2 GiB and more overflow (silo.md 5.3). Both are only
      // hints, so that peer is not worth losing.
      return body.size() >= 13 ? MalformedAction::ignore : MalformedAction::close;
    case PacketType::dirty_list:
    case PacketType::dev_info:
    case PacketType::event:
    case PacketType::hashes:
    case PacketType::remove_dev:
    case PacketType::remove_from_map:
    case PacketType::alternate_sources:
    case PacketType::device_group_info:
    case PacketType::read_at_response:
    case PacketType::read_at_response_err:
    case PacketType::write_at_response:
    case PacketType::write_at_response_err:
    case PacketType::event_response:
    case PacketType::hashes_response:
    case PacketType::dirty_list_response:
    case PacketType::read_by_hash_response:
    case PacketType::read_by_hash_response_err: return MalformedAction::close;
  }
  return MalformedAction::ignore;
}

std::optional<RawWriteHead> peek_raw_write(const FrameHeader& header, ConstBytes body_start) {
  if (header.body_length < kRawWriteHeadSize || body_start.size() < kRawWriteHeadSize) return std::nullopt;
  Cursor cursor(body_start);
  if (cursor.u8() != static_cast<std::uint8_t>(PacketType::write_at)) return std::nullopt;
  if (cursor.u8() != static_cast<std::uint8_t>(WriteForm::raw)) return std::nullopt;
  RawWriteHead head;
  head.offset = cursor.i64_le();
  head.payload_length = header.body_length - static_cast<std::uint32_t>(kRawWriteHeadSize);
  // What decode_packet would refuse is left to it.
  if (head.offset < 0 || head.offset > std::numeric_limits<std::int64_t>::max() - head.payload_length) return std::nullopt;
  return head;
}

}  // namespace godwit::volume
