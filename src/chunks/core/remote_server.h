// The server's half of a session of the remote protocol, without I/O: `pull` gives an index, an archive and chunks; `push` takes
// an index with its chunks, an index, or an archive. The table of its states and events is in src/chunks/README.md, "Remote".
// Source: casync.md 2.4 to 2.10.
//
// It differs from a real casync where that one's behaviour is a defect: an index pushed alone is confirmed and installed, chunks
// pushed alone are refused, GOODBYE is said only after the file has its name, an error is told to the peer by ABORT, and a chunk
// asked for again is sent again.
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "chunks/core/remote_answers.h"
#include "chunks/core/remote_gate.h"
#include "chunks/core/remote_work.h"

namespace godwit::chunks {

class RemoteServer {
 public:
  struct Limits {
    std::size_t look_ups = 64;            // chunks looked for at once
    std::size_t outstanding = 64 * 1024;  // asked for and not stored; while there are as many, no further id is read
    std::size_t storing = 64;             // chunks being verified and written; then the peer is not read
    std::size_t storing_bytes = 32 << 20;
    RemoteAnswers::Limits answers;
  };
  // Which operands its command line had (casync.md 2.3, last line).
  struct Offer {
    bool is_push = false;
    bool store = false;
    bool index = false;
    bool archive = false;
    HelloFlags flags() const;
  };

  // ErrorKind::refused for an offer of nothing, and for a push of chunks alone.
  static Result<RemoteServer> start(Offer offer, Limits limits);

  // --- facts ---
  // An error ends the session: work then is an ABORT (not towards a peer that said ABORT itself) and the end.
  Result<PayloadUse> handle_frame(const wire::Message& message);
  Result<void> handle_end_of_stream();
  // Something of ours broke: a file, the store, a chunk that is not what its name says.
  void handle_failure(const Error& error);

  // Pull: OpenFile's and LoadChunk's.
  void handle_piece_ready();
  void handle_file_end();
  void handle_chunk_loaded(const ChunkId& id, std::size_t size_bytes) { answers_.handle_loaded(id, size_bytes); }
  void handle_chunk_absent(const ChunkId& id) { answers_.handle_absent(id); }

  // Push: so many more ids of the arriving index can be read. Only what can not be the index's tail is counted.
  void handle_ids_arrived(std::size_t count) { ids_unread_ += count; }
  void handle_ids(std::span<const ChunkId> ids);
  void handle_looked_up(const ChunkId& id, bool is_present);
  void handle_stored(const ChunkId& id);
  void handle_installed();

  // --- what comes out ---
  std::optional<RemoteWork> poll_work();
  bool wants_input() const;
  bool has_ended() const { return phase_ == Phase::ended; }  // as it should
  bool has_failed() const { return phase_ == Phase::failed; }
  bool is_push() const { return offer_.is_push; }

 private:
  enum class Phase : std::uint8_t { open, installing, ended, failed };

  RemoteServer(Offer offer, Limits limits);

  bool takes_chunks() const { return (gate_.peers() & hello::kPushIndexChunks) != 0; }
  Result<PayloadUse> admit_chunk(const wire::Chunk& chunk);
  Result<void> begin();
  template <class T>
  Result<T> failed(Error error, bool tell);
  std::optional<RemoteWork> poll_answer();
  std::optional<RemoteWork> poll_push();
  std::optional<RemoteWork> poll_wanted();
  RemoteWork send(const wire::Message& message) const;

  const Limits limits_;
  const Offer offer_;
  RemoteGate gate_;
  Phase phase_ = Phase::open;
  bool hello_said_ = false;
  bool end_said_ = false;
  std::optional<wire::Abort> abort_;

  // Pull.
  RemoteAnswers answers_;
  OutgoingFile file_;
  bool open_wanted_ = false;

  // Push. An id is in one place at a time: to be looked up, being looked up, wanted (absent and not asked for yet), asked for,
  // being stored.
  std::size_t ids_unread_ = 0;
  bool reading_ids_ = false;
  std::deque<ChunkId> to_look_up_;
  std::unordered_set<ChunkId> looking_up_;
  std::vector<ChunkId> wanted_;
  enum class Ask : std::uint8_t { wanted, sent };
  std::unordered_map<ChunkId, Ask> outstanding_;  // wanted or asked for
  struct Storing {
    ChunkId id;
    std::size_t size_bytes;
  };
  std::vector<Storing> storing_;
  std::size_t storing_bytes_ = 0;
  bool goodbye_wanted_ = false;
};

}  // namespace godwit::chunks
