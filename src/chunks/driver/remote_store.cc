#include "chunks/driver/remote_store.h"

#include <algorithm>
#include <list>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/driver/remote_chunk.h"
#include "net/lifetime.h"

namespace godwit::chunks {

namespace {

// Who waits for a chunk.
struct Waiter {
  Digest digest;
  std::uint64_t size_max;
  Done<Bytes> done;
};

class Store;

// One session and the chunks it still owes.
class Session final : public RemoteClientUser {
 public:
  explicit Session(Store& store) : store_(store) {}

  Result<void> start(net::Scheduler& scheduler, RemoteConnection connection, HelloFlags wants, RemoteClient::Limits limits) {
    peer_ = std::move(connection);
    Result<std::unique_ptr<RemoteClientLink>> link =
        RemoteClientLink::start(scheduler, std::move(peer_.stream), wants, *this, limits, peer_.rate);
    if (!link) return fail(std::move(link).error());
    link_ = std::move(*link);
    return {};
  }
  RemoteClientLink& link() { return *link_; }
  // Closes the stream; what the peer does after that is for whoever has this.
  RemoteConnection leave() {
    link_.reset();
    return std::move(peer_);
  }
  bool can_ask(const ChunkId& id) const {
    const RemoteClient& session = link_->session();
    return !is_finishing && session.has_room() && !session.has_asked(id) && !session.has_ended() && !session.has_failed();
  }

  void handle_piece(ConstBytes data) override;
  void handle_file_arrived() override;
  void handle_chunk(const ChunkId& id, TravellingChunk chunk) override;
  void handle_missing(const ChunkId& id) override;
  void handle_ended(Result<void> result) override;

  bool is_finishing = false;
  bool has_given = false;
  std::map<ChunkId, std::vector<Waiter>> waiting;

 private:
  Store& store_;
  RemoteConnection peer_;
  std::unique_ptr<RemoteClientLink> link_;
};

class Store final : public RemoteStore {
 public:
  Store(std::string title, RemoteConnector connector, net::Scheduler& scheduler, net::Workers& workers,
        RemoteStoreOptions options)
      : title_(std::move(title)),
        connector_(std::move(connector)),
        scheduler_(scheduler),
        workers_(workers),
        options_(std::move(options)) {}

  const std::string& title() const override { return title_; }

  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    if (!options_.has_store) return later(std::move(done), absent(id));
    for (auto& session : sessions_)
      if (const auto found = session->waiting.find(id); found != session->waiting.end()) {
        found->second.push_back({digest, size_max, std::move(done)});
        return;
      }
    std::vector<Waiter> waiters;
    waiters.push_back({digest, size_max, std::move(done)});
    ask(id, std::move(waiters));
  }

  // The protocol has no such question. What is not known to be there has to be fetched to find out.
  void has(std::vector<ChunkId>, Done<std::vector<bool>> done) override {
    later(std::move(done), Error(ErrorKind::unsupported, title_ + ": a remote can not be asked which chunks it has"));
  }
  void put(const ChunkId&, ConstBytes, Done<bool> done) override { later(std::move(done), read_only()); }
  void sync(Done<void> done) override {
    scheduler_.post(lifetime_.while_alive([done = std::move(done)]() mutable { done({}); }));
  }
  void remove(const ChunkId&, Done<void> done) override { later(std::move(done), read_only()); }

  void fetch_index(std::function<Result<void>(ConstBytes)> sink, Done<void> done) override {
    GODWIT_CHECK(sessions_.empty() && !index_done_);
    sink_ = std::move(sink);
    index_done_ = std::move(done);
    if (Result<Session*> session = open_session(hello::kPullIndex); !session) {
      later(std::exchange(index_done_, nullptr), session.error());
    } else if (!options_.has_store) {
      (*session)->is_finishing = true;
      (*session)->link().finish();
    }
  }

  void close(Done<void> done) override {
    close_done_ = std::move(done);
    for (auto& session : sessions_) finish(*session);
    if (sessions_.empty() && leaving_ == 0) tell_closed({});
  }

  // --- of sessions ---
  void take_piece(Session& session, ConstBytes data) {
    if (!sink_) return;
    if (Result<void> taken = sink_(data); !taken) {
      index_error_ = taken.error();
      session.link().give_up(taken.error());
    }
  }
  void index_arrived() {
    sink_ = nullptr;
    if (index_done_) std::exchange(index_done_, nullptr)({});
  }

  void deliver(Session& session, const ChunkId& id, TravellingChunk chunk) {
    const auto stored = std::make_shared<TravellingChunk>(std::move(chunk));
    for (Waiter& waiter : take_waiters(session, id)) {
      auto data = std::make_shared<Result<Bytes>>(Bytes());
      workers_.run([v = verifier_, stored, data, id, digest = waiter.digest,
                    size_max = waiter.size_max] { *data = v->open(id, digest, stored->data, stored->compressed, size_max); },
                   lifetime_.while_alive([this, data, done = std::move(waiter.done)]() mutable {
                     if (!*data) return done(fail(std::move(*data).error().within("from " + title_)));
                     done(std::move(*data));
                   }));
    }
  }
  void miss(Session& session, const ChunkId& id) {
    for (Waiter& waiter : take_waiters(session, id)) later(std::move(waiter.done), absent(id));
  }

  void session_ended(Session& session, Result<void> result) {
    const auto found = std::ranges::find_if(sessions_, [&](const auto& s) { return s.get() == &session; });
    GODWIT_CHECK(found != sessions_.end());
    std::shared_ptr<Session> ended(std::move(*found));
    sessions_.erase(found);
    ++leaving_;
    // It is on the stack: its link goes in a later turn.
    scheduler_.post(lifetime_.while_alive(
        [this, ended = std::move(ended), result = std::move(result)]() mutable { leave(std::move(ended), std::move(result)); }));
  }

  // A peer that ended by itself says why by how it ended.
  void leave(std::shared_ptr<Session> ended, Result<void> result) {
    auto peer = std::make_shared<RemoteConnection>(ended->leave());
    const bool wait = peer->wait_for_end && (result || result.error().kind() == ErrorKind::connection_lost);
    if (!wait) return left(*ended, std::move(result));
    peer->wait_for_end(lifetime_.while_alive([this, peer, ended, result = std::move(result)](Result<void> end) mutable {
      if (!result && !end)
        result = fail(result.error().kind(), fmt::format("{} ({})", result.error().message(), end.error().message()));
      left(*ended, std::move(result));
    }));
  }

  void left(Session& ended, Result<void> result) {
    --leaving_;
    if (!result) {
      const Error error = result.error().within(title_);
      if (index_done_) {
        sink_ = nullptr;
        std::exchange(index_done_, nullptr)(fail(index_error_.value_or(error)));
      }
      ask_elsewhere(ended, error);
    }
    if (close_done_ && sessions_.empty() && leaving_ == 0) tell_closed(std::move(result));
  }

 private:
  Error absent(const ChunkId& id) const {
    return Error(ErrorKind::not_found, fmt::format("chunk {} is not in the store {}", id.hex(), title_));
  }
  Error read_only() const { return Error(ErrorKind::read_only, title_ + ": a remote store is only read; push to it instead"); }

  template <class T>
  void later(Done<T> done, Error error) {
    scheduler_.post(
        lifetime_.while_alive([done = std::move(done), error = std::move(error)]() mutable { done(fail(std::move(error))); }));
  }

  Result<Session*> open_session(HelloFlags more) {
    Result<RemoteConnection> connection = connector_();
    if (!connection) return fail(std::move(connection).error().within(title_));
    auto session = std::make_unique<Session>(*this);
    const HelloFlags wants = more | (options_.has_store ? hello::kPullChunks : 0);
    if (Result<void> started = session->start(scheduler_, std::move(*connection), wants, options_.session); !started)
      return fail(std::move(started).error());
    sessions_.push_back(std::move(session));
    return sessions_.back().get();
  }

  void ask(const ChunkId& id, std::vector<Waiter> waiters) {
    Session* session = sessions_.empty() ? nullptr : sessions_.back().get();
    if (session == nullptr || !session->can_ask(id)) {
      // What it still owes comes; then it goes.
      if (session != nullptr) finish(*session);
      Result<Session*> opened = open_session(0);
      if (!opened) {
        for (Waiter& waiter : waiters) later(std::move(waiter.done), opened.error());
        return;
      }
      session = *opened;
    }
    session->waiting.emplace(id, std::move(waiters));
    session->link().request(id, wire::Priority::high);
  }

  void finish(Session& session) {
    if (!std::exchange(session.is_finishing, true)) session.link().finish();
  }

  void ask_elsewhere(Session& ended, const Error& error) {
    const bool try_again =
        ended.has_given && (error.kind() == ErrorKind::connection_lost || error.kind() == ErrorKind::timed_out);
    for (auto& [id, waiters] : std::exchange(ended.waiting, {})) {
      if (try_again) {
        ask(id, std::move(waiters));
      } else {
        for (Waiter& waiter : waiters) later(std::move(waiter.done), error);
      }
    }
  }

  static std::vector<Waiter> take_waiters(Session& session, const ChunkId& id) {
    session.has_given = true;
    auto found = session.waiting.extract(id);
    return found.empty() ? std::vector<Waiter>{} : std::move(found.mapped());
  }

  void tell_closed(Result<void> result) {
    scheduler_.post(lifetime_.while_alive(
        [done = std::exchange(close_done_, nullptr), result = std::move(result)]() mutable { done(std::move(result)); }));
  }

  const std::string title_;
  const RemoteConnector connector_;
  net::Scheduler& scheduler_;
  net::Workers& workers_;
  const RemoteStoreOptions options_;
  const std::shared_ptr<ChunkVerifier> verifier_ = std::make_shared<ChunkVerifier>();
  std::list<std::unique_ptr<Session>> sessions_;  // the last is asked
  std::size_t leaving_ = 0;                       // sessions that are over, and whose peers have not ended
  std::function<Result<void>(ConstBytes)> sink_;
  Done<void> index_done_;
  std::optional<Error> index_error_;  // the sink's own
  Done<void> close_done_;
  net::Lifetime lifetime_;
};

void Session::handle_piece(ConstBytes data) {
  store_.take_piece(*this, data);
}
void Session::handle_file_arrived() {
  store_.index_arrived();
}
void Session::handle_chunk(const ChunkId& id, TravellingChunk chunk) {
  store_.deliver(*this, id, std::move(chunk));
}
void Session::handle_missing(const ChunkId& id) {
  store_.miss(*this, id);
}
void Session::handle_ended(Result<void> result) {
  store_.session_ended(*this, std::move(result));
}

}  // namespace

std::unique_ptr<RemoteStore> make_remote_store(std::string title, RemoteConnector connector, net::Scheduler& scheduler,
                                               net::Workers& workers, RemoteStoreOptions options) {
  return std::make_unique<Store>(std::move(title), std::move(connector), scheduler, workers, std::move(options));
}

}  // namespace godwit::chunks
