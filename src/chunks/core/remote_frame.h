// The messages that two ends of the remote protocol exchange, and how they lie on the wire: a 16-byte head (length of the whole
// frame, type) and a body. Everything little-endian. What a message may mean when is remote_gate.h's business; this file knows
// one frame at a time. Source: casync.md 2.2.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks::wire {

enum class Type : std::uint64_t {
  hello = 0x3c71d0948ca5fbee,
  index = 0xb32a91dd2b3e27f8,
  index_eof = 0x4f0932f1043718f5,
  archive = 0x95d6428a69eddcc5,
  archive_eof = 0x450bef663f24cbad,
  request = 0x8ab427e0f89d9210,
  chunk = 0x5213dd180a84bc8c,
  missing = 0xd010f9fac82b7b6c,
  goodbye = 0xad205dbf1a3686c3,
  abort = 0xe7d9136b7efea352,
};
// "HELLO", "INDEX_EOF", …; "" for a number that is none of them.
std::string_view name_of(Type type);

inline constexpr std::size_t kHeadSize = 16;
inline constexpr std::uint64_t kFrameSizeMax = 16'777'216;
inline constexpr std::size_t kChunkHeadSize = kHeadSize + 8 + 32;
// A larger chunk, as stored, can not be sent at all, although stores may hold such.
inline constexpr std::uint64_t kChunkDataSizeMax = kFrameSizeMax - kChunkHeadSize;
// What a sender puts into one INDEX or ARCHIVE frame; receivers take more.
inline constexpr std::size_t kPieceSizeMax = 65'536;
// A REQUEST is closed once it has this size (a receiver takes any).
inline constexpr std::size_t kRequestSizeMax = 65'536;
inline constexpr std::size_t kAbortTextSizeMax = 4'096;  // of ours

// A file that travels in pieces: the index, or an archive.
enum class File : std::uint8_t { index, archive };
std::string_view name_of(File file);

struct Hello {
  std::uint64_t flags = 0;  // remote_flags.h
};
struct Piece {
  File file = File::index;
  ConstBytes data;  // borrowed from the frame; never empty
};
struct PieceEof {
  File file = File::index;
};
enum class Priority : std::uint8_t { low, high };
struct Request {
  Priority priority = Priority::low;
  std::vector<ChunkId> ids;  // never empty
};
struct Chunk {
  ChunkId id;
  bool compressed = true;
  ConstBytes data;  // borrowed from the frame; never empty
};
struct Missing {
  ChunkId id;
};
struct Goodbye {};
struct Abort {
  std::uint64_t error_number = 0;  // of Linux; 0: not said
  std::string text;                // as the peer sent it: any byte from 0x20 on
};
using Message = std::variant<Hello, Piece, PieceEof, Request, Chunk, Missing, Goodbye, Abort>;
Type type_of(const Message& message);

struct Head {
  std::uint64_t size = 0;  // of the whole frame
  Type type = Type::hello;
};
// Of the first 16 bytes of a frame. ErrorKind::invalid: a length that no frame has, an unknown type, or a length that this type
// can not have, so that nothing of a hopeless frame is waited for.
Result<Head> decode_head(ConstBytes head);

// A whole frame. The message's data is borrowed from it. ErrorKind::invalid for whatever breaks a rule of its type.
Result<Message> decode_message(ConstBytes frame);

// Appends the frame. A chunk and a piece can also be sent as head and data apart, without copying the data.
void encode_message(const Message& message, Bytes& out);
// `data_size` is within 1 … kChunkDataSizeMax.
Bytes chunk_head(const ChunkId& id, bool compressed, std::size_t data_size);
Bytes piece_head(File file, std::size_t data_size);

// Cuts a stream that comes in any pieces into frames. Asks for no memory on the strength of a length that a peer has said: what
// is kept is what has come.
class Assembler {
 public:
  void feed(ConstBytes bytes);
  // The next whole frame, borrowed until the next feed(), or nothing until more is fed. After an error nothing but it follows.
  Result<std::optional<ConstBytes>> next();
  // An end of the stream here is a clean one.
  bool at_frame_boundary() const { return given_ == buffer_.size(); }
  // What an end of the stream means where it is not a clean one.
  Error cut_off() const;

 private:
  Bytes buffer_;
  std::size_t given_ = 0;
};

}  // namespace godwit::chunks::wire
