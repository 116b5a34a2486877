#include "chunks/core/remote_frame.h"

#include <algorithm>
#include <type_traits>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks::wire {

namespace {

constexpr std::uint64_t kErrorNumberMax = 0x7fff'fffe;

std::unexpected<Error> broken(Type type, std::string_view what) {
  return fail(ErrorKind::invalid, fmt::format("{} frame: {}", name_of(type), what));
}

// Which lengths the frames of a type can have.
struct Sizes {
  std::uint64_t min = kHeadSize;
  std::uint64_t max = kFrameSizeMax;
};
Sizes sizes_of(Type type) {
  switch (type) {
    case Type::hello: return {kHeadSize + 8, kHeadSize + 8};
    case Type::index:
    case Type::archive: return {kHeadSize + 1, kFrameSizeMax};
    case Type::index_eof:
    case Type::archive_eof:
    case Type::goodbye: return {kHeadSize, kHeadSize};
    case Type::request: return {kHeadSize + 8 + 32, kFrameSizeMax};
    case Type::chunk: return {kChunkHeadSize + 1, kFrameSizeMax};
    case Type::missing: return {kHeadSize + 32, kHeadSize + 32};
    case Type::abort: return {kHeadSize + 8 + 1, kFrameSizeMax};
  }
  return {kFrameSizeMax + 1, 0};
}

ChunkId take_id(Cursor& cursor) {
  ChunkId id;
  const ConstBytes bytes = cursor.take(id.bytes.size());
  std::ranges::copy(bytes, id.bytes.begin());
  return id;
}

Result<Message> decode_hello(Cursor& body) {
  const std::uint64_t flags = body.u64_le();
  if (flags == 0 || flags == ~std::uint64_t{0}) return broken(Type::hello, fmt::format("flags {:#x} say nothing", flags));
  return Hello{flags};
}

Result<Message> decode_request(Cursor& body) {
  const std::uint64_t flags = body.u64_le();
  if (flags > 1) return broken(Type::request, fmt::format("unknown flags {:#x}", flags));
  if (body.remaining() % 32 != 0) return broken(Type::request, "not a whole number of chunk ids");
  Request request{flags == 1 ? Priority::high : Priority::low, {}};
  request.ids.reserve(body.remaining() / 32);
  while (body.remaining() > 0) request.ids.push_back(take_id(body));
  return request;
}

Result<Message> decode_chunk(Cursor& body) {
  const std::uint64_t flags = body.u64_le();
  if (flags > 1) return broken(Type::chunk, fmt::format("unknown flags {:#x}", flags));
  const ChunkId id = take_id(body);
  return Chunk{id, flags == 1, body.rest()};
}

Result<Message> decode_abort(Cursor& body) {
  const std::uint64_t number = body.u64_le();
  if (number > kErrorNumberMax) return broken(Type::abort, fmt::format("error number {} is none", number));
  const std::string_view text = as_text(body.rest());
  if (text.back() != '\0') return broken(Type::abort, "the text does not end");
  const std::string_view words = text.substr(0, text.size() - 1);
  if (std::ranges::any_of(words, [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
    return broken(Type::abort, "the text holds control bytes");
  return Abort{number, std::string(words)};
}

void put_head(Bytes& out, Type type, std::uint64_t size) {
  Writer writer(out);
  writer.u64_le(size);
  writer.u64_le(static_cast<std::uint64_t>(type));
}

struct Encoder {
  Bytes& out;

  void operator()(const Hello& hello) const {
    put_head(out, Type::hello, kHeadSize + 8);
    Writer(out).u64_le(hello.flags);
  }
  void operator()(const Piece& piece) const {
    append(out, piece_head(piece.file, piece.data.size()));
    append(out, piece.data);
  }
  void operator()(const PieceEof& eof) const {
    put_head(out, eof.file == File::index ? Type::index_eof : Type::archive_eof, kHeadSize);
  }
  void operator()(const Request& request) const {
    GODWIT_CHECK(!request.ids.empty());
    put_head(out, Type::request, kHeadSize + 8 + 32 * request.ids.size());
    Writer(out).u64_le(request.priority == Priority::high ? 1 : 0);
    for (const ChunkId& id : request.ids) append(out, id.bytes);
  }
  void operator()(const Chunk& chunk) const {
    append(out, chunk_head(chunk.id, chunk.compressed, chunk.data.size()));
    append(out, chunk.data);
  }
  void operator()(const Missing& missing) const {
    put_head(out, Type::missing, kHeadSize + 32);
    append(out, missing.id.bytes);
  }
  void operator()(const Goodbye&) const { put_head(out, Type::goodbye, kHeadSize); }
  void operator()(const Abort& abort) const {
    GODWIT_CHECK(abort.error_number <= kErrorNumberMax);
    std::string text = abort.text.substr(0, kAbortTextSizeMax);
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; }, ' ');
    put_head(out, Type::abort, kHeadSize + 8 + text.size() + 1);
    Writer writer(out);
    writer.u64_le(abort.error_number);
    writer.text(text);
    writer.u8(0);
  }
};

}  // namespace

std::string_view name_of(Type type) {
  switch (type) {
    case Type::hello: return "HELLO";
    case Type::index: return "INDEX";
    case Type::index_eof: return "INDEX_EOF";
    case Type::archive: return "ARCHIVE";
    case Type::archive_eof: return "ARCHIVE_EOF";
    case Type::request: return "REQUEST";
    case Type::chunk: return "CHUNK";
    case Type::missing: return "MISSING";
    case Type::goodbye: return "GOODBYE";
    case Type::abort: return "ABORT";
  }
  return "";
}

std::string_view name_of(File file) {
  return file == File::index ? "index" : "archive";
}

Type type_of(const Message& message) {
  struct Visitor {
    Type operator()(const Hello&) const { return Type::hello; }
    Type operator()(const Piece& piece) const { return piece.file == File::index ? Type::index : Type::archive; }
    Type operator()(const PieceEof& eof) const { return eof.file == File::index ? Type::index_eof : Type::archive_eof; }
    Type operator()(const Request&) const { return Type::request; }
    Type operator()(const Chunk&) const { return Type::chunk; }
    Type operator()(const Missing&) const { return Type::missing; }
    Type operator()(const Goodbye&) const { return Type::goodbye; }
    Type operator()(const Abort&) const { return Type::abort; }
  };
  return std::visit(Visitor{}, message);
}

Result<Head> decode_head(ConstBytes bytes) {
  Cursor cursor(bytes);
  const std::uint64_t size = cursor.u64_le();
  const Head head{size, static_cast<Type>(cursor.u64_le())};
  if (!cursor.ok()) return fail(ErrorKind::truncated, "a frame's head has 16 bytes");
  if (name_of(head.type).empty()) {
    // A login banner or a shell's complaint is what mostly comes instead of a frame: show it.
    return fail(ErrorKind::invalid,
                fmt::format("this is not the casync protocol: a frame begins with \"{}\"; nothing else than casync or godwit may "
                            "print anything there (a login banner? a shell's start-up file?)",
                            escaped(as_text(bytes.first(16)))));
  }
  if (size < kHeadSize || size > kFrameSizeMax)
    return broken(head.type, fmt::format("{} bytes long; {} to {} are allowed", size, kHeadSize, kFrameSizeMax));
  const Sizes sizes = sizes_of(head.type);
  if (size < sizes.min || size > sizes.max) return broken(head.type, fmt::format("{} bytes long, which it can not be", size));
  return head;
}

Result<Message> decode_message(ConstBytes frame) {
  const Result<Head> head = decode_head(frame.first(std::min(frame.size(), kHeadSize)));
  if (!head) return fail(head.error());
  if (head->size != frame.size())
    return fail(ErrorKind::truncated, fmt::format("{} of a frame's {} bytes", frame.size(), head->size));
  Cursor body(frame.subspan(kHeadSize));
  switch (head->type) {
    case Type::hello: return decode_hello(body);
    case Type::index: return Piece{File::index, body.rest()};
    case Type::archive: return Piece{File::archive, body.rest()};
    case Type::index_eof: return PieceEof{File::index};
    case Type::archive_eof: return PieceEof{File::archive};
    case Type::request: return decode_request(body);
    case Type::chunk: return decode_chunk(body);
    case Type::missing: return Missing{take_id(body)};
    case Type::goodbye: return Goodbye{};
    case Type::abort: return decode_abort(body);
  }
  return fail(ErrorKind::invalid, "unknown frame");
}

void encode_message(const Message& message, Bytes& out) {
  std::visit(Encoder{out}, message);
}

Bytes chunk_head(const ChunkId& id, bool compressed, std::size_t data_size) {
  GODWIT_CHECK(data_size >= 1 && data_size <= kChunkDataSizeMax);
  Bytes out;
  put_head(out, Type::chunk, kChunkHeadSize + data_size);
  Writer(out).u64_le(compressed ? 1 : 0);
  append(out, id.bytes);
  return out;
}

Bytes piece_head(File file, std::size_t data_size) {
  GODWIT_CHECK(data_size >= 1 && data_size <= kFrameSizeMax - kHeadSize);
  Bytes out;
  put_head(out, file == File::index ? Type::index : Type::archive, kHeadSize + data_size);
  return out;
}

void Assembler::feed(ConstBytes bytes) {
  if (given_ == buffer_.size()) {
    buffer_.clear();
  } else if (given_ > 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(given_));
  }
  given_ = 0;
  append(buffer_, bytes);
}

Error Assembler::cut_off() const {
  const ConstBytes rest = ConstBytes(buffer_).subspan(given_);
  // No frame is that short: a shell's complaint, most likely.
  if (rest.size() < kHeadSize)
    return Error(ErrorKind::connection_lost,
                 fmt::format("this is not the casync protocol: the last it said is \"{}\"", escaped(as_text(rest))));
  return Error(ErrorKind::connection_lost, "the stream ended in the middle of a frame");
}

Result<std::optional<ConstBytes>> Assembler::next() {
  const ConstBytes rest = ConstBytes(buffer_).subspan(given_);
  if (rest.size() < kHeadSize) return std::nullopt;
  const Result<Head> head = decode_head(rest.first(kHeadSize));
  if (!head) return fail(head.error());
  if (rest.size() < head->size) return std::nullopt;
  given_ += head->size;
  return rest.first(head->size);
}

}  // namespace godwit::chunks::wire
