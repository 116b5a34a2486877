#include "chunks/core/remote_client.h"

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {

using namespace hello;

namespace {

wire::File file_of(HelloFlags wants) {
  return (wants & (kPullArchive | kPushArchive)) != 0 ? wire::File::archive : wire::File::index;
}

}  // namespace

Result<RemoteClient> RemoteClient::start(HelloFlags wants, Instant now, Limits limits) {
  if (wants == kPushChunks)
    return fail(ErrorKind::refused,
                "chunks alone can not be pushed to a remote: the casync protocol has no way to confirm them. Give the index a "
                "place on the same remote");
  return RemoteClient(wants, now, limits);
}

RemoteClient::RemoteClient(HelloFlags wants, Instant now, Limits limits)
    : limits_(limits), gate_(wants), answers_(limits.answers), file_(file_of(wants)), heard_(now) {
  constexpr HelloFlags kLegal[] = {kPullIndex | kPullChunks,
                                   kPullChunks,
                                   kPullIndex,
                                   kPullArchive,
                                   kPushIndex | kPushChunks | kPushIndexChunks,
                                   kPushIndex,
                                   kPushArchive};
  bool is_legal = false;
  for (const HelloFlags legal : kLegal) is_legal = is_legal || wants == legal;
  GODWIT_CHECK(is_legal);
}

template <class T>
Result<T> RemoteClient::failed(Error error) {
  phase_ = Phase::failed;
  abort_.reset();
  return fail(std::move(error));
}

// --- facts ---

Result<PayloadUse> RemoteClient::handle_frame(Instant now, const wire::Message& message) {
  heard_ = now;
  if (phase_ == Phase::failed) return PayloadUse::none;
  if (phase_ == Phase::ended)
    // What was asked for has come; a peer that goes on (an answer given twice) harms nobody.
    return PayloadUse::none;
  if (Result<void> admitted = gate_.admit(message); !admitted) return failed<PayloadUse>(std::move(admitted).error());

  if (std::holds_alternative<wire::Piece>(message)) return PayloadUse::piece;
  if (std::holds_alternative<wire::PieceEof>(message)) {
    events_.has_file_arrived = true;
  } else if (const auto* request = std::get_if<wire::Request>(&message)) {
    answers_.handle_request(*request);
  } else if (const auto* chunk = std::get_if<wire::Chunk>(&message)) {
    // One that nobody waits for: an answer to a request that was answered before. It is dropped.
    return outstanding_.erase(chunk->id) == 1 ? PayloadUse::chunk : PayloadUse::none;
  } else if (const auto* missing = std::get_if<wire::Missing>(&message)) {
    if (outstanding_.erase(missing->id) == 1) events_.missing.push_back(missing->id);
  } else if (std::holds_alternative<wire::Goodbye>(message)) {
    const bool is_whole = is_push() ? file_.is_end_said() && answers_.is_idle() : is_pull_complete();
    if (!is_whole)
      return failed<PayloadUse>(Error(ErrorKind::connection_lost, "the remote said goodbye before everything was through"));
    phase_ = Phase::ended;
  }
  return PayloadUse::none;
}

Result<void> RemoteClient::handle_end_of_stream() {
  if (phase_ != Phase::open) return {};
  if (gate_.state() == RemoteGate::State::hello)
    return failed<void>(Error(ErrorKind::connection_lost, "the remote ended before it said anything"));
  if (!is_push() && is_finishing_ && is_pull_complete()) {
    phase_ = Phase::ended;
    return {};
  }
  if (is_push())
    return failed<void>(Error(ErrorKind::connection_lost, "the remote ended before it confirmed that it has everything"));
  return failed<void>(Error(ErrorKind::connection_lost,
                            !outstanding_.empty() || !waiting_.empty()
                                ? fmt::format("the remote ended with {} chunks still to be sent", count_unanswered())
                                : fmt::format("the remote ended before the {} was through", wire::name_of(file_.file()))));
}

bool RemoteClient::is_owed_something() const {
  if (phase_ != Phase::open || gate_.state() == RemoteGate::State::hello) return false;  // ssh may be asking for a password
  if (!outstanding_.empty()) return true;
  if (wants(kPullIndex | kPullArchive)) return !gate_.has_file_ended(file_.file());
  return is_push() && file_.is_end_said() && answers_.is_idle();
}

Instant RemoteClient::next_deadline() const {
  if (!is_owed_something() || limits_.silence.nanoseconds == 0) return Instant::never();
  return heard_ + limits_.silence;
}

Result<void> RemoteClient::handle_deadline(Instant now) {
  if (now < next_deadline()) return {};
  std::string what = fmt::format("the remote has been silent for {:.0f} s", limits_.silence.as_seconds());
  if (is_push()) what += ", and has not confirmed what was pushed";
  return failed<void>(Error(ErrorKind::timed_out, std::move(what)));
}

void RemoteClient::handle_failure(const Error& error) {
  if (phase_ != Phase::open) return;
  phase_ = Phase::failed;
  abort_ = abort_of_error(error);
}

// --- pulling and pushing ---

void RemoteClient::request(const ChunkId& id, wire::Priority priority) {
  GODWIT_CHECK(wants(kPullChunks) && !is_finishing_);
  const bool is_new = asked_.insert(id).second;
  GODWIT_CHECK(is_new);
  waiting_.push_back({id, priority});
}

bool RemoteClient::is_pull_complete() const {
  const bool has_file = !wants(kPullIndex | kPullArchive) || gate_.has_file_ended(file_.file());
  return has_file && waiting_.empty() && outstanding_.empty();
}

void RemoteClient::handle_piece_ready() {
  GODWIT_CHECK(is_push());
  file_.handle_piece_ready();
}

void RemoteClient::handle_file_end() {
  GODWIT_CHECK(is_push());
  file_.handle_end();
}

// --- what comes out ---

RemoteWork RemoteClient::send(const wire::Message& message) const {
  remote_work::Send send;
  wire::encode_message(message, send.frame);
  return send;
}

std::optional<RemoteWork> RemoteClient::poll_work(Instant now) {
  if (!hello_said_) {
    hello_said_ = true;
    return send(wire::Hello{gate_.mine()});
  }
  if (phase_ == Phase::open && gate_.state() == RemoteGate::State::running) {
    if (std::optional<RemoteWork> work = is_push() ? poll_answer(now) : poll_request(now)) return work;
    if (!is_push() && is_finishing_ && is_pull_complete() && !goodbye_said_) {
      goodbye_said_ = true;
      phase_ = Phase::ended;
      return send(wire::Goodbye{});
    }
  }
  if (abort_) {
    const wire::Abort abort = *abort_;
    abort_.reset();
    return send(abort);
  }
  if (phase_ != Phase::open && !end_said_) {
    end_said_ = true;
    return remote_work::End{};
  }
  return std::nullopt;
}

std::optional<RemoteWork> RemoteClient::poll_request(Instant now) {
  if (waiting_.empty() || outstanding_.size() >= limits_.requests) return std::nullopt;
  const Waiting next = waiting_.front();
  waiting_.pop_front();
  if (outstanding_.empty()) heard_ = now;
  outstanding_.insert(next.id);
  return send(wire::Request{next.priority, {next.id}});
}

// What the server asked for goes before more of the file, which would only make it ask for more.
std::optional<RemoteWork> RemoteClient::poll_answer(Instant now) {
  if (const std::optional<RemoteAnswers::Answer> answer = answers_.poll_answer()) {
    heard_ = now;
    if (answer->is_present) return remote_work::SendChunk{answer->id};
    return send(wire::Missing{answer->id});
  }
  if (const std::optional<ChunkId> id = answers_.poll_load()) return remote_work::LoadChunk{*id};
  if (file_.poll_piece()) return remote_work::SendPiece{file_.file()};
  if (!file_.poll_end()) return std::nullopt;
  heard_ = now;
  return send(wire::PieceEof{file_.file()});
}

}  // namespace godwit::chunks
