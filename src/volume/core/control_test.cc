#include "volume/core/control.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/random.h"
#include "volume/core/counted_ids_test.h"
#include "volume/core/packet.h"

namespace godwit::volume {
namespace {

constexpr std::size_t kFieldsAt = 17;

Chain a_chain() {
  Chain chain;
  chain.add(OwnershipKind::created, counted<HandoverId>(1), counted<HostId>(0x50));
  chain.add(OwnershipKind::forced, counted<HandoverId>(2), counted<HostId>(0x60));
  chain.over.push_back(counted<HandoverId>(3));
  return chain;
}

Peer a_peer() {
  return {counted<HostId>(0x70), "host-c", "[::1]:5170"};
}

Sha256 a_hash(std::uint8_t fill) {
  Sha256 hash;
  hash.fill(std::byte{fill});
  return hash;
}

// Every field a message could have, so that a row of the table says only which.
ControlMessage all_fields() {
  ControlMessage m;
  m.volume = counted<VolumeId>(0x10);
  m.host = counted<HostId>(0xa0);
  m.boot = Boot{7};
  m.name = "b";
  m.features = kFeatureAnswersHashAsk;
  m.device = DeviceId{3};
  m.copy = counted<CopyId>(0x40);
  m.state = CopyState::relinquished;
  m.chain = a_chain();
  m.h = counted<HandoverId>(0x20);
  m.peer = a_peer();
  m.session = counted<SessionId>(0x80);
  m.previous = counted<SessionId>(0x90);
  m.size = 1ULL << 40;
  m.block_size = 65536;
  m.claims = 12;
  m.base = a_hash(9);
  m.mode = PullMode::continue_session;
  m.code = RefuseCode::paused;
  m.text = "not now";
  m.epoch = 77;
  m.address = "unix:/run/x";
  m.first = 1000;
  m.count = 11;
  m.bitmap = Bytes{std::byte{0x81}, std::byte{0x04}};
  m.hashes = std::vector<Sha256>{a_hash(1), a_hash(2), a_hash(3)};
  m.n = 5;
  m.tip = counted<HandoverId>(0xb0);
  m.word = 2;
  m.open = std::vector<Cookie>{1, 2, ~Cookie{0}};
  m.done = std::vector<Cookie>{};
  return m;
}

// Takes out of `all` what is not in the list.
ControlMessage with(ControlType type, const std::vector<int>& tags) {
  const ControlMessage all = all_fields();
  ControlMessage m;
  m.type = type;
  if (type != ControlType::hello) m.volume = all.volume;
  for (const int tag : tags) {
    switch (tag) {
      case 1: m.host = all.host; break;
      case 2: m.boot = all.boot; break;
      case 3: m.name = all.name; break;
      case 4: m.features = all.features; break;
      case 5: m.device = all.device; break;
      case 6: m.copy = all.copy; break;
      case 7: m.state = all.state; break;
      case 8: m.chain = all.chain; break;
      case 9: m.h = all.h; break;
      case 10: m.peer = all.peer; break;
      case 11: m.session = all.session; break;
      case 12: m.previous = all.previous; break;
      case 13: m.size = all.size; break;
      case 14: m.block_size = all.block_size; break;
      case 15: m.claims = all.claims; break;
      case 16: m.base = all.base; break;
      case 17: m.mode = all.mode; break;
      case 18: m.code = all.code; break;
      case 19: m.text = all.text; break;
      case 20: m.epoch = all.epoch; break;
      case 21: m.address = all.address; break;
      case 22: m.first = all.first; break;
      case 23: m.count = all.count; break;
      case 24: m.bitmap = all.bitmap; break;
      case 25: m.hashes = all.hashes; break;
      case 26: m.n = all.n; break;
      case 27: m.tip = all.tip; break;
      case 28: m.word = all.word; break;
      case 29: m.open = all.open; break;
      case 30: m.done = all.done; break;
      default: ADD_FAILURE() << "no field " << tag;
    }
  }
  return m;
}

struct Row {
  ControlType type;
  std::vector<int> needed;
  std::vector<int> optional;
};

// ownership.md 15's table.
const std::vector<Row>& table() {
  static const std::vector<Row> rows = {
      {ControlType::hello, {1, 2, 3, 4}, {21}},
      {ControlType::state, {6, 7, 13, 14, 8}, {5, 9, 10, 16, 21}},
      {ControlType::pull, {11, 6, 7, 8, 13, 14, 15, 28}, {12, 9, 16}},
      {ControlType::accept, {11, 8, 17}, {}},
      {ControlType::refuse, {11, 18}, {10, 19}},
      {ControlType::prepare, {11, 9, 20}, {}},
      {ControlType::ready, {9, 6}, {}},
      {ControlType::aborted, {9}, {}},
      {ControlType::grant, {9, 6, 8}, {30}},
      {ControlType::owned, {9, 8}, {21}},
      {ControlType::owned_ack, {9}, {}},
      {ControlType::revoke, {9}, {}},
      {ControlType::declined, {9}, {}},
      {ControlType::cancel, {6}, {}},
      {ControlType::cancel_ok, {6}, {}},
      {ControlType::hash_ask, {11, 22, 23}, {}},
      {ControlType::hashes, {11, 22, 23, 24, 25}, {}},
      {ControlType::relay_open, {1, 2, 26, 27}, {29}},
      {ControlType::relay_ok, {1, 2, 3}, {30}},
      {ControlType::relay_no, {18, 1, 2}, {27, 10, 30, 19}},
  };
  return rows;
}

ControlMessage whole(const Row& row) {
  std::vector<int> tags = row.needed;
  tags.insert(tags.end(), row.optional.begin(), row.optional.end());
  return with(row.type, tags);
}

Bytes encoded(const ControlMessage& message) {
  Bytes out;
  encode_control(message, out);
  return out;
}

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

// The payload's fields, to be put together again in another way.
std::vector<Bytes> fields_of(ConstBytes payload) {
  std::vector<Bytes> fields;
  Cursor in(payload.subspan(kFieldsAt));
  while (!in.at_end()) {
    const std::size_t start = kFieldsAt + in.offset();
    (void)in.u16_le();
    (void)in.take(in.u32_le());
    EXPECT_TRUE(in.ok());
    fields.push_back(to_bytes(payload.subspan(start, kFieldsAt + in.offset() - start)));
  }
  return fields;
}

Bytes joined(ConstBytes payload, const std::vector<Bytes>& fields) {
  Bytes out = to_bytes(payload.first(kFieldsAt));
  for (const Bytes& field : fields) append(out, field);
  return out;
}

Bytes field(std::uint16_t tag, ConstBytes value) {
  Bytes out;
  Writer writer(out);
  writer.u16_le(tag);
  writer.u32_le(static_cast<std::uint32_t>(value.size()));
  writer.bytes(value);
  return out;
}

TEST(Control, EveryMessageRoundTripsWithAllItsFieldsAndWithOnlyTheNeededOnes) {
  ASSERT_EQ(table().size(), 20U);
  for (const Row& row : table()) {
    for (const ControlMessage& message : {with(row.type, row.needed), whole(row)}) {
      SCOPED_TRACE(name_of(row.type));
      const Result<DecodedControl> decoded = decode_control(encoded(message));
      ASSERT_TRUE(decoded) << decoded.error().message();
      ASSERT_TRUE(decoded->message);
      EXPECT_TRUE(*decoded->message == message);
      EXPECT_EQ(decoded->skipped_fields, 0U);
    }
  }
}

TEST(Control, FieldsMayComeInAnyOrder) {
  Random random(4);
  for (const Row& row : table()) {
    SCOPED_TRACE(name_of(row.type));
    const ControlMessage message = whole(row);
    const Bytes payload = encoded(message);
    std::vector<Bytes> fields = fields_of(payload);
    for (std::size_t i = fields.size(); i > 1; --i) std::swap(fields[i - 1], fields[random.below(i)]);
    const Result<DecodedControl> decoded = decode_control(joined(payload, fields));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_TRUE(decoded->message == message);
  }
}

TEST(Control, ANeededFieldMissingIsAnErrorAndAnOptionalOneIsNot) {
  for (const Row& row : table()) {
    const Bytes payload = encoded(whole(row));
    const std::vector<Bytes> fields = fields_of(payload);
    for (std::size_t out = 0; out < fields.size(); ++out) {
      std::vector<Bytes> left = fields;
      left.erase(left.begin() + static_cast<std::ptrdiff_t>(out));
      const int tag = Cursor(fields[out]).u16_le();
      const bool needed = std::find(row.needed.begin(), row.needed.end(), tag) != row.needed.end();
      EXPECT_EQ(decode_control(joined(payload, left)).has_value(), !needed) << name_of(row.type) << " without field " << tag;
    }
  }
}

TEST(Control, AFieldTwiceIsAnErrorAlsoWhenItIsUnknown) {
  for (const Row& row : table()) {
    const Bytes payload = encoded(whole(row));
    for (const Bytes& again : fields_of(payload)) {
      std::vector<Bytes> fields = fields_of(payload);
      fields.push_back(again);
      EXPECT_FALSE(decode_control(joined(payload, fields))) << name_of(row.type);
    }
    std::vector<Bytes> fields = fields_of(payload);
    fields.push_back(field(999, {}));
    EXPECT_TRUE(decode_control(joined(payload, fields)));
    fields.push_back(field(999, {}));
    EXPECT_FALSE(decode_control(joined(payload, fields)));
  }
}

TEST(Control, UnknownFieldsAndThoseOfOtherMessagesAreSkippedAndCounted) {
  for (const Row& row : table()) {
    SCOPED_TRACE(name_of(row.type));
    const ControlMessage message = with(row.type, row.needed);
    Bytes payload = encoded(message);
    append(payload, field(31, as_bytes("later")));
    append(payload, field(65535, {}));
    if (row.type != ControlType::pull) append(payload, field(28, as_bytes("of another size")));
    const Result<DecodedControl> decoded = decode_control(payload);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(decoded->skipped_fields, row.type == ControlType::pull ? 2U : 3U);
    EXPECT_TRUE(decoded->message == message);
  }
}

TEST(Control, AFieldOneByteLongerOrShorterIsAnErrorWhereItsSizeIsFixed) {
  const std::vector<int> free_text = {3, 19, 21};
  for (const Row& row : table()) {
    const Bytes payload = encoded(whole(row));
    const std::vector<Bytes> fields = fields_of(payload);
    for (std::size_t at = 0; at < fields.size(); ++at) {
      const int tag = Cursor(fields[at]).u16_le();
      if (std::find(free_text.begin(), free_text.end(), tag) != free_text.end()) continue;
      for (const int change : {-1, 1}) {
        Bytes value = to_bytes(ConstBytes(fields[at]).subspan(6));
        if (value.empty() && change < 0) continue;
        value.resize(value.size() + static_cast<std::size_t>(change));
        std::vector<Bytes> changed = fields;
        changed[at] = field(static_cast<std::uint16_t>(tag), value);
        EXPECT_FALSE(decode_control(joined(payload, changed))) << name_of(row.type) << " field " << tag << " " << change;
      }
    }
  }
}

TEST(Control, AMessageCutAnywhereIsAnErrorOrLacksWholeFields) {
  for (const Row& row : table()) {
    const Bytes payload = encoded(with(row.type, row.needed));
    for (std::size_t size = 0; size < payload.size(); ++size)
      EXPECT_FALSE(decode_control(ConstBytes(payload).first(size))) << name_of(row.type) << " cut to " << size;
  }
}

TEST(Control, AnUnknownMessageIsSkippedWhateverItHolds) {
  for (const std::string_view text : {"00", "15", "4d 00", "ff 101112131415161718191a1b1c1d1e1f 0100 ffffffff"}) {
    const Result<DecodedControl> decoded = decode_control(hex(text));
    ASSERT_TRUE(decoded) << text;
    EXPECT_FALSE(decoded->message) << text;
  }
}

TEST(Control, WhatBreaksALimitOrHasNoNameIsAnError) {
  struct Bad {
    std::string name;
    ControlType type;
    std::uint16_t tag;
    Bytes value;
  };
  Bytes long_chain = hex("4100");
  long_chain.resize(2 + 65 * 41 + 2);
  for (std::size_t i = 0; i < 65; ++i) long_chain[2 + i * 41 + 8] = std::byte{1};
  Bytes long_over = hex("0000 4100");
  long_over.resize(4 + 65 * 16);
  Bytes bad_kind = hex("0100");
  bad_kind.resize(2 + 41 + 2);
  const std::vector<Bad> rows = {
      {"a name of 256 bytes", ControlType::hello, 3, Bytes(256, std::byte{'a'})},
      {"an address of 256 bytes", ControlType::hello, 21, Bytes(256, std::byte{'a'})},
      {"a text of 1025 bytes", ControlType::refuse, 19, Bytes(1025, std::byte{'a'})},
      {"a chain of 65", ControlType::grant, 8, long_chain},
      {"a chain that overrules 65", ControlType::grant, 8, long_over},
      {"an ownership of kind 0", ControlType::grant, 8, bad_kind},
      {"state 7", ControlType::state, 7, hex("07")},
      {"mode 0", ControlType::accept, 17, hex("00")},
      {"mode 4", ControlType::accept, 17, hex("04")},
      {"code 0", ControlType::refuse, 18, hex("00")},
      {"code 9 outside RELAY-NO", ControlType::refuse, 18, hex("09")},
      {"code 10", ControlType::relay_no, 18, hex("0a")},
      {"a question of 4097 blocks", ControlType::hash_ask, 23, hex("01100000")},
      {"an answer of 4097 blocks", ControlType::hashes, 23, hex("01100000")},
      {"a bitmap longer than the blocks", ControlType::hashes, 24, hex("810400")},
      {"a bit past the last block", ControlType::hashes, 24, hex("8108")},
      {"fewer hashes than bits", ControlType::hashes, 25, Bytes(64)},
      {"more hashes than bits", ControlType::hashes, 25, Bytes(128)},
      {"half a hash", ControlType::hashes, 25, Bytes(80)},
      {"half a cookie", ControlType::relay_open, 29, Bytes(12)},
      {"a peer with a name past its end", ControlType::refuse, 10, Bytes(17, std::byte{9})},
  };
  for (const Bad& bad : rows) {
    SCOPED_TRACE(bad.name);
    const auto row = std::find_if(table().begin(), table().end(), [&](const Row& r) { return r.type == bad.type; });
    const Bytes payload = encoded(whole(*row));
    std::vector<Bytes> fields = fields_of(payload);
    bool replaced = false;
    for (Bytes& one : fields) {
      if (Cursor(one).u16_le() != bad.tag) continue;
      one = field(bad.tag, bad.value);
      replaced = true;
    }
    ASSERT_TRUE(replaced);
    EXPECT_FALSE(decode_control(joined(payload, fields)));
  }
}

TEST(Control, LimitsThemselvesAreKept) {
  ControlMessage hello = with(ControlType::hello, {1, 2, 3, 4, 21});
  hello.name = std::string(255, 'n');
  hello.address = std::string(255, 'a');
  EXPECT_TRUE(decode_control(encoded(hello))->message == hello);
  ControlMessage refuse = with(ControlType::refuse, {11, 18, 19});
  refuse.text = std::string(1024, 't');
  EXPECT_TRUE(decode_control(encoded(refuse))->message == refuse);
  ControlMessage hashes = with(ControlType::hashes, {11, 22});
  hashes.count = kHashAskBlocksMax;
  hashes.bitmap = Bytes(kHashAskBlocksMax / 8, std::byte{0xff});
  hashes.hashes = std::vector<Sha256>(kHashAskBlocksMax, a_hash(5));
  EXPECT_TRUE(decode_control(encoded(hashes))->message == hashes);
}

TEST(Control, AnAnswerThatClaimsNothingRoundTrips) {
  for (const std::uint32_t count : {0U, 1U, 8U, 9U}) {
    ControlMessage hashes = with(ControlType::hashes, {11, 22});
    hashes.count = count;
    hashes.bitmap = Bytes((count + 7) / 8);
    hashes.hashes = std::vector<Sha256>{};
    EXPECT_TRUE(decode_control(encoded(hashes))->message == hashes) << count;
  }
}

TEST(Control, APayloadPastItsLimitIsRefusedUnread) {
  Bytes payload = encoded(with(ControlType::aborted, {9}));
  Bytes filler = field(100, Bytes(kControlPayloadMax - payload.size() - 6));
  append(payload, filler);
  ASSERT_EQ(payload.size(), kControlPayloadMax);
  EXPECT_TRUE(decode_control(payload));
  payload.push_back(std::byte{0});
  const Result<DecodedControl> decoded = decode_control(payload);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().kind(), ErrorKind::limit);
}

TEST(Control, AHelloThatNamesAVolumeIsAnError) {
  Bytes payload = encoded(with(ControlType::hello, {1, 2, 3, 4}));
  payload[5] = std::byte{1};
  EXPECT_FALSE(decode_control(payload));
}

TEST(Control, ErrorsSayWhichMessageAndWhichField) {
  const Bytes payload = encoded(with(ControlType::ready, {9, 6}));
  const Result<DecodedControl> decoded = decode_control(joined(payload, {fields_of(payload)[1]}));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message(), "READY: field 6 is missing");
}

TEST(Control, NamesAreThoseOfTheProtocol) {
  EXPECT_EQ(name_of(ControlType::pull), "PULL");
  EXPECT_EQ(name_of(ControlType::owned_ack), "OWNED-ACK");
  EXPECT_EQ(name_of(static_cast<ControlType>(77)), "message 77");
  EXPECT_EQ(name_of(CopyState::receiving), "RECEIVING");
  EXPECT_EQ(name_of(static_cast<CopyState>(9)), "state 9");
  EXPECT_EQ(name_of(RefuseCode::not_owner), "not-owner");
  EXPECT_EQ(name_of(static_cast<RefuseCode>(50)), "code 50");
}

// Whole frames, from ownership.md 15.
TEST(Control, TheExampleFramesDecodeAndEncodeToTheSameBytes) {
  const Bytes ack_frame = hex(
      "00000000 09000000 2a000000 | 070547 0b 101112131415161718191a1b1c1d1e1f 0900 10000000 202122232425262728292a2b2c2d2e2f");
  const Result<Packet> packet = decode_packet(ConstBytes(ack_frame).subspan(kFrameHeaderSize));
  ASSERT_TRUE(packet);
  const Event& event = std::get<Event>(*packet);
  EXPECT_EQ(event.custom_type, kCustomGodwit);
  ControlMessage ack;
  ack.type = ControlType::owned_ack;
  ack.volume = counted<VolumeId>(0x10);
  ack.h = counted<HandoverId>(0x20);
  EXPECT_TRUE(decode_control(event.payload)->message == ack);
  Bytes frame;
  const Bytes payload = encoded(ack);
  encode_frame(kControlDevice, TxId{9}, Event{EventType::custom, kCustomGodwit, payload}, frame);
  EXPECT_EQ(to_hex(frame), to_hex(ack_frame));
}

// What we ourselves must not write is our own bug.
TEST(ControlDeathTest, AMessageThatLacksAFieldOrHasAnothersIsNotWritten) {
  const ControlMessage lacking = with(ControlType::ready, {9});
  const ControlMessage foreign = with(ControlType::ready, {9, 6, 19});
  ControlMessage long_name = with(ControlType::hello, {1, 2, 3, 4});
  long_name.name = std::string(256, 'n');
  ControlMessage question = with(ControlType::hash_ask, {11, 22});
  question.count = kHashAskBlocksMax + 1;
  for (const ControlMessage& message : {lacking, foreign, long_name, question})
    EXPECT_DEATH((void)encoded(message), "check failed");
}

}  // namespace
}  // namespace godwit::volume
