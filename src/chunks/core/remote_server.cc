#include "chunks/core/remote_server.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {

using namespace hello;

namespace {

constexpr std::size_t kRequestIdsMax = (wire::kRequestSizeMax - wire::kHeadSize - 8) / 32;

Error chunks_alone() {
  return Error(ErrorKind::unsupported,
               "chunks alone can not be pushed: the casync protocol has no way to confirm them. Give the index a place here too");
}

}  // namespace

HelloFlags RemoteServer::Offer::flags() const {
  HelloFlags flags = 0;
  if (store) flags |= is_push ? kWritableStore : kReadableStore;
  if (index) flags |= is_push ? kWritableIndex : kReadableIndex;
  if (archive) flags |= is_push ? kWritableArchive : kReadableArchive;
  return flags;
}

Result<RemoteServer> RemoteServer::start(Offer offer, Limits limits) {
  if (offer.flags() == 0) return fail(ErrorKind::refused, "neither an archive, nor an index, nor a store was named");
  if (offer.index && offer.archive) return fail(ErrorKind::refused, "an archive and an index can not be served together");
  // Before HELLO: a real casync's client would take the end of a session that has begun for success.
  if (offer.is_push && !offer.index && !offer.archive) return fail(chunks_alone());
  return RemoteServer(offer, limits);
}

RemoteServer::RemoteServer(Offer offer, Limits limits)
    : limits_(limits),
      offer_(offer),
      gate_(offer.flags()),
      answers_(limits.answers),
      file_(offer.archive ? wire::File::archive : wire::File::index) {}

template <class T>
Result<T> RemoteServer::failed(Error error, bool tell) {
  if (phase_ != Phase::failed && tell) abort_ = abort_of_error(error);
  phase_ = Phase::failed;
  return fail(std::move(error));
}

// --- facts ---

Result<PayloadUse> RemoteServer::handle_frame(const wire::Message& message) {
  if (phase_ == Phase::failed || phase_ == Phase::ended) return PayloadUse::none;
  if (Result<void> admitted = gate_.admit(message); !admitted)
    return failed<PayloadUse>(std::move(admitted).error(), !std::holds_alternative<wire::Abort>(message));

  if (std::holds_alternative<wire::Hello>(message)) {
    if (Result<void> begun = begin(); !begun) return failed<PayloadUse>(std::move(begun).error(), true);
  } else if (std::holds_alternative<wire::Piece>(message)) {
    return PayloadUse::piece;
  } else if (const auto* request = std::get_if<wire::Request>(&message)) {
    answers_.handle_request(*request);
  } else if (const auto* chunk = std::get_if<wire::Chunk>(&message)) {
    return admit_chunk(*chunk);
  } else if (const auto* missing = std::get_if<wire::Missing>(&message)) {
    return failed<PayloadUse>(
        Error(ErrorKind::not_found, fmt::format("the client has not got chunk {}, which its index names", missing->id.hex())),
        true);
  } else if (std::holds_alternative<wire::Goodbye>(message)) {
    if (Result<void> ended = handle_end_of_stream(); !ended) return fail(std::move(ended).error());
  }
  return PayloadUse::none;
}

Result<void> RemoteServer::begin() {
  const HelloFlags peers = gate_.peers();
  // A real casync says GOODBYE here, its client calls that success, and no chunk was ever stored.
  if ((peers & kPushChunks) != 0 && (peers & kPushIndex) == 0)
    return fail(
        ErrorKind::unsupported,
        "chunks alone can not be pushed: the casync protocol has no way to confirm them. Give the index a place here too");
  open_wanted_ = (peers & (kPullIndex | kPullArchive)) != 0;
  return {};
}

Result<PayloadUse> RemoteServer::admit_chunk(const wire::Chunk& chunk) {
  const auto asked = outstanding_.find(chunk.id);
  if (asked == outstanding_.end() || asked->second == Ask::wanted)
    return failed<PayloadUse>(
        Error(ErrorKind::invalid, fmt::format("the client sent chunk {}, which nobody asked for", chunk.id.hex())), true);
  outstanding_.erase(asked);
  storing_.push_back({chunk.id, chunk.data.size()});
  storing_bytes_ += chunk.data.size();
  return PayloadUse::chunk;
}

// A client that pulls may leave whenever it likes. One that pushes has to wait for our GOODBYE.
Result<void> RemoteServer::handle_end_of_stream() {
  if (phase_ == Phase::failed || phase_ == Phase::ended) return {};
  if (offer_.is_push)
    return failed<void>(Error(ErrorKind::connection_lost, "the client left before everything was here: nothing was installed"),
                        false);
  phase_ = Phase::ended;
  return {};
}

void RemoteServer::handle_failure(const Error& error) {
  if (phase_ == Phase::failed || phase_ == Phase::ended) return;
  phase_ = Phase::failed;
  abort_ = abort_of_error(error);
}

void RemoteServer::handle_piece_ready() {
  GODWIT_CHECK(!offer_.is_push);
  file_.handle_piece_ready();
}

void RemoteServer::handle_file_end() {
  GODWIT_CHECK(!offer_.is_push);
  file_.handle_end();
}

void RemoteServer::handle_ids(std::span<const ChunkId> ids) {
  GODWIT_CHECK(reading_ids_);
  reading_ids_ = false;
  for (const ChunkId& id : ids) to_look_up_.push_back(id);
}

void RemoteServer::handle_looked_up(const ChunkId& id, bool is_present) {
  const std::size_t known = looking_up_.erase(id);
  GODWIT_CHECK(known == 1);
  if (is_present) return;
  outstanding_.emplace(id, Ask::wanted);
  wanted_.push_back(id);
}

void RemoteServer::handle_stored(const ChunkId& id) {
  const auto found = std::ranges::find_if(storing_, [&](const Storing& s) { return s.id == id; });
  GODWIT_CHECK(found != storing_.end());
  storing_bytes_ -= found->size_bytes;
  storing_.erase(found);
}

void RemoteServer::handle_installed() {
  if (phase_ != Phase::installing) return;
  goodbye_wanted_ = true;
}

// --- what comes out ---

RemoteWork RemoteServer::send(const wire::Message& message) const {
  remote_work::Send send;
  wire::encode_message(message, send.frame);
  return send;
}

bool RemoteServer::wants_input() const {
  return answers_.has_room() && storing_.size() < limits_.storing && storing_bytes_ < limits_.storing_bytes;
}

std::optional<RemoteWork> RemoteServer::poll_work() {
  if (!hello_said_) {
    hello_said_ = true;
    return send(wire::Hello{gate_.mine()});
  }
  if (abort_) {
    const wire::Abort abort = *abort_;
    abort_.reset();
    return send(abort);
  }
  if (phase_ == Phase::failed || phase_ == Phase::ended) {
    if (end_said_) return std::nullopt;
    end_said_ = true;
    return remote_work::End{};
  }
  if (gate_.state() != RemoteGate::State::running) return std::nullopt;
  return offer_.is_push ? poll_push() : poll_answer();
}

// The index goes first: nothing can be asked for without it.
std::optional<RemoteWork> RemoteServer::poll_answer() {
  if (std::exchange(open_wanted_, false)) return remote_work::OpenFile{file_.file()};
  if (file_.poll_piece()) return remote_work::SendPiece{file_.file()};
  if (file_.poll_end()) return send(wire::PieceEof{file_.file()});
  if (const std::optional<RemoteAnswers::Answer> answer = answers_.poll_answer()) {
    if (answer->is_present) return remote_work::SendChunk{answer->id};
    return send(wire::Missing{answer->id});
  }
  if (const std::optional<ChunkId> id = answers_.poll_load()) return remote_work::LoadChunk{*id};
  return std::nullopt;
}

std::optional<RemoteWork> RemoteServer::poll_push() {
  if (goodbye_wanted_) {
    goodbye_wanted_ = false;
    phase_ = Phase::ended;
    return send(wire::Goodbye{});
  }
  if (phase_ == Phase::installing) return std::nullopt;
  if (takes_chunks())
    if (std::optional<RemoteWork> work = poll_wanted()) return work;
  const bool all_is_here = gate_.has_file_ended(file_.file()) && (!takes_chunks() || (ids_unread_ == 0 && !reading_ids_)) &&
                           to_look_up_.empty() && looking_up_.empty() && outstanding_.empty() && storing_.empty();
  if (!all_is_here) return std::nullopt;
  phase_ = Phase::installing;
  return remote_work::Install{file_.file()};
}

std::optional<RemoteWork> RemoteServer::poll_wanted() {
  if (to_look_up_.empty() && !reading_ids_ && ids_unread_ > 0 && outstanding_.size() < limits_.outstanding) {
    reading_ids_ = true;
    const std::size_t count = std::min(ids_unread_, kRequestIdsMax);
    ids_unread_ -= count;
    return remote_work::ReadIds{count};
  }
  while (!to_look_up_.empty() && looking_up_.size() < limits_.look_ups) {
    const ChunkId id = to_look_up_.front();
    to_look_up_.pop_front();
    const bool is_on_its_way =
        outstanding_.contains(id) || std::ranges::any_of(storing_, [&](const Storing& s) { return s.id == id; });
    if (!is_on_its_way && looking_up_.insert(id).second) return remote_work::LookUp{id};
  }
  // Asked for together where many are missing, and at once where nothing else is going on.
  if (wanted_.empty() || (wanted_.size() < kRequestIdsMax && !(to_look_up_.empty() && looking_up_.empty()))) return std::nullopt;
  for (const ChunkId& id : wanted_) outstanding_[id] = Ask::sent;
  return send(wire::Request{wire::Priority::low, std::exchange(wanted_, {})});
}

}  // namespace godwit::chunks
