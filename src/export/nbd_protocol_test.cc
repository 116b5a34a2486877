#include "export/nbd_protocol.h"

#include <gtest/gtest.h>

namespace godwit::exports::nbd {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

template <std::size_t N, class Encode>
std::string encoded(Encode encode) {
  std::array<std::byte, N> out{};
  encode(std::span<std::byte, N>(out));
  return to_hex(out);
}

std::string without_spaces(std::string_view text) {
  return to_hex(hex(text));
}

// The bytes follow the field tables of doc/proto.md.
TEST(NbdProtocol, RequestsAreEncodedAsTheProtocolSays) {
  struct Row {
    const char* name;
    Request request;
    const char* bytes;
  };
  const Row rows[] = {
      {"read", {0, kRead, 0x0102030405060708, 0x1000, 0x200}, "25609513 0000 0000 0102030405060708 0000000000001000 00000200"},
      {"write with FUA",
       {kFlagFua, kWrite, 1, 1ULL << 40, 4096},
       "25609513 0001 0001 0000000000000001 0000010000000000 00001000"},
      {"disconnect", {0, kDisconnect, 0, 0, 0}, "25609513 0000 0002 0000000000000000 0000000000000000 00000000"},
      {"flush", {0, kFlush, 9, 0, 0}, "25609513 0000 0003 0000000000000009 0000000000000000 00000000"},
      {"trim", {0, kTrim, 9, 1, 2}, "25609513 0000 0004 0000000000000009 0000000000000001 00000002"},
      {"cache", {0, kCache, 9, 1, 2}, "25609513 0000 0005 0000000000000009 0000000000000001 00000002"},
      {"fast zero without a hole",
       {kFlagFastZero | kFlagNoHole, kWriteZeroes, 9, 1, 0xffffffff},
       "25609513 0012 0006 0000000000000009 0000000000000001 ffffffff"},
      {"block status of one extent",
       {kFlagReqOne, kBlockStatus, 9, ~0ULL, 2},
       "25609513 0008 0007 0000000000000009 ffffffffffffffff 00000002"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(encoded<kRequestBytes>([&](auto out) { encode_request(row.request, out); }), without_spaces(row.bytes));
    EXPECT_EQ(decode_request(hex(row.bytes)).value(), row.request);
  }
}

TEST(NbdProtocol, RepliesAreEncodedAsTheProtocolSays) {
  EXPECT_EQ(encoded<kSimpleReplyBytes>([](auto out) { encode_simple_reply({kErrNoSpace, 0xabcdef}, out); }),
            without_spaces("67446698 0000001c 0000000000abcdef"));
  EXPECT_EQ(decode_simple_reply(hex("67446698 0000001c 0000000000abcdef")).value(), (SimpleReply{kErrNoSpace, 0xabcdef}));

  const Chunk chunk{kChunkDone, kChunkOffsetData, 7, 4104};
  EXPECT_EQ(encoded<kChunkHeaderBytes>([&](auto out) { encode_chunk(chunk, out); }),
            without_spaces("668e33ef 0001 0001 0000000000000007 00001008"));
  EXPECT_EQ(decode_chunk(hex("668e33ef 0001 0001 0000000000000007 00001008")).value(), chunk);

  EXPECT_EQ(encoded<kOffsetDataBytes>([](auto out) { encode_offset(0x0102, out); }), "0000000000000102");
  EXPECT_EQ(encoded<kBlockStatusBytes>([](auto out) { encode_context_id(3, out); }), "00000003");
  EXPECT_EQ(encoded<kErrorChunkBytes>([](auto out) { encode_error_head(kErrMoved, 2, out); }), "4d4f56450002");

  Bytes descriptors;
  append_descriptor(descriptors, {0x10000, kStateHole | kStateZero});
  EXPECT_EQ(to_hex(descriptors), "0001000000000003");
  EXPECT_EQ(decode_block_status(hex("00000001 00010000 00000003 00000200 00000000")).value(),
            (BlockStatus{1, {{0x10000, kStateHole | kStateZero}, {0x200, 0}}}));
  EXPECT_EQ(decode_error_chunk(hex("00000005 0003 616263")).value(), (ErrorChunk{kErrIo, "abc"}));
  EXPECT_EQ(decode_error_chunk(hex("00000005 0000 0000000000001000")).value(), (ErrorChunk{kErrIo, ""})) << "with an offset";
}

TEST(NbdProtocol, HandshakeIsEncodedAsTheProtocolSays) {
  EXPECT_EQ(to_hex(encode_greeting(kFixedNewstyle | kNoZeroes)), without_spaces("4e42444d41474943 49484156454f5054 0003"));
  EXPECT_EQ(decode_greeting(hex("4e42444d41474943 49484156454f5054 0003")).value(), kFixedNewstyle | kNoZeroes);
  EXPECT_EQ(to_hex(encode_client_flags(3)), "00000003");

  Bytes option;
  append_option(option, kOptGo, hex("0102"));
  EXPECT_EQ(to_hex(option), without_spaces("49484156454f5054 00000007 00000002 0102"));
  EXPECT_EQ(decode_option_header(option).value(), (OptionHeader{kOptGo, 2}));

  Bytes reply;
  append_option_reply(reply, kOptGo, kRepErrUnknown, as_bytes("no"));
  EXPECT_EQ(to_hex(reply), without_spaces("0003e889045565a9 00000007 80000006 00000002 6e6f"));
  EXPECT_EQ(decode_option_reply_header(reply).value(), (OptionReplyHeader{kOptGo, kRepErrUnknown, 2}));
}

TEST(NbdProtocol, OptionDataAreEncodedAsTheProtocolSays) {
  const InfoQuery info{"vol", {kInfoName, kInfoBlockSize}};
  EXPECT_EQ(to_hex(encode_info_query(info)), without_spaces("00000003 766f6c 0002 0001 0003"));
  EXPECT_EQ(decode_info_query(encode_info_query(info)).value(), info);

  const MetaQuery meta{"v", {"base:allocation", ""}};
  EXPECT_EQ(to_hex(encode_meta_query(meta)),
            without_spaces("00000001 76 00000002 0000000f 626173653a616c6c6f636174696f6e 00000000"));
  EXPECT_EQ(decode_meta_query(encode_meta_query(meta)).value(), meta);

  EXPECT_EQ(to_hex(encode_export_info({0x100000, 0x16d})), without_spaces("0000 0000000000100000 016d"));
  EXPECT_EQ(decode_export_info(hex("0000 0000000000100000 016d")).value(), (ExportInfo{0x100000, 0x16d}));
  EXPECT_EQ(to_hex(encode_block_sizes({1, 4096, 32 << 20})), without_spaces("0003 00000001 00001000 02000000"));
  EXPECT_EQ(decode_block_sizes(hex("0003 00000001 00001000 02000000")).value(), (BlockSizes{1, 4096, 32 << 20}));
  EXPECT_EQ(to_hex(encode_info_text(kInfoDescription, "hi")), "00026869");
  EXPECT_EQ(to_hex(encode_listed_export("a", "b")), without_spaces("00000001 61 62"));
  EXPECT_EQ(to_hex(encode_meta_context({1, "x"})), without_spaces("00000001 78"));
  EXPECT_EQ(decode_meta_context(hex("00000001 78")).value(), (MetaContext{1, "x"}));
}

TEST(NbdProtocol, MalformedBytesAreRefusedByName) {
  const std::string long_name = "00001001" + std::string(2 * 4097, '0');
  struct Row {
    const char* name;
    std::function<Result<void>()> decode;
    ErrorKind kind;
  };
  auto only_error = [](auto result) -> Result<void> {
    if (!result) return fail(result.error());
    return {};
  };
  const Row rows[] = {
      {"request one byte short", [&] { return only_error(decode_request(Bytes(27))); }, ErrorKind::truncated},
      {"request with another magic", [&] { return only_error(decode_request(Bytes(28))); }, ErrorKind::invalid},
      {"simple reply short", [&] { return only_error(decode_simple_reply(Bytes(15))); }, ErrorKind::truncated},
      {"simple reply magic", [&] { return only_error(decode_simple_reply(Bytes(16))); }, ErrorKind::invalid},
      {"chunk short", [&] { return only_error(decode_chunk(Bytes(19))); }, ErrorKind::truncated},
      {"chunk magic", [&] { return only_error(decode_chunk(Bytes(20))); }, ErrorKind::invalid},
      {"greeting short", [&] { return only_error(decode_greeting(Bytes(17))); }, ErrorKind::truncated},
      {"greeting magic", [&] { return only_error(decode_greeting(Bytes(18))); }, ErrorKind::invalid},
      {"oldstyle greeting", [&] { return only_error(decode_greeting(hex("4e42444d41474943 00420281861253 00 0001"))); },
       ErrorKind::unsupported},
      {"newstyle that is not fixed", [&] { return only_error(decode_greeting(hex("4e42444d41474943 49484156454f5054 0002"))); },
       ErrorKind::unsupported},
      {"option header short", [&] { return only_error(decode_option_header(Bytes(15))); }, ErrorKind::truncated},
      {"option magic", [&] { return only_error(decode_option_header(Bytes(16))); }, ErrorKind::invalid},
      {"option reply short", [&] { return only_error(decode_option_reply_header(Bytes(19))); }, ErrorKind::truncated},
      {"option reply magic", [&] { return only_error(decode_option_reply_header(Bytes(20))); }, ErrorKind::invalid},
      {"info: name past the end", [&] { return only_error(decode_info_query(hex("00000009 61 0000"))); }, ErrorKind::invalid},
      {"info: name over the protocol's bound", [&] { return only_error(decode_info_query(hex(long_name + "0000"))); },
       ErrorKind::limit},
      {"info: count past the end", [&] { return only_error(decode_info_query(hex("00000000 ffff 0001"))); }, ErrorKind::invalid},
      {"info: bytes left over", [&] { return only_error(decode_info_query(hex("00000000 0000 00"))); }, ErrorKind::invalid},
      {"meta: count past the end", [&] { return only_error(decode_meta_query(hex("00000000 ffffffff"))); }, ErrorKind::invalid},
      {"meta: query past the end", [&] { return only_error(decode_meta_query(hex("00000000 00000001 00000004 61"))); },
       ErrorKind::invalid},
      {"meta: query over the bound", [&] { return only_error(decode_meta_query(hex("00000000 00000001" + long_name))); },
       ErrorKind::limit},
      {"meta: bytes left over", [&] { return only_error(decode_meta_query(hex("00000000 00000000 00"))); }, ErrorKind::invalid},
      {"export information short", [&] { return only_error(decode_export_info(Bytes(11))); }, ErrorKind::invalid},
      {"block sizes short", [&] { return only_error(decode_block_sizes(hex("0003 0000"))); }, ErrorKind::invalid},
      {"block size of three", [&] { return only_error(decode_block_sizes(hex("0003 00000003 00001000 02000000"))); },
       ErrorKind::invalid},
      {"block size over the protocol's bound",
       [&] { return only_error(decode_block_sizes(hex("0003 00020000 00020000 02000000"))); }, ErrorKind::invalid},
      {"largest block below the smallest", [&] { return only_error(decode_block_sizes(hex("0003 00001000 00001000 00000200"))); },
       ErrorKind::invalid},
      {"meta context short", [&] { return only_error(decode_meta_context(Bytes(3))); }, ErrorKind::truncated},
      {"block status without descriptors", [&] { return only_error(decode_block_status(hex("00000001"))); }, ErrorKind::invalid},
      {"block status cut", [&] { return only_error(decode_block_status(Bytes(11))); }, ErrorKind::invalid},
      {"block status with an empty descriptor", [&] { return only_error(decode_block_status(Bytes(12))); }, ErrorKind::invalid},
      {"error text past the end", [&] { return only_error(decode_error_chunk(hex("00000005 0003 61"))); }, ErrorKind::truncated},
      {"error chunk without an error", [&] { return only_error(decode_error_chunk(hex("00000000 0000"))); }, ErrorKind::invalid},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Result<void> result = row.decode();
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().kind(), row.kind) << result.error().message();
  }
}

TEST(NbdProtocol, ErrorKindsHaveTheirValuesAndComeBack) {
  struct Row {
    ErrorKind kind;
    std::uint32_t value;
    ErrorKind back;
  };
  const Row rows[] = {
      {ErrorKind::invalid, 22, ErrorKind::invalid},
      {ErrorKind::no_space, 28, ErrorKind::no_space},
      {ErrorKind::read_only, 1, ErrorKind::refused},
      {ErrorKind::refused, 1, ErrorKind::refused},
      {ErrorKind::limit, 75, ErrorKind::limit},
      {ErrorKind::unsupported, 95, ErrorKind::unsupported},
      {ErrorKind::shut_down, 108, ErrorKind::shut_down},
      {ErrorKind::moved, 5, ErrorKind::io},
      {ErrorKind::corrupt, 5, ErrorKind::io},
      {ErrorKind::io, 5, ErrorKind::io},
      {ErrorKind::timed_out, 5, ErrorKind::io},
      {ErrorKind::cancelled, 5, ErrorKind::io},
      {ErrorKind::truncated, 5, ErrorKind::io},
      {ErrorKind::busy, 5, ErrorKind::io},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(name_of(row.kind));
    EXPECT_EQ(error_value(row.kind, false), row.value);
    EXPECT_EQ(error_kind(row.value), row.back);
  }
  EXPECT_EQ(error_value(ErrorKind::moved, true), 0x4d4f5645U);
  EXPECT_EQ(error_kind(0x4d4f5645), ErrorKind::moved);
  EXPECT_EQ(error_kind(12), ErrorKind::limit);
  EXPECT_EQ(error_kind(12345), ErrorKind::io);
}

}  // namespace
}  // namespace godwit::exports::nbd
