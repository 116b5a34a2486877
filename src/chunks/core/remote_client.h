// The client's half of a session of the remote protocol, without I/O: what it asks for, what it answers, and when it is done. It
// is used from its first poll_work() until ended() or failed. The table of its states and events is in src/chunks/README.md,
// "Remote". Source: casync.md 2.4 to 2.9.
//
// Pulling: request() what is needed, one id per REQUEST frame (a desync server looks at no other) and no id twice in a session (a
// casync server never answers that); finish() when all is here. Pushing: give pieces of the file, answer what the server asks
// for, and wait for its GOODBYE, which alone says that it has everything.
#pragma once

#include <deque>
#include <optional>
#include <unordered_set>

#include "base/time.h"
#include "chunks/core/remote_answers.h"
#include "chunks/core/remote_gate.h"
#include "chunks/core/remote_work.h"

namespace godwit::chunks {

class RemoteClient {
 public:
  struct Limits {
    std::size_t requests = 128;                 // REQUESTs that are not answered
    std::size_t asked = 1 << 20;                // ids asked for in one session (32 bytes each and some); then has_room() is false
    Duration silence = Duration::seconds(300);  // with something owed to us and nothing heard; zero: for ever
    RemoteAnswers::Limits answers;
  };
  struct Events {
    bool has_file_arrived = false;  // all pieces are here
    std::deque<ChunkId> missing;    // the server says it has not got them
  };

  // `wants`: one of 0xc0, 0x40, 0x80, 0x100 (pull), 0xe00, 0x400, 0x1000 (push). ErrorKind::refused for a push of chunks alone
  // (0x200): no peer can confirm it, and a real casync throws them away and reports success.
  static Result<RemoteClient> start(HelloFlags wants, Instant now, Limits limits);

  bool is_push() const { return (gate_.mine() & hello::kPushes) != 0; }
  bool is_running() const { return gate_.state() == RemoteGate::State::running; }

  // --- facts ---
  // An error ends the session, as every other error here does; nothing may follow but poll_work() (which ends).
  Result<PayloadUse> handle_frame(Instant now, const wire::Message& message);
  // The peer closed its side. No error if that ends the session as it should end.
  Result<void> handle_end_of_stream();
  // Bytes have come, whatever they are: the peer lives.
  void handle_heard(Instant now) { heard_ = now; }
  Result<void> handle_deadline(Instant now);
  // The user's side of it is broken (a chunk can not be read, the disk is full): tells the peer.
  void handle_failure(const Error& error);

  // --- pulling ---
  // Each id at most once per session (see has_asked()).
  void request(const ChunkId& id, wire::Priority priority);
  bool has_asked(const ChunkId& id) const { return asked_.contains(id); }
  bool has_room() const { return asked_.size() < limits_.asked; }
  std::size_t count_unanswered() const { return waiting_.size() + outstanding_.size(); }
  // Everything wanted is here, or is not wanted any more: GOODBYE once the file and all answers have come.
  void finish() { is_finishing_ = true; }

  // --- pushing ---
  // Chunks that the server has asked for.
  std::uint64_t count_asked() const { return answers_.count_asked(); }
  void handle_piece_ready();
  void handle_file_end();
  void handle_chunk_loaded(const ChunkId& id, std::size_t size_bytes) { answers_.handle_loaded(id, size_bytes); }
  void handle_chunk_absent(const ChunkId& id) { answers_.handle_absent(id); }

  // --- what comes out ---
  std::optional<RemoteWork> poll_work(Instant now);
  // What the user waits for, taken out by the caller.
  Events& events() { return events_; }
  Instant next_deadline() const;
  // False: leave what comes unread until it is true again.
  bool wants_input() const { return answers_.has_room(); }
  // It is over, as it should be.
  bool has_ended() const { return phase_ == Phase::ended; }
  bool has_failed() const { return phase_ == Phase::failed; }

 private:
  enum class Phase : std::uint8_t { open, ended, failed };

  RemoteClient(HelloFlags wants, Instant now, Limits limits);

  bool wants(HelloFlags flags) const { return (gate_.mine() & flags) != 0; }
  bool is_owed_something() const;
  bool is_pull_complete() const;
  template <class T>
  Result<T> failed(Error error);
  std::optional<RemoteWork> poll_request(Instant now);
  std::optional<RemoteWork> poll_answer(Instant now);
  RemoteWork send(const wire::Message& message) const;

  const Limits limits_;
  RemoteGate gate_;
  RemoteAnswers answers_;
  OutgoingFile file_;
  Events events_;
  Phase phase_ = Phase::open;
  Instant heard_;  // or began to wait, whichever is later
  bool hello_said_ = false;
  bool goodbye_said_ = false;
  bool end_said_ = false;
  bool is_finishing_ = false;
  std::optional<wire::Abort> abort_;  // still to be said
  struct Waiting {
    ChunkId id;
    wire::Priority priority;
  };
  std::deque<Waiting> waiting_;
  std::unordered_set<ChunkId> asked_, outstanding_;
};

}  // namespace godwit::chunks
