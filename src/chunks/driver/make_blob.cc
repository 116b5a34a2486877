#include "chunks/driver/make_blob.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/check.h"

namespace godwit::chunks {

namespace {

// Ids that the store is known to have, so that what repeats is not asked for again. Bounded: a place per remainder of the id.
class KnownIds {
 public:
  bool contains(const ChunkId& id) const { return places_[place_of(id)] == id; }
  void add(const ChunkId& id) { places_[place_of(id)] = id; }

 private:
  static std::size_t place_of(const ChunkId& id) { return std::hash<ChunkId>()(id) % kPlaces; }
  static constexpr std::size_t kPlaces = 32 * 1024;
  std::vector<ChunkId> places_ = std::vector<ChunkId>(kPlaces);
};

}  // namespace

class MakeBlob::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::unique_ptr<ChunkSource> source, std::unique_ptr<IndexFileWriter> index, ChunkStore& store,
       const MakeBlobOptions& options, net::Workers& workers)
      : source_(std::move(source)), index_(std::move(index)), store_(store), options_(options), workers_(workers) {}

  void start(Done<MakeBlobResult> done) {
    done_ = std::move(done);
    const std::weak_ptr<Impl> weak = weak_from_this();
    source_->start(
        [weak](ChunkBatch batch) {
          if (const auto self = weak.lock()) self->handle_batch(std::move(batch));
        },
        [weak](Result<ChunkStreamEnd> end) {
          if (const auto self = weak.lock()) self->handle_end(std::move(end));
        });
  }

  void give_up() {
    source_->stop();
    done_ = nullptr;
  }
  std::uint64_t bytes_read() const { return source_->bytes_read(); }
  std::uint64_t new_bytes() const { return result_.new_bytes; }

 private:
  bool is_over() const { return done_ == nullptr; }

  void fail_with(Error error) {
    if (is_over()) return;
    source_->stop();
    index_.reset();
    std::exchange(done_, nullptr)(fail(std::move(error)));
  }

  void handle_batch(ChunkBatch batch) {
    if (is_over()) return;
    auto shared = std::make_shared<ChunkBatch>(std::move(batch));
    std::vector<ChunkId> asked;
    for (const StreamChunk& chunk : shared->chunks)
      if (chunk.known_length == 0 && !known_.contains(chunk.id)) asked.push_back(chunk.id);
    ++batches_;
    if (asked.empty()) return store_missing(shared, {});
    store_.has(asked, [self = shared_from_this(), shared, asked](Result<std::vector<bool>> there) {
      if (!there) return self->fail_with(there.error());
      for (std::size_t i = 0; i < asked.size(); ++i)
        if ((*there)[i]) self->known_.add(asked[i]);
      std::vector<ChunkId> missing;
      for (std::size_t i = 0; i < asked.size(); ++i)
        if (!(*there)[i]) missing.push_back(asked[i]);
      std::ranges::sort(missing);
      self->store_missing(shared, std::move(missing));
    });
  }

  // `missing` is sorted. The batch is held until the last of them is stored.
  void store_missing(const std::shared_ptr<ChunkBatch>& batch, std::vector<ChunkId> missing) {
    if (is_over()) return;
    auto open = std::make_shared<std::size_t>(1);
    const auto one_less = [self = shared_from_this(), batch, open] {
      if (--*open == 0) self->record(*batch);
    };
    for (const StreamChunk& chunk : batch->chunks) {
      const auto [first, last] = std::ranges::equal_range(missing, chunk.id);
      if (first == last) continue;
      missing.erase(first, last);  // the same chunk twice in a batch is stored once
      ++*open;
      store_.put(chunk.id, chunk.data, [self = shared_from_this(), batch, one_less, &chunk](Result<bool> stored) {
        if (!stored) return self->fail_with(stored.error());
        self->known_.add(chunk.id);
        if (*stored) {
          ++self->result_.new_chunks;
          self->result_.new_bytes += chunk.data.size();
        }
        one_less();
      });
    }
    one_less();
  }

  // All of the batch's chunks are in the store.
  void record(const ChunkBatch& batch) {
    if (is_over()) return;
    --batches_;
    for (const StreamChunk& chunk : batch.chunks)
      stored_.emplace(chunk.number,
                      Run{.end = chunk.offset + chunk.length(), .length = chunk.length(), .count = chunk.count, .id = chunk.id});
    while (!stored_.empty() && stored_.begin()->first == recorded_) {
      const Run run = stored_.begin()->second;
      stored_.erase(stored_.begin());
      for (std::uint64_t i = 0; i < run.count; ++i)
        if (Result<void> appended = index_->append({.end = run.end + i * run.length, .id = run.id}); !appended)
          return fail_with(appended.error());
      recorded_ += run.count;
    }
    finish_if_done();
  }

  void handle_end(Result<ChunkStreamEnd> end) {
    if (!end) return fail_with(end.error());
    ended_ = true;
    result_.stream = *end;
    finish_if_done();
  }

  void finish_if_done() {
    if (!ended_ || batches_ > 0 || is_over()) return;
    GODWIT_CHECK(recorded_ == result_.stream.chunk_count);
    if (!options_.sync || result_.stream.chunk_count == 0) return finish_index();
    store_.sync([self = shared_from_this()](Result<void> synced) {
      if (!synced) return self->fail_with(synced.error());
      self->finish_index();
    });
  }

  void finish_index() {
    if (is_over()) return;
    auto finished = std::make_shared<Result<void>>();
    workers_.run([self = shared_from_this(), finished] { *finished = self->index_->finish(self->options_.sync); },
                 [self = shared_from_this(), finished] {
                   if (!*finished) return self->fail_with(finished->error());
                   if (!self->is_over()) std::exchange(self->done_, nullptr)(self->result_);
                 });
  }

  struct Run {
    std::uint64_t end = 0;  // of the first
    std::uint64_t length = 0;
    std::uint64_t count = 0;
    ChunkId id;
  };

  std::unique_ptr<ChunkSource> source_;
  std::unique_ptr<IndexFileWriter> index_;
  ChunkStore& store_;
  const MakeBlobOptions options_;
  net::Workers& workers_;
  Done<MakeBlobResult> done_;
  KnownIds known_;
  std::map<std::uint64_t, Run> stored_;  // by number; those before are in the index
  std::uint64_t recorded_ = 0;
  std::size_t batches_ = 0;
  bool ended_ = false;
  MakeBlobResult result_;
};

MakeBlob::MakeBlob(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

MakeBlob::~MakeBlob() {
  impl_->give_up();
}

Result<std::unique_ptr<MakeBlob>> MakeBlob::create(std::unique_ptr<ByteSource> source, const std::string& index_path,
                                                   ChunkStore& store, const MakeBlobOptions& options, net::Workers& workers,
                                                   net::Scheduler& scheduler) {
  const unsigned mode = source->mode();
  return create(std::make_unique<ChunkStream>(std::move(source), options.stream, workers, scheduler), mode, index_path, store,
                options, workers);
}

Result<std::unique_ptr<MakeBlob>> MakeBlob::create(std::unique_ptr<ChunkSource> chunks, unsigned mode,
                                                   const std::string& index_path, ChunkStore& store,
                                                   const MakeBlobOptions& options, net::Workers& workers) {
  const IndexHeader header{.flags = with_digest(options.flags, options.stream.digest), .sizes = options.stream.rule.sizes()};
  Result<std::unique_ptr<IndexFileWriter>> index = IndexFileWriter::create(index_path, header, mode);
  if (!index) return fail(index.error());
  return std::unique_ptr<MakeBlob>(
      new MakeBlob(std::make_shared<Impl>(std::move(chunks), std::move(*index), store, options, workers)));
}

void MakeBlob::start(Done<MakeBlobResult> done) {
  impl_->start(std::move(done));
}

std::uint64_t MakeBlob::bytes_read() const {
  return impl_->bytes_read();
}
std::uint64_t MakeBlob::new_bytes() const {
  return impl_->new_bytes();
}

}  // namespace godwit::chunks
