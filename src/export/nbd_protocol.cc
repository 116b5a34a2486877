#include "export/nbd_protocol.h"

#include <bit>
#include <concepts>
#include <cstring>

#include <fmt/format.h>

#include "base/cursor.h"

namespace godwit::exports::nbd {
namespace {

// Fixed parts of transmission are written in place, without an allocation: one per reply would be felt.
template <std::unsigned_integral T>
std::byte* put(std::byte* at, T value) {
  if constexpr (sizeof(T) > 1) value = std::byteswap(value);
  std::memcpy(at, &value, sizeof(T));
  return at + sizeof(T);
}

std::unexpected<Error> short_by(std::string_view what) {
  return fail(ErrorKind::truncated, fmt::format("{}: shorter than its fields", what));
}
std::unexpected<Error> wrong_magic(std::string_view what, std::uint64_t magic) {
  return fail(ErrorKind::invalid, fmt::format("{}: bad magic {:#x}", what, magic));
}

Result<std::string> take_string(Cursor& in, std::string_view what) {
  std::uint32_t length = in.u32_be();
  if (in.ok() && length > kStringBytesMax)
    return fail(ErrorKind::limit, fmt::format("{}: {} bytes, more than {}", what, length, kStringBytesMax));
  return std::string(as_text(in.take(length)));
}

void put_string(Writer& out, std::string_view text) {
  out.u32_be(static_cast<std::uint32_t>(text.size()));
  out.text(text);
}

}  // namespace

Bytes encode_greeting(std::uint16_t handshake_flags) {
  Bytes bytes;
  Writer out(bytes);
  out.u64_be(kGreetingMagic);
  out.u64_be(kOptionMagic);
  out.u16_be(handshake_flags);
  return bytes;
}

Result<std::uint16_t> decode_greeting(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint64_t magic = in.u64_be();
  std::uint64_t style = in.u64_be();
  std::uint16_t flags = in.u16_be();
  if (!in.ok()) return short_by("greeting");
  if (magic != kGreetingMagic) return wrong_magic("greeting", magic);
  if (style != kOptionMagic) return fail(ErrorKind::unsupported, "greeting: not a newstyle server");
  if ((flags & kFixedNewstyle) == 0) return fail(ErrorKind::unsupported, "greeting: not a fixed newstyle server");
  return flags;
}

Bytes encode_client_flags(std::uint32_t flags) {
  Bytes bytes;
  Writer(bytes).u32_be(flags);
  return bytes;
}

Result<OptionHeader> decode_option_header(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint64_t magic = in.u64_be();
  OptionHeader header;
  header.option = in.u32_be();
  header.length = in.u32_be();
  if (!in.ok()) return short_by("option");
  if (magic != kOptionMagic) return wrong_magic("option", magic);
  return header;
}

void append_option(Bytes& bytes, std::uint32_t option, ConstBytes payload) {
  Writer out(bytes);
  out.u64_be(kOptionMagic);
  out.u32_be(option);
  out.u32_be(static_cast<std::uint32_t>(payload.size()));
  out.bytes(payload);
}

Result<OptionReplyHeader> decode_option_reply_header(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint64_t magic = in.u64_be();
  OptionReplyHeader header;
  header.option = in.u32_be();
  header.type = in.u32_be();
  header.length = in.u32_be();
  if (!in.ok()) return short_by("option reply");
  if (magic != kOptionReplyMagic) return wrong_magic("option reply", magic);
  return header;
}

void append_option_reply(Bytes& bytes, std::uint32_t option, std::uint32_t type, ConstBytes payload) {
  Writer out(bytes);
  out.u64_be(kOptionReplyMagic);
  out.u32_be(option);
  out.u32_be(type);
  out.u32_be(static_cast<std::uint32_t>(payload.size()));
  out.bytes(payload);
}

Result<InfoQuery> decode_info_query(ConstBytes payload) {
  Cursor in(payload);
  InfoQuery query;
  Result<std::string> name = take_string(in, "export name");
  if (!name) return fail(std::move(name).error());
  query.name = std::move(*name);
  std::uint16_t count = in.u16_be();
  for (std::uint16_t i = 0; i < count && in.ok(); ++i) query.wanted.push_back(in.u16_be());
  if (!in.at_end()) return fail(ErrorKind::invalid, "information request: lengths do not add up");
  return query;
}

Bytes encode_info_query(const InfoQuery& query) {
  Bytes bytes;
  Writer out(bytes);
  put_string(out, query.name);
  out.u16_be(static_cast<std::uint16_t>(query.wanted.size()));
  for (std::uint16_t type : query.wanted) out.u16_be(type);
  return bytes;
}

Result<MetaQuery> decode_meta_query(ConstBytes payload) {
  Cursor in(payload);
  MetaQuery query;
  Result<std::string> name = take_string(in, "export name");
  if (!name) return fail(std::move(name).error());
  query.name = std::move(*name);
  std::uint32_t count = in.u32_be();
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
    Result<std::string> context = take_string(in, "metadata context");
    if (!context) return fail(std::move(context).error());
    query.contexts.push_back(std::move(*context));
  }
  if (!in.at_end()) return fail(ErrorKind::invalid, "metadata contexts: lengths do not add up");
  return query;
}

Bytes encode_meta_query(const MetaQuery& query) {
  Bytes bytes;
  Writer out(bytes);
  put_string(out, query.name);
  out.u32_be(static_cast<std::uint32_t>(query.contexts.size()));
  for (const std::string& context : query.contexts) put_string(out, context);
  return bytes;
}

Bytes encode_export_info(ExportInfo info) {
  Bytes bytes;
  Writer out(bytes);
  out.u16_be(kInfoExport);
  out.u64_be(info.size);
  out.u16_be(info.flags);
  return bytes;
}

Result<ExportInfo> decode_export_info(ConstBytes payload) {
  Cursor in(payload);
  std::uint16_t type = in.u16_be();
  ExportInfo info;
  info.size = in.u64_be();
  info.flags = in.u16_be();
  if (!in.at_end() || type != kInfoExport) return fail(ErrorKind::invalid, "export information: wrong size");
  return info;
}

Bytes encode_block_sizes(BlockSizes sizes) {
  Bytes bytes;
  Writer out(bytes);
  out.u16_be(kInfoBlockSize);
  out.u32_be(sizes.min);
  out.u32_be(sizes.preferred);
  out.u32_be(sizes.max);
  return bytes;
}

Result<BlockSizes> decode_block_sizes(ConstBytes payload) {
  Cursor in(payload);
  std::uint16_t type = in.u16_be();
  BlockSizes sizes;
  sizes.min = in.u32_be();
  sizes.preferred = in.u32_be();
  sizes.max = in.u32_be();
  if (!in.at_end() || type != kInfoBlockSize) return fail(ErrorKind::invalid, "block sizes: wrong size");
  if (!std::has_single_bit(sizes.min) || sizes.min > kBlockSizeMinMax || sizes.max < sizes.min)
    return fail(ErrorKind::invalid, fmt::format("block sizes: {} to {}", sizes.min, sizes.max));
  return sizes;
}

Bytes encode_info_text(std::uint16_t type, std::string_view text) {
  Bytes bytes;
  Writer out(bytes);
  out.u16_be(type);
  out.text(text);
  return bytes;
}

Bytes encode_listed_export(std::string_view name, std::string_view description) {
  Bytes bytes;
  Writer out(bytes);
  put_string(out, name);
  out.text(description);
  return bytes;
}

Bytes encode_meta_context(const MetaContext& context) {
  Bytes bytes;
  Writer out(bytes);
  out.u32_be(context.id);
  out.text(context.name);
  return bytes;
}

Result<MetaContext> decode_meta_context(ConstBytes payload) {
  Cursor in(payload);
  MetaContext context;
  context.id = in.u32_be();
  context.name = std::string(as_text(in.rest()));
  if (!in.ok()) return short_by("metadata context");
  return context;
}

Result<Request> decode_request(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint32_t magic = in.u32_be();
  Request request;
  request.flags = in.u16_be();
  request.type = in.u16_be();
  request.cookie = in.u64_be();
  request.offset = in.u64_be();
  request.length = in.u32_be();
  if (!in.ok()) return short_by("request");
  if (magic != kRequestMagic) return wrong_magic("request", magic);
  return request;
}

void encode_request(const Request& request, std::span<std::byte, kRequestBytes> out) {
  std::byte* at = put(out.data(), kRequestMagic);
  at = put(at, request.flags);
  at = put(at, request.type);
  at = put(at, request.cookie);
  at = put(at, request.offset);
  put(at, request.length);
}

Result<SimpleReply> decode_simple_reply(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint32_t magic = in.u32_be();
  SimpleReply reply;
  reply.error = in.u32_be();
  reply.cookie = in.u64_be();
  if (!in.ok()) return short_by("reply");
  if (magic != kSimpleReplyMagic) return wrong_magic("reply", magic);
  return reply;
}

void encode_simple_reply(SimpleReply reply, std::span<std::byte, kSimpleReplyBytes> out) {
  std::byte* at = put(out.data(), kSimpleReplyMagic);
  at = put(at, reply.error);
  put(at, reply.cookie);
}

Result<Chunk> decode_chunk(ConstBytes bytes) {
  Cursor in(bytes);
  std::uint32_t magic = in.u32_be();
  Chunk chunk;
  chunk.flags = in.u16_be();
  chunk.type = in.u16_be();
  chunk.cookie = in.u64_be();
  chunk.length = in.u32_be();
  if (!in.ok()) return short_by("reply chunk");
  if (magic != kStructuredReplyMagic) return wrong_magic("reply chunk", magic);
  return chunk;
}

void encode_chunk(Chunk chunk, std::span<std::byte, kChunkHeaderBytes> out) {
  std::byte* at = put(out.data(), kStructuredReplyMagic);
  at = put(at, chunk.flags);
  at = put(at, chunk.type);
  at = put(at, chunk.cookie);
  put(at, chunk.length);
}

void encode_offset(std::uint64_t offset, std::span<std::byte, kOffsetDataBytes> out) {
  put(out.data(), offset);
}
void encode_context_id(std::uint32_t context, std::span<std::byte, kBlockStatusBytes> out) {
  put(out.data(), context);
}
void encode_error_head(std::uint32_t error, std::uint16_t text_bytes, std::span<std::byte, kErrorChunkBytes> out) {
  put(put(out.data(), error), text_bytes);
}

void append_descriptor(Bytes& bytes, Descriptor descriptor) {
  Writer out(bytes);
  out.u32_be(descriptor.length);
  out.u32_be(descriptor.state);
}

Result<BlockStatus> decode_block_status(ConstBytes payload) {
  Cursor in(payload);
  BlockStatus status;
  status.context = in.u32_be();
  if (!in.ok() || in.remaining() == 0 || in.remaining() % kDescriptorBytes != 0)
    return fail(ErrorKind::invalid, "block status: not a row of descriptors");
  while (in.remaining() > 0) {
    Descriptor descriptor;
    descriptor.length = in.u32_be();
    descriptor.state = in.u32_be();
    if (descriptor.length == 0) return fail(ErrorKind::invalid, "block status: an empty descriptor");
    status.descriptors.push_back(descriptor);
  }
  return status;
}

Result<ErrorChunk> decode_error_chunk(ConstBytes payload) {
  Cursor in(payload);
  ErrorChunk chunk;
  chunk.error = in.u32_be();
  std::uint16_t text_bytes = in.u16_be();
  chunk.text = std::string(as_text(in.take(text_bytes)));
  if (!in.ok()) return short_by("error chunk");  // ERROR_OFFSET has an offset behind the text
  if (chunk.error == 0) return fail(ErrorKind::invalid, "error chunk: without an error");
  return chunk;
}

std::uint32_t error_value(ErrorKind kind, bool relay) {
  switch (kind) {
    case ErrorKind::invalid: return kErrInvalid;
    case ErrorKind::no_space: return kErrNoSpace;
    case ErrorKind::read_only:
    case ErrorKind::refused: return kErrPermission;
    case ErrorKind::limit: return kErrOverflow;
    case ErrorKind::unsupported: return kErrNotSupported;
    case ErrorKind::shut_down: return kErrShutdown;
    case ErrorKind::moved: return relay ? kErrMoved : kErrIo;
    default: return kErrIo;
  }
}

ErrorKind error_kind(std::uint32_t value) {
  switch (value) {
    case kErrInvalid: return ErrorKind::invalid;
    case kErrNoSpace: return ErrorKind::no_space;
    case kErrPermission: return ErrorKind::refused;
    case kErrNoMemory:
    case kErrOverflow: return ErrorKind::limit;
    case kErrNotSupported: return ErrorKind::unsupported;
    case kErrShutdown: return ErrorKind::shut_down;
    case kErrMoved: return ErrorKind::moved;
    default: return ErrorKind::io;
  }
}

}  // namespace godwit::exports::nbd
