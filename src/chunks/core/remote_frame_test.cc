#include "chunks/core/remote_frame.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::chunks::wire {
namespace {

Bytes hex(std::string_view text) {
  Result<Bytes> bytes = from_hex(text);
  EXPECT_TRUE(bytes) << text;
  return bytes ? *bytes : Bytes{};
}

ChunkId id_of(int number) {
  ChunkId id;
  id.bytes.fill(static_cast<std::byte>(number));
  return id;
}

constexpr std::string_view kId1 = "0101010101010101010101010101010101010101010101010101010101010101";
constexpr std::string_view kId2 = "0202020202020202020202020202020202020202020202020202020202020202";

struct FrameRow {
  std::string name;
  std::string frame;
  Message message;
};

// The heads and the flags are casync.md 2.2 and 2.11's; 2.11 was recorded from the real program.
std::vector<FrameRow> frame_rows(const Bytes& data) {
  const std::string id1(kId1), id2(kId2);
  return {
      {"hello of a client", "1800000000000000 eefba58c94d0713c c000000000000000", Hello{0xc0}},
      {"hello of a server", "1800000000000000 eefba58c94d0713c 0500000000000000", Hello{0x05}},
      {"index", "1300000000000000 f8273e2bdd912ab3 616263", Piece{File::index, data}},
      {"index eof", "1000000000000000 f5183704f132094f", PieceEof{File::index}},
      {"archive", "1300000000000000 c5dced698a42d695 616263", Piece{File::archive, data}},
      {"archive eof", "1000000000000000 adcb243f66ef0b45", PieceEof{File::archive}},
      {"high request", "3800000000000000 10929df8e027b48a 0100000000000000" + id1, Request{Priority::high, {id_of(1)}}},
      {"low request", "5800000000000000 10929df8e027b48a 0000000000000000" + id1 + id2,
       Request{Priority::low, {id_of(1), id_of(2)}}},
      {"compressed chunk", "3b00000000000000 8cbc840a18dd1352 0100000000000000" + id1 + "616263", Chunk{id_of(1), true, data}},
      {"raw chunk", "3b00000000000000 8cbc840a18dd1352 0000000000000000" + id2 + "616263", Chunk{id_of(2), false, data}},
      {"missing", "3000000000000000 6c7b2bc8faf910d0" + id1, Missing{id_of(1)}},
      {"goodbye", "1000000000000000 c386361abf5d20ad", Goodbye{}},
      {"abort", "1c00000000000000 52a3fe7e6b13d9e7 0d00000000000000 6e6f2100", Abort{13, "no!"}},
      {"abort without a text", "1900000000000000 52a3fe7e6b13d9e7 0000000000000000 00", Abort{0, ""}},
  };
}

Bytes encoded(const Message& message) {
  Bytes out;
  encode_message(message, out);
  return out;
}

TEST(RemoteFrame, EveryMessageDecodesAndEncodesToTheSameBytes) {
  const Bytes data = to_bytes(as_bytes("abc"));
  for (const FrameRow& row : frame_rows(data)) {
    SCOPED_TRACE(row.name);
    const Bytes frame = hex(row.frame);
    EXPECT_EQ(to_hex(encoded(row.message)), to_hex(frame));
    const Result<Message> message = decode_message(frame);
    ASSERT_TRUE(message) << message.error().message();
    EXPECT_EQ(message->index(), row.message.index());
    EXPECT_EQ(to_hex(encoded(*message)), to_hex(frame));
  }
}

TEST(RemoteFrame, TypesAreTheSpecificationsNumbers) {
  const struct {
    Type type;
    std::uint64_t number;
  } rows[] = {{Type::hello, 0x3c71d0948ca5fbee},   {Type::index, 0xb32a91dd2b3e27f8},       {Type::index_eof, 0x4f0932f1043718f5},
              {Type::archive, 0x95d6428a69eddcc5}, {Type::archive_eof, 0x450bef663f24cbad}, {Type::request, 0x8ab427e0f89d9210},
              {Type::chunk, 0x5213dd180a84bc8c},   {Type::missing, 0xd010f9fac82b7b6c},     {Type::goodbye, 0xad205dbf1a3686c3},
              {Type::abort, 0xe7d9136b7efea352}};
  for (const auto& row : rows) EXPECT_EQ(static_cast<std::uint64_t>(row.type), row.number) << name_of(row.type);
}

struct MalformedRow {
  std::string name;
  std::string frame;
};

TEST(RemoteFrame, WhatBreaksARuleIsRefused) {
  const std::string id(kId1);
  const std::vector<MalformedRow> rows = {
      {"size 15", "0f00000000000000 c386361abf5d20ad"},
      {"size 0", "0000000000000000 c386361abf5d20ad"},
      {"size 16 MiB + 1",
       "0100000100000000"
       "f8273e2bdd912ab3"},
      {"size of all ones", "ffffffffffffffff f8273e2bdd912ab3"},
      {"unknown type", "1000000000000000 0000000000000000"},
      {"hello without flags", "1000000000000000 eefba58c94d0713c"},
      {"hello with more", "1900000000000000 eefba58c94d0713c c000000000000000 00"},
      {"hello with flags 0", "1800000000000000 eefba58c94d0713c 0000000000000000"},
      {"hello with all flags", "1800000000000000 eefba58c94d0713c ffffffffffffffff"},
      {"empty index piece", "1000000000000000 f8273e2bdd912ab3"},
      {"empty archive piece", "1000000000000000 c5dced698a42d695"},
      {"index eof with a body", "1100000000000000 f5183704f132094f 00"},
      {"archive eof with a body", "1100000000000000 adcb243f66ef0b45 00"},
      {"goodbye with a body", "1100000000000000 c386361abf5d20ad 00"},
      {"request without ids", "1800000000000000 10929df8e027b48a 0100000000000000"},
      {"request with half an id", "2800000000000000 10929df8e027b48a 0100000000000000 00000000000000000000000000000000"},
      {"request with one id and a byte", "3900000000000000 10929df8e027b48a 0100000000000000" + id + "00"},
      {"request with flags 2", "3800000000000000 10929df8e027b48a 0200000000000000" + id},
      {"request without flags", "1000000000000000 10929df8e027b48a"},
      {"chunk without data", "3800000000000000 8cbc840a18dd1352 0100000000000000" + id},
      {"chunk with flags 2", "3900000000000000 8cbc840a18dd1352 0200000000000000" + id + "00"},
      {"missing without id", "1000000000000000 6c7b2bc8faf910d0"},
      {"missing with a byte more", "3100000000000000 6c7b2bc8faf910d0" + id + "00"},
      {"abort without text", "1800000000000000 52a3fe7e6b13d9e7 0500000000000000"},
  };
  for (const MalformedRow& row : rows) {
    const Result<Message> message = decode_message(hex(row.frame));
    ASSERT_FALSE(message) << row.name;
    EXPECT_EQ(message.error().kind(), ErrorKind::invalid) << row.name;
    EXPECT_FALSE(message.error().message().empty());
  }
}

TEST(RemoteFrame, AnAbortsTextEndsAndHoldsNoControlBytes) {
  const Bytes legal = encoded(Abort{5, "xy"});
  ASSERT_TRUE(decode_message(legal));
  const auto with = [&](std::size_t at, int value) {
    Bytes changed = legal;
    changed[at] = static_cast<std::byte>(value);
    return decode_message(changed);
  };
  EXPECT_FALSE(with(legal.size() - 1, 'z')) << "no zero at the end";
  EXPECT_FALSE(with(24, 0)) << "a zero in the middle";
  EXPECT_FALSE(with(24, 0x1f)) << "a control byte";
  EXPECT_TRUE(with(24, 0x80)) << "UTF-8";
  EXPECT_FALSE(with(20, 1)) << "an error number past 2^31";
}

TEST(RemoteFrame, OurAbortIsAlwaysLegal) {
  const Bytes frame = encoded(Abort{2, std::string(10'000, 'a') + "\n"});
  const Result<Message> message = decode_message(frame);
  ASSERT_TRUE(message);
  EXPECT_EQ(std::get<Abort>(*message).text.size(), kAbortTextSizeMax);
  const Bytes lines = encoded(Abort{2, "a\nb\tc"});
  EXPECT_EQ(std::get<Abort>(*decode_message(lines)).text, "a b c");
}

TEST(RemoteFrame, ALoginBannerIsShownInTheError) {
  const Result<Head> head = decode_head(as_bytes("Welcome to host "));
  ASSERT_FALSE(head);
  EXPECT_NE(head.error().message().find("Welcome to host"), std::string::npos) << head.error().message();
}

TEST(RemoteFrame, AnySplitOfAStreamGivesTheSameFrames) {
  const Bytes data = to_bytes(as_bytes("abc"));
  Bytes stream;
  std::size_t count = 0;
  for (const FrameRow& row : frame_rows(data)) {
    encode_message(row.message, stream);
    ++count;
  }
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Random random(seed);
    Assembler assembler;
    Bytes joined;
    std::size_t frames = 0;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = std::min<std::size_t>(stream.size() - at, 1 + random.below(seed % 2 == 0 ? 3 : 100));
      assembler.feed(ConstBytes(stream).subspan(at, size));
      at += size;
      while (true) {
        const Result<std::optional<ConstBytes>> frame = assembler.next();
        ASSERT_TRUE(frame) << frame.error().message();
        if (!*frame) break;
        append(joined, **frame);
        ++frames;
      }
    }
    EXPECT_EQ(joined, stream);
    EXPECT_EQ(frames, count);
    EXPECT_TRUE(assembler.at_frame_boundary());
  }
}

TEST(RemoteFrame, AHopelessHeadIsRefusedBeforeItsBodyComes) {
  Assembler assembler;
  assembler.feed(hex("00000001 00000000 eefba58c94d0713c"));  // HELLO of 16 MiB
  EXPECT_FALSE(assembler.next());
  EXPECT_FALSE(assembler.next()) << "and stays refused";
}

TEST(RemoteFrame, TheLargestChunkThatCanBeSentFillsAFrame) {
  const Bytes head = chunk_head(id_of(1), true, kChunkDataSizeMax);
  const Result<Head> decoded = decode_head(ConstBytes(head).first(kHeadSize));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->size, kFrameSizeMax);
  EXPECT_EQ(kChunkDataSizeMax, 16'777'160u);
}

}  // namespace
}  // namespace godwit::chunks::wire
