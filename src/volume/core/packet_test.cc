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

constexpr std::string_view kHelloHash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

Sha256 hello_hash() {
  const Bytes bytes = hex(kHelloHash);
  Sha256 hash;
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

Bytes body_of(const Packet& packet) {
  Bytes frame;
  encode_frame(DeviceId{1}, TxId{1}, packet, frame);
  return to_bytes(ConstBytes(frame).subspan(kFrameHeaderSize));
}

struct BodyRow {
  std::string name;
  std::string body;
  Packet packet;
};

// silo.md 10 for the first fourteen; the others follow from silo.md 5.
std::vector<BodyRow> body_vectors(const std::vector<Bytes>& payloads) {
  const std::string hash(kHelloHash);
  return {
      {"zeroes with two ranges", "0205 0020000000000000 4000000000000000 0004aabb 5002cc",
       WriteData{WriteForm::zeroes, 8192, 64, payloads[0]}},
      {"zeroes and nothing else", "0205 0020000000000000 4000000000000000", WriteData{WriteForm::zeroes, 8192, 64, {}}},
      {"run-length", "0202 0010000000000000 0900 0205", WriteData{WriteForm::rle, 4096, 0, payloads[1]}},
      {"run-length, a short tail run", "0202 0010000000000000 0c010209090909", WriteData{WriteForm::rle, 4096, 0, payloads[2]}},
      {"by hash", "0201 01 0000100000000000 0500000000000000" + hash, WriteByHash{HashLocation::s3, 1 << 20, 5, hello_hash()}},
      {"already have", "0203 0010000000000000 02000000 00000000 03000000", AlreadyHave{4096, {0, 3}}},
      {"device", "06 0004000000000000 00020000 0400 6469736b 01000000 78", DevInfo{1024, 512, "disk", "x"}},
      {"read", "01 5544332211000000 00100000", ReadAt{0x1122334455, 4096}},
      {"read answered", "81 03000000 616263", ReadAtResponse{3, payloads[3]}},
      {"read by hash refused", "89 0f000000 626c6f636b206e6f7420666f756e64", ReadByHashResponseErr{"block not found"}},
      {"write with a map", "09 0002000000000000 01000000 0900000000000000 1000000000000000 0102",
       WriteAtWithMap{512, {{9, 16}}, payloads[4]}},
      {"remove from a map", "0b 01000000 0700000000000000", RemoveFromMap{{7}}},
      {"alternate sources", "0c 01000000 0000000000000000 0500000000000000" + hash + "05000000 6520622064",
       AlternateSources{{{0, 5, hello_hash(), "e b d"}}}},
      {"need not", "04 0010000000000000 00200000", DontNeedAt{4096, 8192}},
      {"gzip", "0204 0000000000000000 1f8b", WriteData{WriteForm::gzip, 0, 0, payloads[5]}},
      {"raw without data", "0200 0000000000000000", WriteData{WriteForm::raw, 0, 0, {}}},
      {"by hash, of the base image", "0201 02 0000000000000000 0000000000000000" + hash,
       WriteByHash{HashLocation::base_image, 0, 0, hello_hash()}},
      {"already have nothing", "0203 0010000000000000 00000000", AlreadyHave{4096, {}}},
      {"no dirty blocks", "05 00100000 00000000", DirtyList{4096, {}}},
      {"completed", "07 04", Event{EventType::completed, 0, {}}},
      {"an event without a name", "07 09", Event{static_cast<EventType>(9), 0, {}}},
      {"custom without a payload", "07 05 47", Event{EventType::custom, kCustomGodwit, {}}},
      {"hashes", "08 02000000" + hash + "07000000" + hash, Hashes{{{2, hello_hash()}, {7, hello_hash()}}}},
      {"no hashes", "08", Hashes{}},
      {"remove the device", "0a", RemoveDev{}},
      {"no sources", "0c 00000000", AlternateSources{}},
      {"no devices", "0d", DeviceGroupInfo{}},
      {"two devices in the order they came",
       "0d 07000000 15000000 06 0010000000000000 00040000 0200 6431 00000000 02000000 16000000 06 0100000000000000 01000000 0200 "
       "6432 "
       "01000000 0a",
       DeviceGroupInfo{{{DeviceId{7}, {4096, 1024, "d1", ""}}, {DeviceId{2}, {1, 1, "d2", "\n"}}}}},
      {"read by hash", "0e" + hash, ReadByHash{hello_hash()}},
      {"read refused", "82", ReadAtResponseErr{}},
      {"read answered with nothing", "81 00000000", ReadAtResponse{0, {}}},
      {"write accepted", "83 ffffffff", WriteAtResponse{0xffffffff}},
      {"write refused", "84", WriteAtResponseErr{}},
      {"event taken", "85", EventResponse{}},
      {"hashes taken", "86", HashesResponse{}},
      {"dirty list taken", "87", DirtyListResponse{}},
      {"read by hash answered", "88 03000000 616263", ReadByHashResponse{payloads[3]}},
      {"an unknown request", "7f", UnknownPacket{0x7f}},
      {"an unknown answer", "ff", UnknownPacket{0xff}},
      {"type 0", "00", UnknownPacket{0}},
      {"an unknown sub-type", "0206", UnknownWriteForm{6}},
  };
}

std::vector<Bytes> vector_payloads() {
  return {hex("0004aabb 5002cc"), hex("0900 0205"), hex("0c010209090909"), to_bytes(as_bytes("abc")), hex("0102"), hex("1f8b")};
}

TEST(Packet, BodiesDecodeAndEncodeToTheSameBytes) {
  const std::vector<Bytes> payloads = vector_payloads();
  for (const BodyRow& row : body_vectors(payloads)) {
    SCOPED_TRACE(row.name);
    const Bytes body = hex(row.body);
    const Result<Packet> packet = decode_packet(body);
    ASSERT_TRUE(packet) << packet.error().message();
    EXPECT_TRUE(same(*packet, row.packet));
    EXPECT_EQ(to_hex(body_of(row.packet)), to_hex(body));
  }
}

TEST(Packet, AHeadIsTheFrameWithoutItsPayload) {
  const std::vector<Bytes> payloads = vector_payloads();
  for (const BodyRow& row : body_vectors(payloads)) {
    SCOPED_TRACE(row.name);
    Bytes frame = hex("aa"), head = hex("aa");  // both append
    encode_frame(DeviceId{3}, TxId{5}, row.packet, frame);
    encode_frame_head(DeviceId{3}, TxId{5}, row.packet, head);
    EXPECT_EQ(decode_frame_header(ConstBytes(head).subspan(1, kFrameHeaderSize)).body_length,
              frame.size() - 1 - kFrameHeaderSize);
    append(head, payload_of(row.packet));
    EXPECT_EQ(to_hex(head), to_hex(frame));
  }
}

TEST(Packet, PayloadsBorrowTheBody) {
  const Bytes body = hex("02 00 0002000000000000 deadbeef");
  const Packet packet = decode_packet(body).value();
  EXPECT_EQ(std::get<WriteData>(packet).payload.data(), body.data() + 10);
}

TEST(Packet, AnAnswerToAReadIsCutToWhatItSaysAndToWhatIsThere) {
  const Bytes longer = hex("81 02000000 61626364"), shorter = hex("81 09000000 6162");
  const Packet cut = decode_packet(longer).value(), all = decode_packet(shorter).value();
  EXPECT_EQ(as_text(std::get<ReadAtResponse>(cut).payload), "ab");
  EXPECT_EQ(std::get<ReadAtResponse>(cut).length, 2U);
  EXPECT_EQ(as_text(std::get<ReadAtResponse>(all).payload), "ab");
  EXPECT_EQ(std::get<ReadAtResponse>(all).length, 9U);
}

TEST(Packet, ABodyCutAnywhereIsAnErrorOrSaysLess) {
  const std::vector<Bytes> payloads = vector_payloads();
  for (const BodyRow& row : body_vectors(payloads)) {
    SCOPED_TRACE(row.name);
    const Bytes body = hex(row.body);
    for (std::size_t size = 0; size < body.size(); ++size) {
      const Result<Packet> packet = decode_packet(ConstBytes(body).first(size));
      ASSERT_FALSE(packet && same(*packet, row.packet)) << size;
    }
  }
}

struct MalformedRow {
  std::string name;
  std::string body;
  ErrorKind kind;
  MalformedAction action;
};

// silo.md 9, as far as a body alone shows it.
TEST(Packet, MalformedBodiesAreErrorsWithAnActionOfTheirOwn) {
  const std::string hash(kHelloHash);
  constexpr auto kClose = MalformedAction::close;
  constexpr auto kWrite = MalformedAction::answer_write_error;
  constexpr auto kRead = MalformedAction::answer_read_error;
  constexpr auto kHash = MalformedAction::answer_hash_error;
  constexpr auto kIgnore = MalformedAction::ignore;
  constexpr auto kTruncated = ErrorKind::truncated;
  constexpr auto kInvalid = ErrorKind::invalid;
  constexpr auto kLimit = ErrorKind::limit;
  const std::string device = "06 0010000000000000 00040000 0200 6431 00000000";
  const std::string max64 = "ffffffffffffff7f";
  const MalformedRow rows[] = {
      {"no body", "", kTruncated, kClose},
      {"a read cut off", "01 5544332211000000 001000", kTruncated, kRead},
      {"a read at a negative offset", "01 ffffffffffffffff 00100000", kInvalid, kRead},
      {"a read of a negative length", "01 0000000000000000 ffffffff", kInvalid, kRead},
      {"a read whose end wraps", "01" + max64 + "01000000", kInvalid, kRead},
      {"a write without a sub-type", "02", kTruncated, kWrite},
      {"a raw write cut off", "0200 00000000000000", kTruncated, kWrite},
      {"a raw write at a negative offset", "0200 0000000000000080 aa", kInvalid, kWrite},
      {"a raw write whose end wraps", "0200" + max64 + "aa", kInvalid, kWrite},
      {"a run-length write at a negative offset", "0202 ffffffffffffffff 0900", kInvalid, kWrite},
      {"a gzip write cut off", "0204 000000", kTruncated, kWrite},
      {"a zeroes write cut off", "0205 0000000000000000 40000000000000", kTruncated, kWrite},
      {"a zeroes write of a negative length", "0205 0000000000000000 ffffffffffffffff", kInvalid, kWrite},
      {"a zeroes write whose end wraps", "0205 0100000000000000" + max64, kInvalid, kWrite},
      {"a hash one byte short", "0201 01 0000000000000000 0500000000000000" + hash.substr(2), kTruncated, kWrite},
      {"a hash one byte long", "0201 01 0000000000000000 0500000000000000" + hash + "00", kInvalid, kWrite},
      {"by hash at a negative offset", "0201 01 ffffffffffffffff 0500000000000000" + hash, kInvalid, kWrite},
      {"by hash of a negative length", "0201 01 0000000000000000 ffffffffffffffff" + hash, kInvalid, kWrite},
      {"already have more than is there", "0203 0010000000000000 02000000 00000000 030000", kTruncated, kWrite},
      {"already have a count past memory", "0203 0010000000000000 ffffffff 00000000", kTruncated, kWrite},
      {"already have cut off", "0203 0010000000000000 0000", kTruncated, kWrite},
      {"need cut off", "03 0000000000000000 000000", kTruncated, kClose},
      {"need of a negative length", "03 0000000000000000 ffffffff", kInvalid, kIgnore},
      {"need not of 2 GiB, which overflows in an original", "04 0000000000000000 00000080", kInvalid, kIgnore},
      {"need not cut off", "04 00", kTruncated, kClose},
      {"a dirty list with a count past memory", "05 00100000 ffffffff", kTruncated, kClose},
      {"a dirty list cut off", "05 00100000 02000000 01000000", kTruncated, kClose},
      {"a dirty list without a count", "05 00100000", kTruncated, kClose},
      {"a device cut off", "06 0004000000000000 00020000 0400 6469736b 01000000", kTruncated, kClose},
      {"a device with a name past the end", "06 0004000000000000 00020000 ff00 6469736b 00000000", kTruncated, kClose},
      {"a device with a name of 256 bytes", "06 0004000000000000 00020000 0001" + std::string(512, '6') + "00000000", kLimit,
       kClose},
      {"a device with a schema past 1 MiB", "06 0004000000000000 00020000 0000 01001000", kLimit, kClose},
      {"a device of size 0", "06 0000000000000000 00020000 0000 00000000", kInvalid, kClose},
      {"a device of a negative size", "06 ffffffffffffffff 00020000 0000 00000000", kInvalid, kClose},
      {"a device with block size 0", "06 0004000000000000 00000000 0000 00000000", kInvalid, kClose},
      {"an event without a type", "07", kTruncated, kClose},
      {"a custom event without its type", "0705", kTruncated, kClose},
      {"hashes cut off", "08 02000000" + hash.substr(2), kTruncated, kClose},
      {"hashes and a bit", "08 02000000" + hash + "00", kTruncated, kClose},
      {"a map with a count past memory", "09 0000000000000000 ffffffff", kTruncated, kWrite},
      {"a map cut off", "09 0000000000000000 01000000 0900000000000000 10000000000000", kTruncated, kWrite},
      {"a write with a map at a negative offset", "09 ffffffffffffffff 00000000 aa", kInvalid, kWrite},
      {"remove the device and more", "0a00", kInvalid, kClose},
      {"ids with a count past memory", "0b ffffffff", kTruncated, kClose},
      {"ids cut off", "0b 01000000 07000000000000", kTruncated, kClose},
      {"sources with a count past memory", "0c ffffffff", kTruncated, kClose},
      {"a source cut off", "0c 01000000 0000000000000000 0500000000000000" + hash + "06000000 6520622064", kTruncated, kClose},
      {"sources and more", "0c 00000000 00", kInvalid, kClose},
      {"a source of a negative length", "0c 01000000 0000000000000000 ffffffffffffffff" + hash + "00000000", kInvalid, kClose},
      {"a group entry cut off", "0d 01000000 16000000" + device, kTruncated, kClose},
      {"a group entry of nothing", "0d 01000000 00000000", kInvalid, kClose},
      {"a group entry that is something else", "0d 01000000 01000000 0a", kInvalid, kClose},
      {"a group entry whose device is cut off", "0d 01000000 05000000 06 00000000", kTruncated, kClose},
      {"a group with the control channel as a device", "0d 00000000 15000000" + device, kInvalid, kClose},
      {"a group with one number twice",
       "0d 01000000 15000000" + device + "01000000 15000000 06 0010000000000000 00040000 0200 6432 00000000", kInvalid, kClose},
      {"a group with one name twice", "0d 01000000 15000000" + device + "02000000 15000000" + device, kInvalid, kClose},
      {"read by hash cut off", "0e" + hash.substr(2), kTruncated, kHash},
      {"read by hash and more", "0e" + hash + "00", kInvalid, kHash},
      {"an answer to a read cut off", "81 000000", kTruncated, kClose},
      {"a refusal of a read and more", "8200", kInvalid, kClose},
      {"an answer to a write cut off", "83 040000", kTruncated, kClose},
      {"a refusal of a write and more", "8400", kInvalid, kClose},
      {"an answer to hashes and more", "8600", kInvalid, kClose},
      {"an answer to a read by hash cut off", "88 04000000 616263", kTruncated, kClose},
      {"an answer to a read by hash and more", "88 02000000 616263", kInvalid, kClose},
      {"a refusal of a read by hash cut off", "89 04000000 616263", kTruncated, kClose},
  };
  for (const MalformedRow& row : rows) {
    SCOPED_TRACE(row.name);
    const Bytes body = hex(row.body);
    const Result<Packet> packet = decode_packet(body);
    ASSERT_FALSE(packet);
    EXPECT_EQ(packet.error().kind(), row.kind) << packet.error().message();
    EXPECT_EQ(malformed_action(body), row.action);
  }
}

TEST(Packet, TrailingBytesThatAnOriginalAcceptsAreIgnored) {
  const std::string_view rows[] = {
      "01 5544332211000000 00100000",
      "03 0008000000000000 00040000",
      "04 0008000000000000 00040000",
      "05 00100000 02000000 01000000 07000000",
      "06 0004000000000000 00020000 0400 6469736b 01000000 78",
      "07 04",
      "0203 0010000000000000 02000000 00000000 03000000",
      "0b 01000000 0700000000000000",
      "83 04000000",
      "85",
      "87",
  };
  for (const std::string_view row : rows) {
    const Bytes body = hex(row);
    Bytes longer = body;
    append(longer, as_bytes("trailing"));
    const Result<Packet> packet = decode_packet(longer);
    ASSERT_TRUE(packet) << row << ": " << packet.error().message();
    EXPECT_TRUE(same(*packet, decode_packet(body).value())) << row;
  }
}

TEST(Packet, UnknownTypesAreIgnored) {
  for (const unsigned type : {0x00U, 0x0FU, 0x7FU, 0x80U, 0x8AU, 0xFFU}) {
    const Bytes body = {static_cast<std::byte>(type), std::byte{1}, std::byte{2}};
    const Result<Packet> packet = decode_packet(body);
    ASSERT_TRUE(packet) << type;
    EXPECT_EQ(std::get<UnknownPacket>(*packet).type, type);
    EXPECT_EQ(malformed_action(body), MalformedAction::ignore);
  }
}

TEST(Packet, LimitsOfADeviceThemselvesAreKept) {
  const DevInfo info{1, 1, std::string(kDeviceNameSizeMax, 'n'), std::string(kSchemaSizeMax, 's')};
  EXPECT_TRUE(std::get<DevInfo>(decode_packet(body_of(info)).value()) == info);
  DeviceGroupInfo group;
  for (std::uint32_t i = 1; i <= kGroupDevicesMax; ++i) group.devices.push_back({DeviceId{i}, {1, 1, std::to_string(i), ""}});
  Bytes body = body_of(group);
  EXPECT_TRUE(std::get<DeviceGroupInfo>(decode_packet(body).value()) == group);
  append(body, hex("ffff0000 13000000 06 0100000000000000 01000000 0000 00000000"));
  const Result<Packet> more = decode_packet(body);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().kind(), ErrorKind::limit);
}

TEST(Packet, ErrorsSayWhichPacketItWouldHaveBeen) {
  EXPECT_EQ(decode_packet(hex("05 00100000 ffffffff")).error().message(), "DirtyList: a list of blocks cut off");
  EXPECT_EQ(name_of(PacketType::device_group_info), "DeviceGroupInfo");
  EXPECT_EQ(name_of(static_cast<PacketType>(0x7f)), "packet 0x7f");
  EXPECT_TRUE(is_response(PacketType::read_by_hash_response_err));
  EXPECT_FALSE(is_response(PacketType::read_by_hash));
}

TEST(Packet, RandomBytesEitherFailOrSaySomethingThatEncodesAgain) {
  Random random(9);
  std::size_t decoded_count = 0;
  for (int round = 0; round < 200000; ++round) {
    Bytes body(1 + random.below(60));
    for (std::byte& b : body) b = static_cast<std::byte>(random.chance(0.6) ? 0 : random.below(random.chance(0.5) ? 4 : 256));
    body[0] = static_cast<std::byte>(random.chance(0.7) ? random.below(0x10) : 0x80 + random.below(0x0b));
    const Result<Packet> packet = decode_packet(body);
    if (!packet) continue;
    ++decoded_count;
    const Bytes again = body_of(*packet);
    const Result<Packet> second = decode_packet(again);
    ASSERT_TRUE(second) << to_hex(body) << ": " << second.error().message();
    ASSERT_TRUE(same(*packet, *second)) << to_hex(body);
  }
  EXPECT_GT(decoded_count, 10000U);
}

struct PeekRow {
  std::string name;
  std::uint32_t body_length;
  std::string body_start;
  std::optional<std::uint32_t> payload_length;
};

TEST(RawWriteHead, IsSeenAsSoonAsItsTenBytesAreThere) {
  const PeekRow rows[] = {
      {"all of it", 14, "0200 0002000000000000 deadbeef", 4},
      {"only the head", 4106, "0200 0002000000000000", 4096},
      {"no payload", 10, "0200 0002000000000000", 0},
      {"a byte short", 14, "0200 00020000000000", std::nullopt},
      {"a body that ends before its head does", 9, "0200 0002000000000000", std::nullopt},
      {"another sub-type", 14, "0202 0002000000000000 0d07", std::nullopt},
      {"another packet", 14, "0700 0002000000000000", std::nullopt},
      {"a negative offset", 14, "0200 00020000000000ff", std::nullopt},
      {"an end that wraps", 14, "0200 ffffffffffffff7f", std::nullopt},
  };
  for (const PeekRow& row : rows) {
    SCOPED_TRACE(row.name);
    const std::optional<RawWriteHead> head = peek_raw_write({DeviceId{1}, TxId{1}, row.body_length}, hex(row.body_start));
    ASSERT_EQ(head.has_value(), row.payload_length.has_value());
    if (!head) continue;
    EXPECT_EQ(head->offset, 512);
    EXPECT_EQ(head->payload_length, *row.payload_length);
  }
}

}  // namespace
}  // namespace godwit::volume
