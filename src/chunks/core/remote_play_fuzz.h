// What the fuzzers of both sessions share. An input is a row of bytes that is read as choices; where it ends, zeros follow.
#pragma once

#include <optional>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "chunks/core/remote_answers.h"
#include "chunks/core/remote_frame.h"
#include "chunks/core/remote_work.h"

namespace godwit::chunks::fuzz {

class Choices {
 public:
  explicit Choices(ConstBytes bytes) : bytes_(bytes) {}
  bool are_left() const { return at_ < bytes_.size(); }
  std::uint32_t below(std::uint32_t bound) { return are_left() ? std::to_integer<std::uint32_t>(bytes_[at_++]) % bound : 0; }

  // Few ids, so that they meet again.
  ChunkId id() {
    ChunkId id;
    id.bytes[0] = static_cast<std::byte>(below(6));
    return id;
  }

  // A message that a peer could send; its data is borrowed from a constant.
  wire::Message message() {
    static const Bytes kData(5, std::byte{1});
    switch (below(12)) {
      case 0: return wire::Hello{std::uint64_t{1} << below(14) | std::uint64_t{1} << below(14) | std::uint64_t{1} << below(14)};
      case 1: return wire::Piece{wire::File::index, kData};
      case 2: return wire::PieceEof{wire::File::index};
      case 3: return wire::Piece{wire::File::archive, kData};
      case 4: return wire::PieceEof{wire::File::archive};
      case 5:
      case 6: {
        wire::Request request{below(2) == 1 ? wire::Priority::high : wire::Priority::low, {id()}};
        while (below(3) == 2) request.ids.push_back(id());
        return request;
      }
      case 7:
      case 8: return wire::Chunk{id(), below(2) == 1, kData};
      case 9: return wire::Missing{id()};
      case 10: return wire::Goodbye{};
      default: return wire::Abort{below(140), "text"};
    }
  }

 private:
  ConstBytes bytes_;
  std::size_t at_ = 0;
};

// What the plays of both sessions have in common: the chunks a session loads to send them, and the promise about its end.
template <typename Session>
class Play {
 public:
  Play(Choices& in, Session session) : in_(in), session_(std::move(session)) {}

 protected:
  // The limits on what a session sends that both are given: small, so that they are met.
  static RemoteAnswers::Limits answer_limits() { return {.waiting = 4, .loads = 2, .loaded_bytes = 10, .remembered = 2}; }

  // True if it answered a load.
  bool answer_load() {
    if (loading_.empty() || in_.below(2) == 0) return false;
    const ChunkId id = *loading_.begin();
    loading_.erase(loading_.begin());
    in_.below(3) == 0 ? session_.handle_chunk_absent(id) : session_.handle_chunk_loaded(id, 6);
    return true;
  }

  // The file that the session sends: a piece, or its end.
  void offer_file() {
    if (file_ended_) return;
    file_ended_ = in_.below(4) == 0;
    file_ended_ ? session_.handle_file_end() : session_.handle_piece_ready();
  }

  // What may befall any session.
  void befall(std::uint32_t which) {
    if (which == 0 && in_.below(8) == 0) (void)session_.handle_end_of_stream();
    if (which == 1 && in_.below(16) == 0) session_.handle_failure(Error(ErrorKind::io, "fuzz"));
  }

  // `poll` gives the next work, `note` looks at it. Over is over: the end is said once, and nothing after it.
  template <typename Poll, typename Note>
  void work(Poll poll, Note note) {
    while (const std::optional<RemoteWork> work = poll()) {
      GODWIT_CHECK(!said_end_);
      if (const auto* load = std::get_if<remote_work::LoadChunk>(&*work)) loading_.insert(load->id);
      GODWIT_CHECK(loading_.size() <= answer_limits().loads);
      if (const auto* send = std::get_if<remote_work::Send>(&*work)) GODWIT_CHECK(wire::decode_message(send->frame).has_value());
      note(*work);
      said_end_ = std::holds_alternative<remote_work::End>(*work);
    }
    GODWIT_CHECK(said_end_ == (session_.has_ended() || session_.has_failed()));
  }

  Choices& in_;
  Session session_;

 private:
  std::set<ChunkId> loading_;
  bool file_ended_ = false, said_end_ = false;
};

}  // namespace godwit::chunks::fuzz
