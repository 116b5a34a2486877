#include "chunks/driver/remote_transfer.h"

#include <utility>

#include <fmt/format.h>

#include "chunks/driver/remote_chunk.h"
#include "chunks/driver/remote_file.h"

namespace godwit::chunks {

namespace {

class Transfer : public RemoteTransfer, public RemoteClientUser {
 public:
  Transfer(net::Scheduler& scheduler, RemoteConnection connection, Done<void> done)
      : scheduler_(scheduler), peer_(std::move(connection)), done_(std::move(done)) {}
  ~Transfer() override { *alive_ = false; }

  Result<void> start(HelloFlags wants) {
    Result<std::unique_ptr<RemoteClientLink>> link =
        RemoteClientLink::start(scheduler_, std::move(peer_.stream), wants, *this, {}, peer_.rate);
    if (!link) return fail(std::move(link).error());
    link_ = std::move(*link);
    return {};
  }
  // A real casync gives a file its name after its GOODBYE, so its end is part of the success.
  void handle_ended(Result<void> result) override {
    scheduler_.post([this, result = std::move(result), alive = alive_]() mutable {
      if (!*alive) return;
      link_.reset();
      const bool wait = peer_.wait_for_end && (result || result.error().kind() == ErrorKind::connection_lost);
      if (!wait) return tell(std::move(result));
      peer_.wait_for_end([this, result = std::move(result), still = alive_](Result<void> end) mutable {
        if (!*still) return;
        if (result) return tell(std::move(end));
        if (!end) result = fail(result.error().kind(), fmt::format("{} ({})", result.error().message(), end.error().message()));
        tell(std::move(result));
      });
    });
  }

  RemoteCounts so_far() const override { return counts_; }

 protected:
  RemoteClientLink& link() { return *link_; }

 private:
  void tell(Result<void> result) { std::exchange(done_, nullptr)(std::move(result)); }

  net::Scheduler& scheduler_;
  RemoteConnection peer_;
  Done<void> done_;
  std::unique_ptr<RemoteClientLink> link_;

 protected:
  RemoteCounts counts_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class Download final : public Transfer {
 public:
  Download(net::Scheduler& scheduler, RemoteConnection connection, std::function<Result<void>(ConstBytes)> sink, Done<void> done)
      : Transfer(scheduler, std::move(connection), std::move(done)), sink_(std::move(sink)) {}

  void finish() { link().finish(); }
  void handle_piece(ConstBytes data) override {
    counts_.file_bytes += data.size();
    if (Result<void> taken = sink_(data); !taken) link().give_up(taken.error());
  }

 private:
  std::function<Result<void>(ConstBytes)> sink_;
};

class Upload final : public Transfer {
 public:
  Upload(net::Scheduler& scheduler, net::Workers& workers, RemoteConnection connection, RemoteUpload upload, Done<void> done)
      : Transfer(scheduler, std::move(connection), std::move(done)), workers_(workers), upload_(std::move(upload)) {}

  void read_piece(Done<Bytes> done) override {
    auto bytes = std::make_shared<Result<Bytes>>(Bytes());
    workers_.run(
        [file = file_, bytes, path = upload_.path, first = !std::exchange(is_open_, true)] {
          if (first)
            if (Result<void> opened = file->open_for_reading(path); !opened) {
              *bytes = fail(std::move(opened).error());
              return;
            }
          *bytes = file->read(wire::kPieceSizeMax);
        },
        [this, bytes, done = std::move(done), alive = alive_]() mutable {
          if (!*alive) return;
          if (*bytes) counts_.file_bytes += (*bytes)->size();
          done(std::move(*bytes));
        });
  }

  bool was_asked() const { return counts_.chunks_asked > 0; }

  void handle_asked(std::size_t count) override { counts_.chunks_asked += count; }
  void handle_chunk_sent(std::size_t size_bytes) override {
    ++counts_.chunks_sent;
    counts_.chunk_bytes += size_bytes;
  }
  void load_chunk(const ChunkId& id, Done<TravellingChunk> done) override { load(Load{id, 0, true}, std::move(done)); }

 private:
  struct Load {
    ChunkId id;
    std::size_t store = 0;
    bool compressed = true;
  };
  // What is sent is not verified here: the server does, and says which chunk it was.
  void load(Load load, Done<TravellingChunk> done) {
    if (load.store == upload_.stores.size()) return done(fail(ErrorKind::not_found, "chunk " + load.id.hex()));
    upload_.stores[load.store]->get(chunk_name(load.id, load.compressed), wire::kChunkDataSizeMax,
                                    [this, load, alive = alive_, done = std::move(done)](Result<Bytes> bytes) mutable {
                                      if (!*alive) return;
                                      if (!bytes && bytes.error().kind() != ErrorKind::not_found)
                                        return done(fail(bytes.error()));
                                      if (bytes) return pack(load, std::move(*bytes), std::move(done));
                                      if (!load.compressed) ++load.store;
                                      load.compressed = !load.compressed;
                                      this->load(load, std::move(done));
                                    });
  }
  void pack(const Load& load, Bytes bytes, Done<TravellingChunk> done) {
    if (load.compressed) return done(TravellingChunk{std::move(bytes), true});
    auto packed = std::make_shared<Result<Bytes>>(std::move(bytes));
    workers_.run([packed, v = verifier_] { *packed = v->compress(**packed); },
                 [packed, alive = alive_, done = std::move(done)]() mutable {
                   if (!*alive) return;
                   if (!*packed) return done(fail(packed->error()));
                   done(TravellingChunk{std::move(**packed), true});
                 });
  }

  net::Workers& workers_;
  RemoteUpload upload_;
  std::shared_ptr<RemoteFile> file_ = std::make_shared<RemoteFile>();
  std::shared_ptr<ChunkVerifier> verifier_ = std::make_shared<ChunkVerifier>();
  bool is_open_ = false;
};

Result<std::unique_ptr<Upload>> start_upload(net::Scheduler& scheduler, net::Workers& workers, RemoteConnection connection,
                                             RemoteUpload upload, Done<void> done) {
  const HelloFlags wants = upload.wants;
  auto transfer = std::make_unique<Upload>(scheduler, workers, std::move(connection), std::move(upload), std::move(done));
  if (Result<void> started = transfer->start(wants); !started) return fail(std::move(started).error());
  return transfer;
}

// One upload after the other, until one is through.
class Uploads final : public RemoteTransfer {
 public:
  Uploads(net::Scheduler& scheduler, net::Workers& workers, RemoteConnector connector, RemoteUpload upload, Duration pause,
          Done<void> done)
      : scheduler_(scheduler),
        workers_(workers),
        connector_(std::move(connector)),
        upload_(std::move(upload)),
        pause_(pause),
        done_(std::move(done)) {}
  ~Uploads() override { scheduler_.cancel(timer_); }

  RemoteCounts so_far() const override {
    RemoteCounts counts = before_;
    if (!present_ || timer_.value != 0) return counts;
    const RemoteCounts now = present_->so_far();
    counts.file_bytes = now.file_bytes;  // all of it goes again
    counts.chunks_asked += now.chunks_asked;
    counts.chunks_sent += now.chunks_sent;
    counts.chunk_bytes += now.chunk_bytes;
    return counts;
  }

  Result<void> start() {
    ++sessions_;
    Result<RemoteConnection> connection = connector_();
    if (!connection) return fail(std::move(connection).error());
    Result<std::unique_ptr<Upload>> started = start_upload(scheduler_, workers_, std::move(*connection), upload_,
                                                           [this](Result<void> result) { handle_ended(std::move(result)); });
    if (!started) return fail(std::move(started).error());
    present_ = std::move(*started);
    return {};
  }

 private:
  void handle_ended(Result<void> result) {
    const bool was_cut =
        !result && (result.error().kind() == ErrorKind::connection_lost || result.error().kind() == ErrorKind::timed_out);
    if (!was_cut || !present_->was_asked() || sessions_ == kPushSessionsMax)
      return std::exchange(done_, nullptr)(std::move(result));
    // What was asked for and not sent will be asked for again.
    before_ = so_far();
    before_.chunks_asked = before_.chunks_sent;
    // The upload that says this goes in the timer's turn.
    timer_ = scheduler_.schedule(scheduler_.now() + pause_, [this] {
      timer_ = {};
      if (Result<void> started = start(); !started) std::exchange(done_, nullptr)(std::move(started));
    });
  }

  net::Scheduler& scheduler_;
  net::Workers& workers_;
  const RemoteConnector connector_;
  const RemoteUpload upload_;
  const Duration pause_;
  Done<void> done_;
  net::TimerId timer_;
  unsigned sessions_ = 0;
  RemoteCounts before_;  // of the sessions that were cut
  std::unique_ptr<Upload> present_;
};

}  // namespace

Result<std::unique_ptr<RemoteTransfer>> pull_from_remote(net::Scheduler& scheduler, RemoteConnection connection, wire::File file,
                                                         std::function<Result<void>(ConstBytes)> sink, Done<void> done) {
  auto transfer = std::make_unique<Download>(scheduler, std::move(connection), std::move(sink), std::move(done));
  const HelloFlags wants = file == wire::File::index ? hello::kPullIndex : hello::kPullArchive;
  if (Result<void> started = transfer->start(wants); !started) return fail(std::move(started).error());
  transfer->finish();
  return transfer;
}

Result<std::unique_ptr<RemoteTransfer>> push_to_remote(net::Scheduler& scheduler, net::Workers& workers,
                                                       RemoteConnection connection, RemoteUpload upload, Done<void> done) {
  Result<std::unique_ptr<Upload>> started =
      start_upload(scheduler, workers, std::move(connection), std::move(upload), std::move(done));
  if (!started) return fail(std::move(started).error());
  return std::unique_ptr<RemoteTransfer>(std::move(*started));
}

Result<std::unique_ptr<RemoteTransfer>> push_over_cuts(net::Scheduler& scheduler, net::Workers& workers,
                                                       RemoteConnector connector, RemoteUpload upload, Duration pause,
                                                       Done<void> done) {
  auto uploads = std::make_unique<Uploads>(scheduler, workers, std::move(connector), std::move(upload), pause, std::move(done));
  if (Result<void> started = uploads->start(); !started) return fail(std::move(started).error());
  return std::unique_ptr<RemoteTransfer>(std::move(uploads));
}

}  // namespace godwit::chunks
