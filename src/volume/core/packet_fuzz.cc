// Any bytes as a body: it decodes to something that encodes and decodes to itself, or it is refused with an action.
#include <algorithm>

#include "base/check.h"
#include "volume/core/packet.h"

using namespace godwit;
using namespace godwit::volume;

static void check_round_trip(const Packet& packet) {
  Bytes frame, head;
  encode_frame(DeviceId{1}, TxId{2}, packet, frame);
  encode_frame_head(DeviceId{1}, TxId{2}, packet, head);
  append(head, payload_of(packet));
  GODWIT_CHECK(head == frame);
  const FrameHeader header = decode_frame_header(ConstBytes(frame).first(kFrameHeaderSize));
  const ConstBytes body = ConstBytes(frame).subspan(kFrameHeaderSize);
  GODWIT_CHECK(header.body_length == body.size());
  const Result<Packet> again = decode_packet(body);
  GODWIT_CHECK(again && again->index() == packet.index());
  Bytes second;
  encode_frame(DeviceId{1}, TxId{2}, *again, second);
  GODWIT_CHECK(second == frame);
}

static void check_raw_write(ConstBytes body, const Result<Packet>& packet) {
  const std::optional<RawWriteHead> head = peek_raw_write({DeviceId{1}, TxId{2}, static_cast<std::uint32_t>(body.size())},
                                                          body.first(std::min(body.size(), kRawWriteHeadSize)));
  const WriteData* write = packet ? std::get_if<WriteData>(&*packet) : nullptr;
  const bool is_raw = write != nullptr && write->form == WriteForm::raw;
  GODWIT_CHECK(head.has_value() == is_raw);
  if (is_raw) GODWIT_CHECK(head->offset == write->offset && head->payload_length == write->payload.size());
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes body(reinterpret_cast<const std::byte*>(data), size);
  const Result<Packet> packet = decode_packet(body);
  if (packet) check_round_trip(*packet);
  const MalformedAction action = malformed_action(body);
  const bool is_unknown = packet && std::holds_alternative<UnknownPacket>(*packet);
  if (is_unknown) GODWIT_CHECK(action == MalformedAction::ignore);
  check_raw_write(body, packet);
  return 0;
}
