// What the sessions of the remote protocol ask of their drivers. A session sees the fixed part of a frame; payloads (chunks,
// pieces of files) stay with the driver, which sends and keeps them when the session says so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <variant>

#include "chunks/core/remote_frame.h"

namespace godwit::chunks {

namespace remote_work {

// A frame without a payload, ready to be sent.
struct Send {
  Bytes frame;
};
// Send the next piece of our file (1 … wire::kPieceSizeMax bytes), then say handle_piece_sent().
struct SendPiece {
  wire::File file = wire::File::index;
};
// Fetch the chunk as it is stored: handle_chunk_loaded() or handle_chunk_absent().
struct LoadChunk {
  ChunkId id;
};
// Send the chunk that was loaded, and let go of it.
struct SendChunk {
  ChunkId id;
};
// Server, pull: open this file and say handle_piece_ready() whenever a piece of it can be sent, handle_file_end() at its end.
struct OpenFile {
  wire::File file = wire::File::index;
};
// Server, push: read the next `count` ids of the index that is arriving, in order: handle_ids().
struct ReadIds {
  std::size_t count = 0;
};
// Server, push: is the chunk in the store, or in one of those beside it? handle_looked_up().
struct LookUp {
  ChunkId id;
};
// Server, push: the file has come and all it needs is there: check it, make it durable, give it its name: handle_installed().
struct Install {
  wire::File file = wire::File::index;
};
// Nothing more will be asked for. What was sent goes out, then our side of the stream ends.
struct End {};

}  // namespace remote_work

using RemoteWork =
    std::variant<remote_work::Send, remote_work::SendPiece, remote_work::LoadChunk, remote_work::SendChunk, remote_work::OpenFile,
                 remote_work::ReadIds, remote_work::LookUp, remote_work::Install, remote_work::End>;

// What the payload of the frame that was just handled is for.
enum class PayloadUse : std::uint8_t {
  none,   // drop it
  piece,  // the next bytes of the file that is arriving
  chunk,  // verify and keep it
};

// Our side of a file that travels in pieces.
class OutgoingFile {
 public:
  explicit OutgoingFile(wire::File file) : file_(file) {}
  wire::File file() const { return file_; }

  void handle_piece_ready() { is_ready_ = true; }
  void handle_end() { has_ended_ = true; }
  // A piece to send, once per piece that is ready. The end is said after the last piece was.
  bool poll_piece() {
    const bool was_ready = is_ready_;
    is_ready_ = false;
    return was_ready;
  }
  bool poll_end() {
    if (!has_ended_ || is_ready_ || end_said_) return false;
    end_said_ = true;
    return true;
  }
  bool is_end_said() const { return end_said_; }

 private:
  wire::File file_;
  bool is_ready_ = false;
  bool has_ended_ = false;
  bool end_said_ = false;
};

}  // namespace godwit::chunks
