#include "chunks/driver/remote_client_link.h"

#include <utility>

#include "base/check.h"

namespace godwit::chunks {

using namespace remote_work;

Result<std::unique_ptr<RemoteClientLink>> RemoteClientLink::start(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream,
                                                                  HelloFlags wants, RemoteClientUser& user,
                                                                  RemoteClient::Limits limits, std::shared_ptr<RemoteRate> rate) {
  Result<RemoteClient> session = RemoteClient::start(wants, scheduler.now(), limits);
  if (!session) return fail(std::move(session).error());
  std::unique_ptr<RemoteClientLink> link(
      new RemoteClientLink(scheduler, std::move(stream), std::move(*session), user, std::move(rate)));
  scheduler.post([raw = link.get(), alive = link->alive_] {
    if (!*alive) return;
    if (raw->session_.is_push()) raw->read_piece();
    raw->work();
    if (*alive) raw->link_->start();
  });
  return link;
}

RemoteClientLink::RemoteClientLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, RemoteClient session,
                                   RemoteClientUser& user, std::shared_ptr<RemoteRate> rate)
    : scheduler_(scheduler),
      session_(std::move(session)),
      user_(user),
      link_(std::make_unique<RemoteLink>(scheduler, std::move(stream), *this, std::move(rate))) {}

RemoteClientLink::~RemoteClientLink() {
  *alive_ = false;
  scheduler_.cancel(alarm_);
}

void RemoteClientLink::request(const ChunkId& id, wire::Priority priority) {
  session_.request(id, priority);
  work();
}

void RemoteClientLink::finish() {
  session_.finish();
  work();
}

void RemoteClientLink::give_up(const Error& error) {
  if (session_.has_ended() || session_.has_failed()) return;
  session_.handle_failure(error);
  fail_with(error);
}

// --- what comes ---

void RemoteClientLink::handle_heard() {
  session_.handle_heard(scheduler_.now());
}

void RemoteClientLink::handle_message(const wire::Message& message) {
  const std::shared_ptr<bool> alive = alive_;
  const std::uint64_t asked_before = session_.count_asked();
  const Result<PayloadUse> use = session_.handle_frame(scheduler_.now(), message);
  if (!use) return fail_with(use.error());
  if (session_.count_asked() > asked_before) user_.handle_asked(session_.count_asked() - asked_before);
  if (*use == PayloadUse::piece) user_.handle_piece(std::get<wire::Piece>(message).data);
  if (*use == PayloadUse::chunk) {
    const wire::Chunk& chunk = std::get<wire::Chunk>(message);
    user_.handle_chunk(chunk.id, {to_bytes(chunk.data), chunk.compressed});
  }
  if (!*alive) return;
  if (std::exchange(session_.events().has_file_arrived, false)) user_.handle_file_arrived();
  while (*alive && !session_.events().missing.empty()) {
    const ChunkId id = session_.events().missing.front();
    session_.events().missing.pop_front();
    user_.handle_missing(id);
  }
  if (*alive) work();
}

void RemoteClientLink::handle_input_end(std::optional<Error> error) {
  if (error && !session_.has_ended()) {
    session_.handle_failure(*error);
    return fail_with(std::move(*error));
  }
  if (const Result<void> ended = session_.handle_end_of_stream(); !ended) return fail_with(ended.error());
  work();
}

// Why the peer left may still be on its way as an ABORT: the end of the input tells.
void RemoteClientLink::handle_output_lost(const Error&) {
  link_->resume();
}

// --- what is to be done ---

void RemoteClientLink::work() {
  if (std::exchange(working_, true)) return;
  const std::shared_ptr<bool> alive = alive_;
  while (link_->has_room()) {
    std::optional<RemoteWork> next = session_.poll_work(scheduler_.now());
    if (!next) break;
    perform(std::move(*next));
    if (!*alive) return;
  }
  working_ = false;
  set_alarm();
  link_->resume();
  if (*alive && (session_.has_ended() || session_.has_failed())) tell_end();
}

void RemoteClientLink::perform(RemoteWork work) {
  if (auto* send = std::get_if<Send>(&work)) {
    link_->send(std::move(send->frame));
  } else if (std::holds_alternative<SendPiece>(work)) {
    const wire::File file = std::get<SendPiece>(work).file;
    Bytes piece = std::exchange(piece_, {});
    Bytes head = wire::piece_head(file, piece.size());
    link_->send(std::move(head), std::move(piece));
    read_piece();
  } else if (const auto* wanted = std::get_if<LoadChunk>(&work)) {
    load(wanted->id);
  } else if (const auto* chunk = std::get_if<SendChunk>(&work)) {
    auto found = loaded_.extract(chunk->id);
    GODWIT_CHECK(!found.empty());
    TravellingChunk& stored = found.mapped();
    Bytes head = wire::chunk_head(chunk->id, stored.compressed, stored.data.size());
    user_.handle_chunk_sent(stored.data.size());
    link_->send(std::move(head), std::move(stored.data));
  } else {
    GODWIT_CHECK(std::holds_alternative<End>(work));
    link_->end_sending();
  }
}

void RemoteClientLink::read_piece() {
  if (std::exchange(reading_piece_, true)) return;
  user_.read_piece([this, alive = alive_](Result<Bytes> piece) {
    if (!*alive || told_) return;
    reading_piece_ = false;
    if (!piece) return give_up(piece.error());
    GODWIT_CHECK(piece->size() <= wire::kPieceSizeMax);
    if (piece->empty()) {
      session_.handle_file_end();
    } else {
      piece_ = std::move(*piece);
      session_.handle_piece_ready();
    }
    work();
  });
}

void RemoteClientLink::load(const ChunkId& id) {
  user_.load_chunk(id, [this, id, alive = alive_](Result<TravellingChunk> chunk) {
    if (!*alive || session_.has_failed()) return;
    if (!chunk && chunk.error().kind() != ErrorKind::not_found) return give_up(chunk.error());
    if (chunk && chunk->data.size() > wire::kChunkDataSizeMax)
      return give_up(Error(ErrorKind::limit, "chunk " + id.hex() + " is too large for the casync protocol"));
    if (!chunk) {
      session_.handle_chunk_absent(id);
    } else {
      session_.handle_chunk_loaded(id, chunk->data.size());
      loaded_.insert_or_assign(id, std::move(*chunk));
    }
    work();
  });
}

void RemoteClientLink::set_alarm() {
  scheduler_.cancel(alarm_);
  alarm_ = {};
  const Instant deadline = session_.next_deadline();
  if (deadline == Instant::never() || told_) return;
  alarm_ = scheduler_.schedule(deadline, [this] {
    if (const Result<void> late = session_.handle_deadline(scheduler_.now()); !late) return fail_with(late.error());
    set_alarm();
  });
}

void RemoteClientLink::fail_with(Error error) {
  if (!error_) error_ = std::move(error);
  work();
}

// In a later turn, so that whoever called is not destroyed under its own feet.
void RemoteClientLink::tell_end() {
  if (std::exchange(told_, true)) return;
  scheduler_.cancel(alarm_);
  alarm_ = {};
  scheduler_.post([this, alive = alive_] {
    if (!*alive) return;
    if (error_) return user_.handle_ended(fail(*error_));
    user_.handle_ended({});
  });
}

}  // namespace godwit::chunks
