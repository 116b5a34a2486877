#include "chunks/driver/archive_chunks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "chunks/core/archive_cutter.h"
#include "chunks/core/chunk_digest.h"

namespace godwit::chunks {

namespace {

constexpr std::size_t kBatchBytes = 1024 * 1024;
constexpr std::size_t kBatchChunksMax = 4096;

}  // namespace

class ArchiveChunks::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::shared_ptr<LazyArchiveTree> tree, EncoderCache& cache, ChunkStore* store, const ChunkStreamOptions& options,
       net::Workers& workers, net::Scheduler& scheduler, ArchiveWatcher* watcher)
      : tree_(std::move(tree)),
        watcher_(watcher),
        cache_(cache),
        store_(store),
        options_(options),
        workers_(workers),
        scheduler_(scheduler) {}

  void start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) {
    sink_ = std::move(sink);
    done_ = std::move(done);
    if (cache_.sizes == options_.rule.sizes() && cache_.digest == options_.digest) known_ = std::exchange(cache_.chunks, {});
    scheduler_.post([self = shared_from_this()] { self->ask_store(); });
  }

  void give_up() {
    done_ = nullptr;
    sink_ = nullptr;
  }
  std::uint64_t bytes_read() const { return end_.size; }

 private:
  // What one job has cut.
  struct Batch {
    std::vector<ArchiveCutter::Chunk> chunks;
    bool is_last = false;
  };

  bool is_over() const { return done_ == nullptr; }

  void fail_with(Error error) {
    if (is_over()) return;
    sink_ = nullptr;
    std::exchange(done_, nullptr)(fail(std::move(error)));
  }

  // A chunk may have gone from the store since it was known, or this is another store.
  void ask_store() {
    if (is_over()) return;
    if (known_.empty() || store_ == nullptr) return begin();
    std::vector<ChunkId> ids;
    ids.reserve(known_.size());
    for (const KnownChunk& chunk : known_) ids.push_back(chunk.id);
    store_->has(std::move(ids), [self = shared_from_this()](Result<std::vector<bool>> there) {
      if (!there) return self->fail_with(there.error());
      std::size_t number = 0;
      std::erase_if(self->known_, [&](const KnownChunk&) { return !(*there)[number++]; });
      self->begin();
    });
  }

  void begin() {
    if (is_over()) return;
    cutter_.emplace(*tree_, options_.rule, known_, watcher_);
    go_on();
  }

  void go_on() {
    if (is_over()) return;
    if (!cutting_ && !cut_all_ && batches_ < options_.threads + 1) cut_batch();
    if (cut_all_ && hashing_ == 0) end();
  }

  void cut_batch() {
    cutting_ = true;
    ++batches_;
    auto batch = std::make_shared<Result<Batch>>(Batch());
    workers_.run([self = shared_from_this(), batch] { *batch = self->cut(); },
                 [self = shared_from_this(), batch] {
                   self->cutting_ = false;
                   if (self->is_over()) return;
                   if (!*batch) return self->fail_with(batch->error());
                   self->cut_all_ = (*batch)->is_last;
                   self->hash(std::shared_ptr<Batch>(batch, &**batch));
                   self->go_on();
                 });
  }

  // On a worker, one at a time.
  Result<Batch> cut() {
    Batch batch;
    std::size_t read = 0;
    while (read < kBatchBytes && batch.chunks.size() < kBatchChunksMax) {
      Result<std::optional<ArchiveCutter::Chunk>> chunk = cutter_->next();
      if (!chunk) return fail(chunk.error());
      if (!*chunk) {
        batch.is_last = true;
        break;
      }
      read += (*chunk)->data.size();
      batch.chunks.push_back(std::move(**chunk));
    }
    return batch;
  }

  void hash(const std::shared_ptr<Batch>& batch) {
    ++hashing_;
    for (const ArchiveCutter::Chunk& chunk : batch->chunks) {
      end_.size += chunk.length;
      if (chunk.is_known) end_.known_bytes += chunk.length;
    }
    const std::uint64_t first = std::exchange(end_.chunk_count, end_.chunk_count + batch->chunks.size());
    workers_.run(
        [batch, digest = options_.digest] {
          std::vector<ConstBytes> data;
          for (const ArchiveCutter::Chunk& chunk : batch->chunks)
            if (!chunk.is_known) data.push_back(chunk.data);
          std::vector<ChunkId> ids(data.size());
          chunk_ids_of(data, digest, ids);
          auto id = ids.begin();
          for (ArchiveCutter::Chunk& chunk : batch->chunks)
            if (!chunk.is_known) chunk.id = *id++;
        },
        [self = shared_from_this(), batch, first] {
          --self->hashing_;
          if (self->is_over()) return;
          self->give_out(batch, first);
          self->go_on();
        });
  }

  void give_out(const std::shared_ptr<Batch>& batch, std::uint64_t number) {
    ChunkBatch given;
    given.chunks.reserve(batch->chunks.size());
    for (const ArchiveCutter::Chunk& chunk : batch->chunks) {
      given.chunks.push_back({.number = number++,
                              .offset = chunk.offset,
                              .count = 1,
                              .data = chunk.data,
                              .known_length = chunk.is_known ? chunk.length : 0,
                              .id = chunk.id});
      if (chunk.prints && learnt_.size() < kEncoderCacheChunksMax)
        learnt_.push_back({.start = chunk.prints->start, .print = chunk.prints->whole, .length = chunk.length, .id = chunk.id});
    }
    given.hold =
        std::shared_ptr<void>(static_cast<void*>(batch.get()), [self = shared_from_this(), batch](void*) { self->release(); });
    // By a copy: whoever is called may stop us.
    if (const std::function<void(ChunkBatch)> sink = sink_) sink(std::move(given));
  }

  // In a turn of its own: the one who lets go may be in the middle of something.
  void release() {
    --batches_;
    if (!is_over()) scheduler_.post([self = shared_from_this()] { self->go_on(); });
  }

  void end() {
    std::ranges::sort(learnt_);
    const auto twice = std::ranges::unique(learnt_);
    learnt_.erase(twice.begin(), twice.end());
    cache_ = {.sizes = options_.rule.sizes(), .digest = options_.digest, .chunks = std::move(learnt_)};
    sink_ = nullptr;
    std::exchange(done_, nullptr)(end_);
  }

  const std::shared_ptr<LazyArchiveTree> tree_;
  ArchiveWatcher* const watcher_;
  EncoderCache& cache_;
  ChunkStore* const store_;
  const ChunkStreamOptions options_;
  net::Workers& workers_;
  net::Scheduler& scheduler_;
  std::function<void(ChunkBatch)> sink_;
  Done<ChunkStreamEnd> done_;

  std::vector<KnownChunk> known_;
  std::optional<ArchiveCutter> cutter_;  // of the job that cuts, while there is one
  std::vector<KnownChunk> learnt_;
  bool cutting_ = false;
  bool cut_all_ = false;
  std::size_t hashing_ = 0;
  std::size_t batches_ = 0;  // being cut, hashed, or held by the one they were given to
  ChunkStreamEnd end_;
};

ArchiveChunks::ArchiveChunks(std::shared_ptr<LazyArchiveTree> tree, EncoderCache& cache, ChunkStore* store,
                             const ChunkStreamOptions& options, net::Workers& workers, net::Scheduler& scheduler,
                             ArchiveWatcher* watcher)
    : impl_(std::make_shared<Impl>(std::move(tree), cache, store, options, workers, scheduler, watcher)) {}

ArchiveChunks::~ArchiveChunks() {
  impl_->give_up();
}

void ArchiveChunks::start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) {
  impl_->start(std::move(sink), std::move(done));
}

void ArchiveChunks::stop() {
  impl_->give_up();
}

std::uint64_t ArchiveChunks::bytes_read() const {
  return impl_->bytes_read();
}

}  // namespace godwit::chunks
