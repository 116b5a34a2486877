#include "volume/core/packet.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/random.h"

namespace godwit::volume {
namespace {

Bytes hex(std::string_view text) {
  Result<Bytes> bytes = from_hex(text);
  EXPECT_TRUE(bytes) << text;
  return bytes ? *bytes : Bytes{};
}



// Packets of bytes that outlive the comparison.
const Bytes kDeadBeef = {std::byte{0xde}, std::byte{0xad}, std::byte{0xbe}, std::byte{0xef}};

// Equality of what two packets say; borrowed payloads by their bytes.
bool same(const Packet& a, const Packet& b) {
  Bytes first, second;
  encode_frame(DeviceId{1}, TxId{1}, a, first);
  encode_frame(DeviceId{1}, TxId{1}, b, second);
  return a.index() == b.index() && first == second;
}

struct FrameRow {
  std::string name;
  std::string frame;
  FrameHeader header;
  Packet packet;
};

// silo.md 10: made with the original's own encoders.
std::vector<FrameRow> frame_vectors(const Bytes& rle, const Bytes& hello) {
  return {
      {"device group info",
       "00000000 01000000 1e000000 | 0d  01000000 15000000  06 0010000000000000 00040000 0200 6431 00000000",
       {kControlDevice, TxId{1}, 30},
       DeviceGroupInfo{{{DeviceId{1}, DevInfo{4096, 1024, "d1", ""}}}}},
      {"raw write",
       "01000000 03000000 0e000000 | 02 00 0002000000000000 deadbeef",
       {DeviceId{1}, TxId{3}, 14},
       WriteData{WriteForm::raw, 512, 0, kDeadBeef}},
      {"its ack", "01000000 03000000 05000000 | 83 04000000", {DeviceId{1}, TxId{3}, 5}, WriteAtResponse{4}},
      {"run-length write",
       "01000000 04000000 10000000 | 02 02 0010000000000000 0d07 06010203",
       {DeviceId{1}, TxId{4}, 16},
       WriteData{WriteForm::rle, 4096, 0, rle}},
      {"dirty list",
       "01000000 09000000 11000000 | 05 00100000 02000000 01000000 07000000",
       {DeviceId{1}, TxId{9}, 17},
       DirtyList{4096, {1, 7}}},
      {"its ack", "01000000 09000000 01000000 | 87", {DeviceId{1}, TxId{9}, 1}, DirtyListResponse{}},
      {"custom event",
       "00000000 0c000000 08000000 | 07 05 00 48656c6c6f",
       {kControlDevice, TxId{12}, 8},
       Event{EventType::custom, kCustomResume, hello}},
      {"its ack", "00000000 0c000000 01000000 | 85", {kControlDevice, TxId{12}, 1}, EventResponse{}},
      {"need", "02000000 01000000 0d000000 | 03 0008000000000000 00040000", {DeviceId{2}, TxId{1}, 13}, NeedAt{2048, 1024}},
  };
}

TEST(Packet, OriginalFramesDecodeAndEncodeToTheSameBytes) {
  const Bytes rle = hex("0d07 06010203"), hello = to_bytes(as_bytes("Hello"));
  for (const FrameRow& row : frame_vectors(rle, hello)) {
    SCOPED_TRACE(row.name);
    const Bytes frame = hex(row.frame);
    EXPECT_EQ(decode_frame_header(ConstBytes(frame).first(kFrameHeaderSize)), row.header);
    ASSERT_EQ(frame.size(), kFrameHeaderSize + row.header.body_length);
    const Result<Packet> packet = decode_packet(ConstBytes(frame).subspan(kFrameHeaderSize));
    ASSERT_TRUE(packet) << packet.error().message();
    EXPECT_TRUE(same(*packet, row.packet));
    Bytes encoded;
    encode_frame(row.header.device, row.header.tx, row.packet, encoded);
    EXPECT_EQ(to_hex(encoded), to_hex(frame));
  }
}

}  // namespace
}  // namespace godwit::volume
