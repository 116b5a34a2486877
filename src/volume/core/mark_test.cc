#include <gtest/gtest.h>

#include "volume/core/control.h"
#include "volume/core/packet.h"

namespace godwit::volume {
namespace {

template <class Id>
Id counted(std::uint8_t first) {
  Id id;
  for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::byte>(first + i);
  return id;
}

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

Bytes encoded(const ControlMessage& message) {
  Bytes out;
  encode_control(message, out);
  return out;
}

ControlMessage a_ready() {
  ControlMessage ready;
  ready.type = ControlType::ready;
  ready.volume = counted<VolumeId>(0x10);
  ready.h = counted<HandoverId>(0x20);
  ready.copy = counted<CopyId>(0x40);
  return ready;
}

constexpr std::string_view kReplyFrame =
    "00000000 01000000 77000000 | 070547 676f647769742f31203030313132323333343435353636373738383939616162626363646465656666 0a "
    "01 "
    "00000000000000000000000000000000 0100 10000000 a0a1a2a3a4a5a6a7a8a9aaabacadaeaf  0200 08000000 0700000000000000  0300 "
    "01000000 "
    "62  0400 08000000 0000000000000000";
constexpr std::string_view kNonceText = "00112233445566778899aabbccddeeff";

Mark a_mark() {
  return {.version = 1, .nonce = {std::string(kNonceText)}};
}

ControlMessage example_hello() {
  ControlMessage hello;
  hello.type = ControlType::hello;
  hello.host = counted<HostId>(0xa0);
  hello.boot = Boot{7};
  hello.name = "b";
  hello.features = 0;
  return hello;
}

TEST(Reply, TheExampleFrameDecodesAndEncodesToTheSameBytes) {
  const Bytes expected = hex(kReplyFrame);
  const Result<Packet> packet = decode_packet(ConstBytes(expected).subspan(kFrameHeaderSize));
  ASSERT_TRUE(packet);
  const Result<std::optional<Reply>> reply = decode_reply(std::get<Event>(*packet).payload);
  ASSERT_TRUE(reply) << reply.error().message();
  ASSERT_TRUE(*reply);
  EXPECT_EQ((*reply)->mark, a_mark());
  EXPECT_TRUE((*reply)->hello == example_hello());

  Bytes payload, frame;
  encode_reply(a_mark(), example_hello(), payload);
  encode_frame(kControlDevice, TxId{1}, Event{EventType::custom, kCustomGodwit, payload}, frame);
  EXPECT_EQ(to_hex(frame), to_hex(expected));
}

TEST(Reply, AHigherVersionIsReadAndSaysSo) {
  Bytes payload;
  encode_reply({.version = 12, .nonce = a_mark().nonce}, example_hello(), payload);
  const Result<std::optional<Reply>> reply = decode_reply(payload);
  ASSERT_TRUE(reply && *reply);
  EXPECT_EQ((*reply)->mark.version, 12U);
}

TEST(Reply, WhatDoesNotBeginLikeOneIsNone) {
  for (const std::string_view text : {"", "g", "godwit", "Godwit/1", "hello"}) {
    const Result<std::optional<Reply>> reply = decode_reply(as_bytes(text));
    ASSERT_TRUE(reply) << text;
    EXPECT_FALSE(*reply) << text;
  }
  EXPECT_FALSE(*decode_reply(encoded(example_hello())));
}

TEST(Reply, WhatBeginsLikeOneAndGoesOnOtherwiseIsAnError) {
  Bytes good;
  encode_reply(a_mark(), example_hello(), good);
  for (std::size_t size = 7; size < good.size(); ++size) EXPECT_FALSE(decode_reply(ConstBytes(good).first(size))) << size;
  const std::string nonce(kNonceText);
  const std::string hello(as_text(encoded(example_hello())));
  const Bytes ready = encoded(a_ready());
  const std::pair<std::string, std::string> rows[] = {
      {"no number", "godwit/ " + nonce + "\n" + hello},
      {"number 0", "godwit/0 " + nonce + "\n" + hello},
      {"a leading zero", "godwit/01 " + nonce + "\n" + hello},
      {"no digits", "godwit/one " + nonce + "\n" + hello},
      {"a sign", "godwit/-1 " + nonce + "\n" + hello},
      {"a number past 32 bits", "godwit/4294967296 " + nonce + "\n" + hello},
      {"a short nonce", "godwit/1 " + nonce.substr(1) + "\n" + hello},
      {"a long nonce", "godwit/1 " + nonce + "0\n" + hello},
      {"upper case", "godwit/1 00112233445566778899AABBCCDDEEFF\n" + hello},
      {"another message than HELLO", "godwit/1 " + nonce + "\n" + std::string(as_text(ready))},
      {"an unknown message", "godwit/1 " + nonce + "\n\x4d"},
  };
  for (const auto& [name, text] : rows) EXPECT_FALSE(decode_reply(as_bytes(text))) << name;
}

TEST(Mark, IsTheLastLineOfASchema) {
  const std::string line = "# godwit/1 " + std::string(kNonceText) + "\n";
  EXPECT_EQ(with_mark("", a_mark()), line);
  EXPECT_EQ(with_mark("device \"d\" {\n}\n", a_mark()), "device \"d\" {\n}\n" + line);
  EXPECT_EQ(with_mark("device \"d\" {\n}", a_mark()), "device \"d\" {\n}\n" + line);
}

TEST(Mark, IsFoundInWhatWithMarkMade) {
  for (const std::string schema : {"", "device \"d\" {\n}\n", "x", "\n", "# a comment\n"}) {
    EXPECT_EQ(find_mark(with_mark(schema, a_mark())), a_mark()) << schema;
    const Mark later{.version = 4294967295U, .nonce = a_mark().nonce};
    EXPECT_EQ(find_mark(with_mark(schema, later)), later) << schema;
  }
}

TEST(Mark, ReplacesTheOneOfAnEarlierConnection) {
  const Mark old{.version = 1, .nonce = {std::string(32, 'a')}};
  EXPECT_EQ(with_mark(with_mark("x\n", old), a_mark()), with_mark("x\n", a_mark()));
}

TEST(Mark, UnreadableOnesAreNone) {
  const std::string nonce(kNonceText);
  const std::pair<std::string, std::string> rows[] = {
      {"empty", ""},
      {"no newline at the end", "# godwit/1 " + nonce},
      {"not the last line", "# godwit/1 " + nonce + "\nx\n"},
      {"an empty line behind", "# godwit/1 " + nonce + "\n\n"},
      {"another comment sign", "// godwit/1 " + nonce + "\n"},
      {"no space behind the sign", "#godwit/1 " + nonce + "\n"},
      {"indented", " # godwit/1 " + nonce + "\n"},
      {"behind an attribute", "size = 1 # godwit/1 " + nonce + "\n"},
      {"version 0", "# godwit/0 " + nonce + "\n"},
      {"no version", "# godwit " + nonce + "\n"},
      {"a version that is no number", "# godwit/1x " + nonce + "\n"},
      {"two spaces", "# godwit/1  " + nonce + "\n"},
      {"a short nonce", "# godwit/1 " + nonce.substr(1) + "\n"},
      {"upper case", "# godwit/1 00112233445566778899AABBCCDDEEFF\n"},
      {"something behind", "# godwit/1 " + nonce + " \n"},
      {"carriage return", "# godwit/1 " + nonce + "\r\n"},
  };
  for (const auto& [name, text] : rows) EXPECT_FALSE(find_mark(text)) << name;
}

}  // namespace
}  // namespace godwit::volume
