#include "chunks/driver/remote_server_link.h"

#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "chunks/core/index.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/remote_chunk.h"
#include "chunks/driver/remote_file.h"
#include "chunks/driver/remote_link.h"

namespace godwit::chunks {

using namespace remote_work;

// Jobs on workers hold what they use by shared pointers; what they report finds the link by a weak one, so that it may go while
// they run.
struct RemoteServerLink::Impl final : RemoteLinkHandler, std::enable_shared_from_this<RemoteServerLink::Impl> {
  Impl(net::Scheduler& s, net::Workers& w, RemoteServer session_, RemoteService service_, net::Done<void> done_)
      : scheduler(s), workers(w), session(std::move(session_)), service(std::move(service_)), done(std::move(done_)) {}

  // --- RemoteLinkHandler ---
  void handle_message(const wire::Message& message) override {
    const Result<PayloadUse> use = session.handle_frame(message);
    if (!use) return fail_with(use.error());
    if (*use == PayloadUse::piece) take_piece(std::get<wire::Piece>(message).data);
    if (*use == PayloadUse::chunk) store_chunk(std::get<wire::Chunk>(message));
    work();
  }
  // A piece is written before the next message is looked at: its end must not overtake it.
  bool wants_input() override { return !writing && session.wants_input(); }
  void handle_room() override { work(); }
  void handle_input_end(std::optional<Error> broken) override {
    if (broken && !session.has_ended() && !session.has_failed()) {
      session.handle_failure(*broken);
      return fail_with(std::move(*broken));
    }
    if (const Result<void> ended = session.handle_end_of_stream(); !ended) return fail_with(ended.error());
    work();
  }
  void handle_all_sent() override { end_if_over(); }
  // A client that pulls leaves when it has what it wants, whatever is under way.
  void handle_output_lost(const Error&) override { handle_input_end(std::nullopt); }

  // --- work ---
  void work() {
    if (std::exchange(working, true)) return;
    while (link->has_room()) {
      std::optional<RemoteWork> next = session.poll_work();
      if (!next) break;
      perform(std::move(*next));
    }
    working = false;
    link->resume();
    end_if_over();
  }

  void perform(RemoteWork next) {
    if (auto* frame = std::get_if<Send>(&next)) {
      link->send(std::move(frame->frame));
    } else if (const auto* piece_of = std::get_if<SendPiece>(&next)) {
      Bytes bytes = std::exchange(piece, {});
      Bytes head = wire::piece_head(piece_of->file, bytes.size());
      link->send(std::move(head), std::move(bytes));
      read_piece();
    } else if (std::holds_alternative<OpenFile>(next)) {
      on_file<void>([path = path()](RemoteFile& f) { return f.open_for_reading(path); }, [this] { read_piece(); });
    } else if (const auto* load = std::get_if<LoadChunk>(&next)) {
      load_chunk(Load{load->id, 0, true, std::nullopt});
    } else if (const auto* chunk = std::get_if<SendChunk>(&next)) {
      auto found = loaded.extract(chunk->id);
      GODWIT_CHECK(!found.empty());
      Bytes bytes = std::move(found.mapped());
      Bytes head = wire::chunk_head(chunk->id, true, bytes.size());
      link->send(std::move(head), std::move(bytes));
    } else if (const auto* read = std::get_if<ReadIds>(&next)) {
      const std::uint64_t first = std::exchange(ids_read, ids_read + read->count);
      on_file<std::vector<ChunkId>>([first, count = read->count](RemoteFile& f) { return f.read_ids(first, count); },
                                    [this](std::vector<ChunkId> ids) { session.handle_ids(ids); });
    } else if (const auto* look = std::get_if<LookUp>(&next)) {
      look_up(look->id, 0);
    } else if (std::holds_alternative<Install>(next)) {
      install();
    } else {
      GODWIT_CHECK(std::holds_alternative<End>(next));
      link->end_sending();
    }
  }

  const std::string& path() const { return service.index.empty() ? service.archive : service.index; }

  // Runs `job` on the file, on a worker; then `after` with what it gave.
  template <class T, class Job, class After>
  void on_file(Job job, After after) {
    auto result = std::make_shared<Result<T>>(fail(ErrorKind::cancelled, ""));
    workers.run([job = std::move(job), result, f = file] { *result = job(*f); },
                [self = weak_from_this(), result, after = std::move(after)]() mutable {
                  const std::shared_ptr<Impl> impl = self.lock();
                  if (!impl || impl->session.has_failed()) return;
                  if (!*result) return impl->break_off(result->error());
                  if constexpr (std::is_void_v<T>)
                    after();
                  else
                    after(std::move(**result));
                  impl->work();
                });
  }

  // --- pull ---
  void read_piece() {
    on_file<Bytes>([](RemoteFile& f) { return f.read(wire::kPieceSizeMax); },
                   [this](Bytes bytes) {
                     if (bytes.empty()) return session.handle_file_end();
                     piece = std::move(bytes);
                     session.handle_piece_ready();
                   });
  }

  struct Load {
    ChunkId id;
    std::size_t store = 0;
    bool compressed = true;
    std::optional<Error> damage;  // of a store that had it, damaged
  };
  void load_chunk(Load load) {
    if (load.store == service.stores.size()) {
      if (load.damage) return break_off(*load.damage);
      session.handle_chunk_absent(load.id);
      return work_later();
    }
    store::BlobStore& store = *service.stores[load.store];
    const std::uint64_t size_max = load.compressed ? wire::kChunkDataSizeMax : kChunkBytesMax;
    const std::string name = chunk_name(load.id, load.compressed);
    store.get(name, size_max, [self = weak_from_this(), load = std::move(load)](Result<Bytes> bytes) mutable {
      const std::shared_ptr<Impl> impl = self.lock();
      if (!impl || impl->is_over()) return;
      if (bytes) return impl->check_loaded(std::move(load), std::move(*bytes));
      if (bytes.error().kind() != ErrorKind::not_found) return impl->break_off(bytes.error());
      impl->load_next(std::move(load));
    });
  }
  void load_next(Load load) {
    if (!load.compressed) ++load.store;
    load.compressed = !load.compressed;
    load_chunk(std::move(load));
  }
  void check_loaded(Load load, Bytes stored) {
    auto bytes = std::make_shared<Result<Bytes>>(std::move(stored));
    const ChunkId id = load.id;
    const bool compressed = load.compressed;
    workers.run(
        [v = verifier, bytes, id, compressed] {
          Result<Bytes> data = v->open(id, **bytes, compressed);
          if (!data)
            *bytes = std::move(data);
          else if (!compressed)
            *bytes = v->compress(*data);
        },
        [self = weak_from_this(), load = std::move(load), bytes]() mutable {
          const std::shared_ptr<Impl> impl = self.lock();
          if (!impl || impl->is_over()) return;
          if (!*bytes) {
            load.damage = bytes->error();
            return impl->load_next(std::move(load));
          }
          if ((*bytes)->size() > wire::kChunkDataSizeMax)
            return impl->break_off(Error(ErrorKind::limit, "chunk " + load.id.hex() + " is too large for the casync protocol"));
          impl->session.handle_chunk_loaded(load.id, (*bytes)->size());
          impl->loaded.insert_or_assign(load.id, std::move(**bytes));
          impl->work();
        });
  }

  // --- push ---
  void take_piece(ConstBytes data) {
    std::vector<IndexEntry> entries;
    if (!service.index.empty()) {
      if (const Result<void> fed = decoder.feed(data, entries); !fed)
        return break_off(fed.error().within("the index that arrives"));
    }
    writing = true;
    const bool first = std::exchange(file_begun, true) == false;
    on_file<void>(
        [bytes = to_bytes(data), first, to = path()](RemoteFile& f) -> Result<void> {
          if (first)
            if (Result<void> created = f.create(to); !created) return created;
          return f.append(bytes);
        },
        [this, count = entries.size()] {
          writing = false;
          session.handle_ids_arrived(count);
        });
  }

  void look_up(const ChunkId& id, std::size_t number) {
    if (number == service.stores.size()) {
      session.handle_looked_up(id, false);
      return work_later();
    }
    service.stores[number]->has({chunk_name(id, true), chunk_name(id, false)},
                                [self = weak_from_this(), id, number](Result<std::vector<bool>> has) {
                                  const std::shared_ptr<Impl> impl = self.lock();
                                  if (!impl || impl->is_over()) return;
                                  if (!has) return impl->break_off(has.error());
                                  if (!(*has)[0] && !(*has)[1]) return impl->look_up(id, number + 1);
                                  impl->session.handle_looked_up(id, true);
                                  impl->work();
                                });
  }

  void store_chunk(const wire::Chunk& chunk) {
    GODWIT_CHECK(!service.stores.empty() && decoder.header());
    auto stored = std::make_shared<Result<Bytes>>(to_bytes(chunk.data));
    workers.run(
        [v = verifier, stored, id = chunk.id, compressed = chunk.compressed, header = *decoder.header()] {
          const Result<Bytes> data = v->open(id, header.digest(), **stored, compressed, header.sizes.max);
          if (!data) *stored = fail(data.error());
        },
        [self = weak_from_this(), stored, id = chunk.id, compressed = chunk.compressed] {
          const std::shared_ptr<Impl> impl = self.lock();
          if (!impl || impl->is_over()) return;
          if (!*stored) return impl->break_off(stored->error().within("from the client"));
          impl->service.stores.front()->put(chunk_name(id, compressed), std::move(**stored), [self, id](Result<bool> put) {
            const std::shared_ptr<Impl> still = self.lock();
            if (!still || still->is_over()) return;
            if (!put) return still->break_off(put.error().within("store chunk " + id.hex()));
            still->session.handle_stored(id);
            still->work();
          });
        });
  }

  // The chunks first: an index never names one that a loss of power could take.
  void install() {
    if (!service.index.empty())
      if (const Result<void> whole = decoder.finish(); !whole) return break_off(whole.error().within("the index that arrived"));
    if (service.stores.empty()) return install_file();
    service.stores.front()->sync([self = weak_from_this()](Result<void> synced) {
      const std::shared_ptr<Impl> impl = self.lock();
      if (!impl || impl->is_over()) return;
      if (!synced) return impl->break_off(synced.error());
      impl->install_file();
    });
  }
  void install_file() {
    on_file<void>([](RemoteFile& f) { return f.install(); }, [this] { session.handle_installed(); });
  }

  // --- the end ---
  bool is_over() const { return session.has_failed() || session.has_ended(); }

  void break_off(const Error& problem) {
    session.handle_failure(problem);
    fail_with(problem);
  }
  void fail_with(Error problem) {
    if (!error) error = std::move(problem);
    work_later();
  }
  void work_later() {
    scheduler.post([self = weak_from_this()] {
      if (const std::shared_ptr<Impl> impl = self.lock()) impl->work();
    });
  }
  // Over when the session is and what it said has left; the peer may be slow to leave and is not waited for.
  void end_if_over() {
    if (!is_over() || !link->is_sending_over() || std::exchange(told, true)) return;
    scheduler.post([self = shared_from_this()] {
      if (self->error) return self->done(fail(*self->error));
      self->done({});
    });
  }

  net::Scheduler& scheduler;
  net::Workers& workers;
  RemoteServer session;
  RemoteService service;
  net::Done<void> done;
  std::unique_ptr<RemoteLink> link;
  std::shared_ptr<RemoteFile> file = std::make_shared<RemoteFile>();
  std::shared_ptr<ChunkVerifier> verifier = std::make_shared<ChunkVerifier>();
  IndexDecoder decoder;
  std::unordered_map<ChunkId, Bytes> loaded;
  Bytes piece;
  std::uint64_t ids_read = 0;
  bool file_begun = false;
  bool writing = false;
  bool working = false;
  bool told = false;
  std::optional<Error> error;
};

Result<std::unique_ptr<RemoteServerLink>> RemoteServerLink::start(net::Scheduler& scheduler, net::Workers& workers,
                                                                  std::unique_ptr<net::Stream> stream, RemoteService service,
                                                                  net::Done<void> done, RemoteServer::Limits limits) {
  Result<RemoteServer> session = RemoteServer::start({.is_push = service.is_push,
                                                      .store = !service.stores.empty(),
                                                      .index = !service.index.empty(),
                                                      .archive = !service.archive.empty()},
                                                     limits);
  if (!session) return fail(std::move(session).error());
  auto impl = std::make_shared<Impl>(scheduler, workers, std::move(*session), std::move(service), std::move(done));
  impl->link = std::make_unique<RemoteLink>(scheduler, std::move(stream), *impl, impl->service.rate);
  scheduler.post([self = std::weak_ptr(impl)] {
    const std::shared_ptr<Impl> started = self.lock();
    if (!started) return;
    started->work();
    started->link->start();
  });
  return std::unique_ptr<RemoteServerLink>(new RemoteServerLink(std::move(impl)));
}

RemoteServerLink::RemoteServerLink(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemoteServerLink::~RemoteServerLink() = default;

}  // namespace godwit::chunks
