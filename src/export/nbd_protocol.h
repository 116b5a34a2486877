// The NBD protocol as values: its numbers, and the decoding and encoding of every fixed part of a handshake, an option, a request
// and a reply. Pure: no I/O, no state. All fields are big-endian. Source: the NBD project's doc/proto.md (fixed newstyle,
// structured replies, the base:allocation context). Extended headers and the old handshake are not spoken.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace godwit::exports::nbd {

inline constexpr std::uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;    // "IHAVEOPT"
inline constexpr std::uint64_t kOptionReplyMagic = 0x0003e889045565a9;
inline constexpr std::uint32_t kRequestMagic = 0x25609513;
inline constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr std::uint32_t kStructuredReplyMagic = 0x668e33ef;

// Handshake flags: the server's 16 bits, answered by the client's 32.
inline constexpr std::uint16_t kFixedNewstyle = 1 << 0;
inline constexpr std::uint16_t kNoZeroes = 1 << 1;

// Transmission flags: what an export can do.
inline constexpr std::uint16_t kHasFlags = 1 << 0;
inline constexpr std::uint16_t kReadOnly = 1 << 1;
inline constexpr std::uint16_t kSendFlush = 1 << 2;
inline constexpr std::uint16_t kSendFua = 1 << 3;
inline constexpr std::uint16_t kSendTrim = 1 << 5;
inline constexpr std::uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr std::uint16_t kSendDf = 1 << 7;
inline constexpr std::uint16_t kCanMultiConn = 1 << 8;
inline constexpr std::uint16_t kSendCache = 1 << 10;
inline constexpr std::uint16_t kSendFastZero = 1 << 11;

// Options of the negotiation.
inline constexpr std::uint32_t kOptExportName = 1;
inline constexpr std::uint32_t kOptAbort = 2;
inline constexpr std::uint32_t kOptList = 3;
inline constexpr std::uint32_t kOptStartTls = 5;
inline constexpr std::uint32_t kOptInfo = 6;
inline constexpr std::uint32_t kOptGo = 7;
inline constexpr std::uint32_t kOptStructuredReply = 8;
inline constexpr std::uint32_t kOptListMetaContext = 9;
inline constexpr std::uint32_t kOptSetMetaContext = 10;

// Types of option replies.
inline constexpr std::uint32_t kRepAck = 1;
inline constexpr std::uint32_t kRepServer = 2;
inline constexpr std::uint32_t kRepInfo = 3;
inline constexpr std::uint32_t kRepMetaContext = 4;
inline constexpr std::uint32_t kRepErrorBit = 1U << 31;
inline constexpr std::uint32_t kRepErrUnsupported = kRepErrorBit + 1;
inline constexpr std::uint32_t kRepErrPolicy = kRepErrorBit + 2;
inline constexpr std::uint32_t kRepErrInvalid = kRepErrorBit + 3;
inline constexpr std::uint32_t kRepErrUnknown = kRepErrorBit + 6;
inline constexpr std::uint32_t kRepErrShutdown = kRepErrorBit + 7;
inline constexpr std::uint32_t kRepErrBlockSizeRequired = kRepErrorBit + 8;
inline constexpr std::uint32_t kRepErrTooBig = kRepErrorBit + 9;

// Types of information in replies to GO and INFO.
inline constexpr std::uint16_t kInfoExport = 0;
inline constexpr std::uint16_t kInfoName = 1;
inline constexpr std::uint16_t kInfoDescription = 2;
inline constexpr std::uint16_t kInfoBlockSize = 3;

// Commands, and the flags they may bear.
inline constexpr std::uint16_t kRead = 0;
inline constexpr std::uint16_t kWrite = 1;
inline constexpr std::uint16_t kDisconnect = 2;
inline constexpr std::uint16_t kFlush = 3;
inline constexpr std::uint16_t kTrim = 4;
inline constexpr std::uint16_t kCache = 5;
inline constexpr std::uint16_t kWriteZeroes = 6;
inline constexpr std::uint16_t kBlockStatus = 7;

inline constexpr std::uint16_t kFlagFua = 1 << 0;
inline constexpr std::uint16_t kFlagNoHole = 1 << 1;
inline constexpr std::uint16_t kFlagDf = 1 << 2;
inline constexpr std::uint16_t kFlagReqOne = 1 << 3;
inline constexpr std::uint16_t kFlagFastZero = 1 << 4;

// Chunks of structured replies.
inline constexpr std::uint16_t kChunkDone = 1 << 0;
inline constexpr std::uint16_t kChunkNone = 0;
inline constexpr std::uint16_t kChunkOffsetData = 1;
inline constexpr std::uint16_t kChunkOffsetHole = 2;
inline constexpr std::uint16_t kChunkBlockStatus = 5;
inline constexpr std::uint16_t kChunkErrorBit = 1 << 15;
inline constexpr std::uint16_t kChunkError = kChunkErrorBit + 1;
inline constexpr std::uint16_t kChunkErrorOffset = kChunkErrorBit + 2;

inline constexpr std::string_view kBaseAllocation = "base:allocation";
inline constexpr std::uint32_t kStateHole = 1 << 0;
inline constexpr std::uint32_t kStateZero = 1 << 1;

// Error values of replies. kErrMoved is Godwit's own, on relay connections only (the hand-over's specification, "Relay").
inline constexpr std::uint32_t kErrPermission = 1;
inline constexpr std::uint32_t kErrIo = 5;
inline constexpr std::uint32_t kErrNoMemory = 12;
inline constexpr std::uint32_t kErrInvalid = 22;
inline constexpr std::uint32_t kErrNoSpace = 28;
inline constexpr std::uint32_t kErrOverflow = 75;
inline constexpr std::uint32_t kErrNotSupported = 95;
inline constexpr std::uint32_t kErrShutdown = 108;
inline constexpr std::uint32_t kErrMoved = 0x4d4f5645;

// The protocol's bound of every string in it.
inline constexpr std::size_t kStringBytesMax = 4096;
// And of the smallest block size that a server may announce.
inline constexpr std::uint32_t kBlockSizeMinMax = 64 * 1024;

// --- Handshake ---

inline constexpr std::size_t kGreetingBytes = 18;
inline constexpr std::size_t kClientFlagsBytes = 4;
Bytes encode_greeting(std::uint16_t handshake_flags);
// The handshake flags. An old-style server's greeting is ErrorKind::unsupported.
Result<std::uint16_t> decode_greeting(ConstBytes bytes);
Bytes encode_client_flags(std::uint32_t flags);

// --- Options: header, then `length` bytes of data ---

struct OptionHeader {
  std::uint32_t option = 0;
  std::uint32_t length = 0;
  friend bool operator==(const OptionHeader&, const OptionHeader&) = default;
};
inline constexpr std::size_t kOptionHeaderBytes = 16;
Result<OptionHeader> decode_option_header(ConstBytes bytes);
void append_option(Bytes& out, std::uint32_t option, ConstBytes payload);

struct OptionReplyHeader {
  std::uint32_t option = 0;
  std::uint32_t type = 0;
  std::uint32_t length = 0;
  friend bool operator==(const OptionReplyHeader&, const OptionReplyHeader&) = default;
};
inline constexpr std::size_t kOptionReplyHeaderBytes = 20;
Result<OptionReplyHeader> decode_option_reply_header(ConstBytes bytes);
void append_option_reply(Bytes& out, std::uint32_t option, std::uint32_t type, ConstBytes payload);

// The data of GO and INFO: an export, and what the client would like to know beyond kInfoExport.
struct InfoQuery {
  std::string name;
  std::vector<std::uint16_t> wanted;
  friend bool operator==(const InfoQuery&, const InfoQuery&) = default;
};
Result<InfoQuery> decode_info_query(ConstBytes payload);
Bytes encode_info_query(const InfoQuery& query);

// The data of LIST_META_CONTEXT and SET_META_CONTEXT.
struct MetaQuery {
  std::string name;
  std::vector<std::string> contexts;
  friend bool operator==(const MetaQuery&, const MetaQuery&) = default;
};
Result<MetaQuery> decode_meta_query(ConstBytes payload);
Bytes encode_meta_query(const MetaQuery& query);

// The data of replies.
struct ExportInfo {
  std::uint64_t size = 0;
  std::uint16_t flags = 0;
  friend bool operator==(const ExportInfo&, const ExportInfo&) = default;
};
Bytes encode_export_info(ExportInfo info);  // with its type kInfoExport before it
Result<ExportInfo> decode_export_info(ConstBytes payload);

struct BlockSizes {
  std::uint32_t min = 1;
  std::uint32_t preferred = 4096;
  std::uint32_t max = 32 * 1024 * 1024;
  friend bool operator==(const BlockSizes&, const BlockSizes&) = default;
};
Bytes encode_block_sizes(BlockSizes sizes);
Result<BlockSizes> decode_block_sizes(ConstBytes payload);

Bytes encode_info_text(std::uint16_t type, std::string_view text);
Bytes encode_listed_export(std::string_view name, std::string_view description);

struct MetaContext {
  std::uint32_t id = 0;
  std::string name;
  friend bool operator==(const MetaContext&, const MetaContext&) = default;
};
Bytes encode_meta_context(const MetaContext& context);
Result<MetaContext> decode_meta_context(ConstBytes payload);

// --- Transmission ---

struct Request {
  std::uint16_t flags = 0;
  std::uint16_t type = 0;
  std::uint64_t cookie = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  friend bool operator==(const Request&, const Request&) = default;
};
inline constexpr std::size_t kRequestBytes = 28;
Result<Request> decode_request(ConstBytes bytes);
void encode_request(const Request& request, std::span<std::byte, kRequestBytes> out);

struct SimpleReply {
  std::uint32_t error = 0;
  std::uint64_t cookie = 0;
  friend bool operator==(const SimpleReply&, const SimpleReply&) = default;
};
inline constexpr std::size_t kSimpleReplyBytes = 16;
Result<SimpleReply> decode_simple_reply(ConstBytes bytes);
void encode_simple_reply(SimpleReply reply, std::span<std::byte, kSimpleReplyBytes> out);

// A structured reply is a row of chunks; the last bears kChunkDone.
struct Chunk {
  std::uint16_t flags = 0;
  std::uint16_t type = 0;
  std::uint64_t cookie = 0;
  std::uint32_t length = 0;  // of what follows this header
  friend bool operator==(const Chunk&, const Chunk&) = default;
};
inline constexpr std::size_t kChunkHeaderBytes = 20;
Result<Chunk> decode_chunk(ConstBytes bytes);
void encode_chunk(Chunk chunk, std::span<std::byte, kChunkHeaderBytes> out);

// What stands before the data of an OFFSET_DATA chunk, the descriptors of a BLOCK_STATUS chunk, the text of an ERROR chunk.
inline constexpr std::size_t kOffsetDataBytes = 8;
inline constexpr std::size_t kOffsetHoleBytes = 12;
inline constexpr std::size_t kBlockStatusBytes = 4;
inline constexpr std::size_t kErrorChunkBytes = 6;
inline constexpr std::size_t kChunkHeadBytesMax = kChunkHeaderBytes + kOffsetHoleBytes;

void encode_offset(std::uint64_t offset, std::span<std::byte, kOffsetDataBytes> out);
void encode_context_id(std::uint32_t context, std::span<std::byte, kBlockStatusBytes> out);
void encode_error_head(std::uint32_t error, std::uint16_t text_bytes, std::span<std::byte, kErrorChunkBytes> out);

// One run of a BLOCK_STATUS chunk.
struct Descriptor {
  std::uint32_t length = 0;
  std::uint32_t state = 0;  // kStateHole, kStateZero
  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};
inline constexpr std::size_t kDescriptorBytes = 8;
void append_descriptor(Bytes& out, Descriptor descriptor);

struct BlockStatus {
  std::uint32_t context = 0;
  std::vector<Descriptor> descriptors;
  friend bool operator==(const BlockStatus&, const BlockStatus&) = default;
};
Result<BlockStatus> decode_block_status(ConstBytes payload);

struct ErrorChunk {
  std::uint32_t error = 0;
  std::string text;
  friend bool operator==(const ErrorChunk&, const ErrorChunk&) = default;
};
Result<ErrorChunk> decode_error_chunk(ConstBytes payload);

// --- Errors ---

// The value on the wire; `relay` says whether kErrMoved may be used. ErrorKind::connection_lost has none: it closes the
// connection.
std::uint32_t error_value(ErrorKind kind, bool relay);
// Back again, for a client. `value` is not 0.
ErrorKind error_kind(std::uint32_t value);

}  // namespace godwit::exports::nbd
