// A client's session over a stream: pulls an index, an archive or chunks from a peer, or pushes them. Binds RemoteClient to a
// link; where files and chunks come from and go to is its user's business.
#pragma once

#include <memory>
#include <optional>
#include <unordered_map>

#include "chunks/core/remote_client.h"
#include "chunks/driver/remote_link.h"

namespace godwit::chunks {

// A chunk's bytes as a store holds them.
struct TravellingChunk {
  Bytes data;
  bool compressed = true;
};

class RemoteClientUser {
 public:
  virtual ~RemoteClientUser() = default;

  // Pulling. A piece is borrowed for the call.
  virtual void handle_piece(ConstBytes) {}
  virtual void handle_file_arrived() {}
  virtual void handle_chunk(const ChunkId&, TravellingChunk) {}
  virtual void handle_missing(const ChunkId&) {}

  // Pushing: the next 1 … wire::kPieceSizeMax bytes of the file; none at its end.
  virtual void read_piece(net::Done<Bytes> done) { done(Bytes{}); }
  // The peer wants this many chunks more, each of which is then loaded and sent in its turn.
  virtual void handle_asked(std::size_t) {}
  virtual void handle_chunk_sent(std::size_t size_bytes) { (void)size_bytes; }
  // ErrorKind::not_found where it is not there; other errors end the session.
  virtual void load_chunk(const ChunkId&, net::Done<TravellingChunk> done) { done(fail(ErrorKind::not_found, "")); }

  // Once: as it should, or not. The link may be destroyed here.
  virtual void handle_ended(Result<void> result) = 0;
};

class RemoteClientLink final : public RemoteLinkHandler {
 public:
  // Begins at once. `user` outlives the link. Errors as RemoteClient::start() has them.
  static Result<std::unique_ptr<RemoteClientLink>> start(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream,
                                                         HelloFlags wants, RemoteClientUser& user,
                                                         RemoteClient::Limits limits = {},
                                                         std::shared_ptr<RemoteRate> rate = nullptr);
  ~RemoteClientLink() override;

  void request(const ChunkId& id, wire::Priority priority);
  const RemoteClient& session() const { return session_; }
  // Pulling: nothing more will be asked for.
  void finish();
  // Ends it with an error of the user's, which the peer is told.
  void give_up(const Error& error);

  // --- RemoteLinkHandler ---
  void handle_heard() override;
  void handle_message(const wire::Message& message) override;
  bool wants_input() override { return session_.wants_input(); }
  void handle_room() override { work(); }
  void handle_input_end(std::optional<Error> error) override;
  void handle_output_lost(const Error& error) override;

 private:
  RemoteClientLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, RemoteClient session, RemoteClientUser& user,
                   std::shared_ptr<RemoteRate> rate);

  void work();
  void perform(RemoteWork work);
  void read_piece();
  void load(const ChunkId& id);
  void set_alarm();
  void fail_with(Error error);
  void tell_end();

  net::Scheduler& scheduler_;
  RemoteClient session_;
  RemoteClientUser& user_;
  std::unique_ptr<RemoteLink> link_;
  std::unordered_map<ChunkId, TravellingChunk> loaded_;
  Bytes piece_;
  bool reading_piece_ = false;
  bool working_ = false;
  bool told_ = false;
  std::optional<Error> error_;
  net::TimerId alarm_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::chunks
