#include "homa/core/packet.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::homa {
namespace {

constexpr std::uint32_t kLengthMax = 1'000'000;
constexpr Port kClient{0x8000}, kServer{99};

Bytes hex(const std::string& text) {
  const Result<Bytes> bytes = from_hex(text);
  EXPECT_TRUE(bytes) << text;
  return bytes.value_or(Bytes{});
}

struct Row {
  std::string name;
  std::string bytes;  // of the header
  std::string data;
  Packet packet;
};

std::string server_header(const char* type) {
  return std::string("0063 8000 00000000 00000000 00 ") + type + " 0000 0000 0000 0000000000000005";
}
std::string client_header(const char* doff, const char* type, const char* id) {
  return std::string("8000 0063 00000000 00000000 ") + doff + type + " 0000 0000 0000 " + id;
}

Packet from_server(PacketBody body) {
  return {kServer, kClient, RpcId{5}, body};
}
Packet from_client(std::uint64_t id, PacketBody body) {
  return {kClient, kServer, RpcId{id}, body};
}

// homa.md 3.6, E1 to E9; the last two follow from its tables.
std::vector<Row> golden() {
  const std::string no_ack = "000000000000000000000000";
  Ack one_more{1, {}};
  one_more.more[0] = {RpcId{6}, kClient, kServer};
  return {
      {"E1 a whole short request",
       client_header("a0", "14", "0000000000000002") + "00000005 00000005 0000 00 00 00000000 00000005" + no_ack, "68656c6c6f",
       from_client(2, Data{5, 5, 0, false, 0, 5, {}})},
      {"E2 a second packet that acknowledges",
       client_header("a0", "14", "0000000000000004") +
           "00004e20 00002c20 0001 00 00 00000584 00000584 0000000000000002 8000 0063",
       std::string(2 * 1412, 'a'), from_client(4, Data{20000, 11296, 1, false, 1412, 1412, {RpcId{2}, kClient, kServer}})},
      {"E3 a grant", server_header("15") + "00003218 00", "", from_server(Grant{12824, 0})},
      {"E4 bytes asked for again", server_header("16") + "00000b08 00000584 07", "", from_server(Resend{2824, 1412, 7})},
      {"E5 unknown", server_header("17"), "", from_server(Unknown{})},
      {"E6 busy", server_header("18"), "", from_server(Busy{})},
      {"E7 the default cutoffs",
       server_header("19") + "00000000 00000000 00000000 00000000 000f4240 00003a98 00000af0 000000c8 0001", "",
       from_server(CutoffsUpdate{{0, 0, 0, 0, 1'000'000, 15'000, 2'800, 200}, 1})},
      {"E8 an acknowledgement wanted", server_header("1b"), "", from_server(NeedAck{})},
      {"E9 two acknowledged",
       client_header("00", "1c", "0000000000000004") + "0001 0000000000000006 8000 0063" + std::string(96, '0'), "",
       from_client(4, one_more)},
      {"freeze", server_header("1a"), "", from_server(Freeze{})},
      {"data sent again",
       client_header("a0", "14", "0000000000000002") + "00000005 00000005 ffff 01 00 00000004 00000001" + no_ack, "6f",
       from_client(2, Data{5, 5, 0xffff, true, 4, 1, {}})},
  };
}

TEST(HomaPacket, TheSpecificationsExamplesDecodeAndEncodeToTheSameBytes) {
  for (const Row& row : golden()) {
    SCOPED_TRACE(row.name);
    const Bytes header = hex(row.bytes), data = hex(row.data);
    Bytes datagram = header;
    append(datagram, data);
    const std::expected<Packet, Malformed> packet = decode_packet(datagram, datagram.size(), kLengthMax);
    ASSERT_TRUE(packet.has_value()) << name_of(packet.error());
    EXPECT_EQ(*packet, row.packet) << describe(*packet);
    std::array<std::byte, kHeaderSizeMax> out;
    const std::size_t size = encode_packet(row.packet, out);
    EXPECT_EQ(to_hex(ConstBytes(out).first(size)), to_hex(header));
  }
}

TEST(HomaPacket, OnlyTheFirstBytesOfADatagramAreNeeded) {
  for (const Row& row : golden()) {
    SCOPED_TRACE(row.name);
    Bytes datagram = hex(row.bytes);
    append(datagram, hex(row.data));
    const ConstBytes head = ConstBytes(datagram).first(std::min(datagram.size(), kHeaderSizeMax));
    EXPECT_EQ(decode_packet(head, datagram.size(), kLengthMax), row.packet);
  }
}

TEST(HomaPacket, APacketCutShortAtAnyByteIsDropped) {
  for (const Row& row : golden()) {
    SCOPED_TRACE(row.name);
    Bytes datagram = hex(row.bytes);
    const std::size_t header_size = datagram.size();
    append(datagram, hex(row.data));
    for (std::size_t size = 0; size < datagram.size(); ++size) {
      const std::expected<Packet, Malformed> packet = decode_packet(ConstBytes(datagram).first(size), size, kLengthMax);
      ASSERT_FALSE(packet.has_value()) << size;
      const Malformed reason = size < header_size    ? Malformed::too_short
                               : size == header_size ? Malformed::empty_segment
                                                     : Malformed::segment_length;
      ASSERT_EQ(packet.error(), reason) << size;
    }
  }
}

TEST(HomaPacket, ExtraBytesBehindAControlPacketAreIgnored) {
  for (const Row& row : golden()) {
    if (row.packet.type() == PacketType::data) continue;
    SCOPED_TRACE(row.name);
    Bytes datagram = hex(row.bytes);
    datagram.resize(datagram.size() + 100, std::byte{0xee});
    EXPECT_EQ(decode_packet(datagram, datagram.size(), kLengthMax), row.packet);
  }
}

TEST(HomaPacket, FieldsThatMeanNothingAreIgnored) {
  constexpr std::size_t kUnused[] = {4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19};
  for (const Row& row : golden()) {
    SCOPED_TRACE(row.name);
    Bytes datagram = hex(row.bytes);
    append(datagram, hex(row.data));
    for (const std::size_t at : kUnused) datagram[at] = std::byte{0xff};
    if (row.packet.type() == PacketType::data) datagram[39] = std::byte{0xff};
    EXPECT_EQ(decode_packet(datagram, datagram.size(), kLengthMax), row.packet);
  }
}

struct MalformedRow {
  const char* name;
  std::size_t at;
  std::string bytes;
  Malformed reason;
};

TEST(HomaPacket, DataThatContradictsItselfIsDropped) {
  const MalformedRow rows[] = {
      {"a type below all", 13, "13", Malformed::unknown_type},
      {"a type above all", 13, "1d", Malformed::unknown_type},
      {"type 0", 13, "00", Malformed::unknown_type},
      {"type 255", 13, "ff", Malformed::unknown_type},
      {"an empty message", 28, "00000000", Malformed::message_length},
      {"a message above the limit", 28, "000f4241", Malformed::message_length},
      {"the longest length", 28, "ffffffff", Malformed::message_length},
      {"a segment behind the end", 40, "00000001", Malformed::beyond_message},
      {"an offset that would wrap", 40, "fffffffe", Malformed::beyond_message},
      {"a segment shorter than what follows", 44, "00000004", Malformed::segment_length},
      {"a segment longer than what follows", 44, "00000006", Malformed::segment_length},
      {"an empty segment with data", 44, "00000000", Malformed::segment_length},
  };
  const Row e1 = golden()[0];
  for (const MalformedRow& row : rows) {
    SCOPED_TRACE(row.name);
    Bytes datagram = hex(e1.bytes + e1.data);
    const Bytes patch = hex(row.bytes);
    std::copy(patch.begin(), patch.end(), datagram.begin() + static_cast<std::ptrdiff_t>(row.at));
    const std::expected<Packet, Malformed> packet = decode_packet(datagram, datagram.size(), kLengthMax);
    ASSERT_FALSE(packet.has_value());
    EXPECT_EQ(packet.error(), row.reason) << name_of(packet.error());
  }
}

TEST(HomaPacket, AnAckWithMoreRecordsThanItHoldsIsDropped) {
  Bytes datagram = hex(golden()[8].bytes);
  datagram[29] = std::byte{6};
  EXPECT_EQ(decode_packet(datagram, datagram.size(), kLengthMax).error(), Malformed::ack_count);
}

TEST(HomaPacket, WhatIsEncodedDecodesToItself) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    const auto u32 = [&] { return static_cast<std::uint32_t>(random.next()); };
    const auto u16 = [&] { return static_cast<std::uint16_t>(random.next()); };
    const AckRecord record{RpcId{random.next()}, Port{u16()}, Port{u16()}};
    const std::uint32_t length = 1 + u32() % kLengthMax, offset = u32() % length;
    const std::uint32_t size = 1 + u32() % std::min(length - offset, 1412u);
    Ack ack{static_cast<std::uint16_t>(random.below(6)), {}};
    for (std::size_t k = 0; k < ack.count; ++k) ack.more[k] = {RpcId{random.next()}, Port{u16()}, Port{u16()}};
    const PacketBody bodies[] = {Data{length, u32(), u16(), random.chance(0.5), offset, size, record},
                                 Grant{u32(), static_cast<std::uint8_t>(u32())},
                                 Resend{u32(), u32(), static_cast<std::uint8_t>(u32())},
                                 CutoffsUpdate{{u32(), u32(), u32(), u32(), u32(), u32(), u32(), u32()}, u16()}, ack};
    const Packet packet{Port{u16()}, Port{u16()}, RpcId{random.next()}, bodies[random.below(5)]};
    std::array<std::byte, kHeaderSizeMax> out{};
    const std::size_t header_size = encode_packet(packet, out);
    const std::size_t data_size = packet.type() == PacketType::data ? size : 0;
    Bytes datagram = to_bytes(ConstBytes(out).first(header_size));
    datagram.resize(header_size + data_size);
    ASSERT_EQ(decode_packet(datagram, datagram.size(), kLengthMax), packet) << describe(packet);
  }
}

}  // namespace
}  // namespace godwit::homa
