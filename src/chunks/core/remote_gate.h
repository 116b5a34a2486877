// Which message of the peer is legal when: first HELLO, then what both ends agreed on, each file in order, nothing after the
// end. Both roles stand behind one. Source: casync.md 2.3, 2.8, 2.9.
#pragma once

#include <cstdint>

#include "chunks/core/remote_flags.h"
#include "chunks/core/remote_frame.h"

namespace godwit::chunks {

class RemoteGate {
 public:
  enum class State : std::uint8_t {
    hello,    // only HELLO or ABORT may come
    running,  // what was agreed on
    over,     // after GOODBYE: nothing more may come
    failed,
  };

  // `mine`: what this end says in its own HELLO.
  explicit RemoteGate(HelloFlags mine) : mine_(mine) {}

  // Takes the message into account. An error ends the session: ErrorKind::invalid for a message at the wrong time,
  // check_hello()'s errors, and what an ABORT says (see error_of_abort()).
  Result<void> admit(const wire::Message& message);

  State state() const { return state_; }
  HelloFlags mine() const { return mine_; }
  HelloFlags peers() const { return peers_; }  // 0 until HELLO has come
  bool has_file_ended(wire::File file) const { return files_[static_cast<unsigned>(file)] == FileState::ended; }

 private:
  enum class FileState : std::uint8_t { absent, begun, ended };

  Result<void> admit_file(wire::File file, bool is_end);
  bool agreed(HelloFlags i_want, HelloFlags peer_wants) const { return (mine_ & i_want) != 0 || (peers_ & peer_wants) != 0; }

  HelloFlags mine_;
  HelloFlags peers_ = 0;
  State state_ = State::hello;
  FileState files_[2] = {};
};

// "the remote gave up: Permission denied (its words: …)", of a kind that fits the number.
Error error_of_abort(const wire::Abort& abort);
// The ABORT that tells the peer of an error of ours, with the number that fits its kind best.
wire::Abort abort_of_error(const Error& error);

}  // namespace godwit::chunks
