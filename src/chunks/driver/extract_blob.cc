#include "chunks/driver/extract_blob.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/zero_chunk.h"
#include "chunks/driver/chunk_reader.h"
#include "chunks/driver/spare_memory.h"

namespace godwit::chunks {

// However small the chunks: each batch may hold kChunkRunBytes.
static constexpr std::size_t kOpenBatchesMax = 64;

class ExtractBlob::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Index& index, ChunkStore& store, SeedMap* seeds, BlobOutput& output, const ExtractBlobOptions& options,
       net::Workers& workers)
      : index_(index),
        store_(store),
        seeds_(seeds),
        output_(output),
        options_(options),
        workers_(workers),
        reader_(store.reader()),
        zeros_(index.header) {
    GODWIT_CHECK(options.offset + options.length <= index.blob_size());
    if (options.length == 0) return;
    next_ = index.chunk_at(options.offset);
    last_ = index.chunk_at(options.offset + options.length - 1) + 1;
    // Sizes that nothing can be cut with have no zero chunk.
  }

  void start(net::Scheduler& scheduler, Done<ExtractBlobResult> done) {
    done_ = std::move(done);
    scheduler.post([self = shared_from_this()] { self->go_on(); });
  }
  void give_up() { done_ = nullptr; }
  const ExtractBlobResult& so_far() const { return result_; }

 private:
  enum class Origin : std::uint8_t { store, reused, zero };
  struct Piece {
    std::size_t number = 0;    // of the chunk
    std::uint64_t length = 0;  // of the chunk
    Origin origin = Origin::store;
    std::size_t at = 0;  // in the batch's memory; without a meaning for zeros
    Bytes data;          // of a chunk that was asked for by itself
    bool ready = false;  // its bytes are here, or are zeros
    bool written = false;
  };
  // Chunks that follow each other. With an ordered output they are written in the order of order_.
  struct Batch {
    std::vector<Piece> pieces;
    std::uint64_t bytes = 0;
    std::shared_ptr<Bytes> memory;
    std::size_t fetches = 0;  // that have not ended
    bool ready = false;
    std::optional<Error> error;
  };
  using BatchPtr = std::shared_ptr<Batch>;
  struct Fetch {
    BatchPtr batch;
    Piece* piece = nullptr;
  };

  bool is_over() const { return done_ == nullptr; }
  bool is_ending() const { return is_over() || error_.has_value(); }

  // The end comes when nothing is under way any more: until then jobs use what is not ours.
  void fail_with(Error error) {
    if (!error_) error_ = std::move(error);
    if (busy_ == 0 && !is_over()) std::exchange(done_, nullptr)(fail(std::move(*error_)));
  }
  // What was under way has come back: whether to go on with it.
  bool come_back() {
    --busy_;
    if (error_) fail_with(*error_);
    return !is_over() && !error_;
  }

  Error at_chunk(const Piece& piece, const Error& error) const {
    return error.within(
        fmt::format("chunk {} of {}, at offset {}", piece.number, index_.entries.size(), index_.start_of(piece.number)));
  }

  void go_on() {
    if (is_ending()) return;
    const auto has_room = [&] {
      return open_batches_ < kOpenBatchesMax && open_bytes_ + index_.length_of(next_) <= options_.bytes_max;
    };
    while (next_ < last_ && !is_ending() && (open_bytes_ == 0 || has_room())) begin_batch();
    if (!is_ending() && next_ == last_ && open_bytes_ == 0 && !finishing_) finish();
  }

  void begin_batch() {
    auto batch = std::make_shared<Batch>();
    while (next_ < last_ && batch->pieces.size() < kChunkRunCountMax) {
      const std::uint64_t length = index_.length_of(next_);
      const bool fits = batch->bytes + length <= kChunkRunBytes && open_bytes_ + length <= options_.bytes_max;
      if (!batch->pieces.empty() && !fits) break;
      Piece& piece = batch->pieces.emplace_back();
      piece.number = next_++;
      piece.length = length;
      if (zeros_.is(index_, piece.number)) piece.origin = Origin::zero;
      batch->bytes += length;
      open_bytes_ += length;
    }
    ++open_batches_;
    if (output_.is_ordered()) order_.push_back(batch);
    ++busy_;
    workers_.run([self = shared_from_this(), batch] { self->look_nearby(*batch); },
                 [self = shared_from_this(), batch] {
                   if (self->come_back()) self->handle_looked(batch);
                 });
  }

  // On a worker: what the output itself, the seeds and a store on this machine have; and it is written, where any order will do.
  void look_nearby(Batch& batch) {
    std::size_t bytes = 0;
    for (Piece& piece : batch.pieces) {
      if (piece.origin == Origin::zero) continue;
      piece.at = bytes;
      bytes += piece.length;
    }
    if (bytes > 0) batch.memory = memory_->take(bytes);
    std::vector<WantedChunk> wanted;
    std::vector<Piece*> pieces;
    for (Piece& piece : batch.pieces) {
      piece.ready = piece.origin == Origin::zero;
      if (piece.ready) continue;
      wanted.push_back({.id = index_.entries[piece.number].id,
                        .into = MutableBytes(*batch.memory).subspan(piece.at, piece.length),
                        .got = false});
      pieces.push_back(&piece);
    }
    const auto note = [&](Origin origin, bool written) {
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (!wanted[i].got || pieces[i]->ready) continue;
        pieces[i]->ready = true;
        pieces[i]->origin = origin;
        pieces[i]->written = written;
      }
    };
    const Digest digest = index_.header.digest();
    if (options_.offset == 0 && output_.is_in_place()) {
      read_verified(wanted, digest, [&](const WantedChunk& chunk) {
        const Piece& piece = *pieces[static_cast<std::size_t>(&chunk - wanted.data())];
        return output_.read(index_.start_of(piece.number), chunk.into).has_value();
      });
      note(Origin::reused, true);
    }
    if (seeds_ != nullptr && options_.offset == 0 && output_.can_share()) {
      if (Result<void> shared = share_with_seeds(pieces, wanted); !shared) {
        batch.error = at_chunk(batch.pieces.front(), shared.error());
        return;
      }
      note(Origin::reused, true);
    }
    if (seeds_ != nullptr) {
      seeds_->read(wanted, digest);
      note(Origin::reused, false);
    }
    if (reader_) {
      reader_->read(wanted, digest);
      note(Origin::store, false);
    }
    if (!output_.is_ordered()) write_ready(batch);
    const bool nothing_got = std::ranges::none_of(wanted, &WantedChunk::got);
    if (!output_.is_ordered() || nothing_got) batch.memory.reset();
  }

  // Blocks of a seed become the output's too, and only then are they hashed: as they are in the output, where they no longer
  // change with the seed.
  Result<void> share_with_seeds(const std::vector<Piece*>& pieces, std::span<WantedChunk> wanted) {
    for (std::size_t i = 0; i < pieces.size();) {
      const std::optional<SeedMap::Place> place = wanted[i].got ? std::nullopt : seeds_->place_of(wanted[i].id);
      std::size_t count = 1;
      std::uint64_t length = pieces[i]->length;
      while (place && i + count < pieces.size() && !wanted[i + count].got &&
             pieces[i + count]->number == pieces[i]->number + count) {
        const std::optional<SeedMap::Place> next = seeds_->place_of(wanted[i + count].id);
        if (!next || next->descriptor != place->descriptor || next->offset != place->offset + length) break;
        length += pieces[i + count++]->length;
      }
      const std::uint64_t start = index_.start_of(pieces[i]->number);
      if (place && output_.share(start, place->descriptor, place->offset, length))
        if (Result<void> checked = check_shared(std::span(pieces).subspan(i, count), wanted.subspan(i, count)); !checked)
          return checked;
      i += count;
    }
    return {};
  }

  Result<void> check_shared(std::span<Piece* const> pieces, std::span<WantedChunk> wanted) {
    read_verified(wanted, index_.header.digest(), [&](const WantedChunk& chunk) {
      const Piece& piece = *pieces[static_cast<std::size_t>(&chunk - wanted.data())];
      return output_.read(index_.start_of(piece.number), chunk.into).has_value();
    });
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].got) {
        bytes_shared_ += pieces[i]->length;
        continue;
      }
      // The output has to be all zeros where zeros will not be written.
      Result<void> back = output_.take_back(index_.start_of(pieces[i]->number), pieces[i]->length);
      if (!back) return back;
    }
    return {};
  }

  void handle_looked(const BatchPtr& batch) {
    if (batch->error) return fail_with(std::move(*batch->error));
    for (Piece& piece : batch->pieces) {
      if (piece.ready) continue;
      ++batch->fetches;
      fetches_.push_back({batch, &piece});
    }
    if (batch->fetches == 0) return handle_ready(batch);
    fetch_next();
  }

  void fetch_next() {
    while (!is_ending() && !fetches_.empty() && fetching_ < std::max<std::size_t>(options_.requests_max, 1)) {
      const Fetch fetch = std::move(fetches_.front());
      fetches_.pop_front();
      ++fetching_;
      begin_fetch(fetch);
    }
  }

  void begin_fetch(const Fetch& fetch) {
    ++busy_;
    store_.get(index_.entries[fetch.piece->number].id, index_.header.digest(), index_.header.sizes.max,
               [self = shared_from_this(), fetch](Result<Bytes> data) {
                 --self->fetching_;
                 if (!self->come_back()) return;
                 self->handle_fetched(fetch, std::move(data));
                 self->fetch_next();
               });
  }

  void handle_fetched(const Fetch& fetch, Result<Bytes> data) {
    Piece& piece = *fetch.piece;
    if (!data) return fail_with(at_chunk(piece, data.error()));
    if (data->size() != piece.length)
      return fail_with(at_chunk(
          piece, Error(ErrorKind::corrupt, fmt::format("chunk {} has {} bytes, the index says {}",
                                                       index_.entries[piece.number].id.hex(), data->size(), piece.length))));
    piece.data = std::move(*data);
    piece.ready = true;
    if (output_.is_ordered()) return handle_fetch_ended(fetch.batch);
    ++busy_;
    auto written = std::make_shared<Result<void>>();
    workers_.run([self = shared_from_this(), fetch, written] { *written = self->write_run(*fetch.batch, fetch.piece, 1); },
                 [self = shared_from_this(), fetch, written] {
                   fetch.piece->data = Bytes();
                   if (!self->come_back()) return;
                   if (!*written) return self->fail_with(self->at_chunk(*fetch.piece, written->error()));
                   self->handle_fetch_ended(fetch.batch);
                 });
  }

  void handle_fetch_ended(const BatchPtr& batch) {
    if (--batch->fetches == 0) handle_ready(batch);
  }

  void handle_ready(const BatchPtr& batch) {
    batch->ready = true;
    if (!output_.is_ordered()) return handle_written(*batch);
    write_next_in_order();
  }

  void write_next_in_order() {
    if (writing_ || order_.empty() || !order_.front()->ready || is_ending()) return;
    writing_ = true;
    const BatchPtr batch = std::move(order_.front());
    order_.pop_front();
    ++busy_;
    workers_.run(
        [self = shared_from_this(), batch] {
          self->write_ready(*batch);
          batch->memory.reset();
        },
        [self = shared_from_this(), batch] {
          if (!self->come_back()) return;
          if (batch->error) return self->fail_with(std::move(*batch->error));
          self->writing_ = false;
          self->handle_written(*batch);
          self->write_next_in_order();
        });
  }

  // On a worker: what is ready and not written, as few writes as can be. Leaves an error in the batch.
  void write_ready(Batch& batch) {
    for (std::size_t i = 0; i < batch.pieces.size();) {
      Piece& first = batch.pieces[i];
      std::size_t count = 1;
      const bool joins = first.origin != Origin::zero && first.data.empty();
      while (joins && i + count < batch.pieces.size()) {
        const Piece& next = batch.pieces[i + count];
        if (!next.ready || next.written || next.origin == Origin::zero || !next.data.empty()) break;
        ++count;
      }
      if (!first.ready || first.written) {
        ++i;
        continue;
      }
      if (Result<void> written = write_run(batch, &first, count); !written) {
        batch.error = at_chunk(first, written.error());
        return;
      }
      i += count;
    }
  }

  // Pieces that lie one behind the other in the batch's memory, or one: the part of them that lies in the range.
  Result<void> write_run(const Batch& batch, Piece* first, std::size_t count) {
    const Piece& last = first[count - 1];
    const std::uint64_t start = index_.start_of(first->number);
    const std::uint64_t end = index_.start_of(last.number) + last.length;
    const std::uint64_t from = std::max(start, options_.offset);
    const std::uint64_t to = std::min(end, options_.offset + options_.length);
    Result<void> written;
    if (first->origin == Origin::zero) {
      written = output_.zeros(from - options_.offset, to - from);
    } else {
      const ConstBytes all = first->data.empty() ? ConstBytes(*batch.memory).subspan(first->at, end - start) : first->data;
      written = output_.write(from - options_.offset, all.subspan(from - start, to - from));
    }
    if (written)
      for (std::size_t i = 0; i < count; ++i) first[i].written = true;
    return written;
  }

  void handle_written(Batch& batch) {
    open_bytes_ -= batch.bytes;
    --open_batches_;
    for (const Piece& piece : batch.pieces) {
      switch (piece.origin) {
        case Origin::store: result_.bytes_fetched += piece.length; break;
        case Origin::reused: result_.bytes_reused += piece.length; break;
        case Origin::zero: result_.bytes_zero += piece.length; break;
      }
    }
    go_on();
  }

  void finish() {
    finishing_ = true;
    auto finished = std::make_shared<Result<void>>();
    ++busy_;
    workers_.run([self = shared_from_this(), finished] { *finished = self->output_.finish(); },
                 [self = shared_from_this(), finished] {
                   if (!self->come_back()) return;
                   if (!*finished) return self->fail_with(finished->error());
                   self->result_.bytes_shared = self->bytes_shared_;
                   std::exchange(self->done_, nullptr)(self->result_);
                 });
  }

  const Index& index_;
  ChunkStore& store_;
  SeedMap* const seeds_;
  BlobOutput& output_;
  const ExtractBlobOptions options_;
  net::Workers& workers_;
  const std::shared_ptr<ChunkReader> reader_;
  const ZeroChunk zeros_;
  Done<ExtractBlobResult> done_;
  std::size_t next_ = 0;
  std::size_t last_ = 0;
  std::uint64_t open_bytes_ = 0;  // of batches that are not written yet
  std::size_t open_batches_ = 0;
  std::deque<BatchPtr> order_;
  std::deque<Fetch> fetches_;  // that have not begun
  std::size_t fetching_ = 0;
  std::shared_ptr<SpareMemory> memory_ = std::make_shared<SpareMemory>();
  bool writing_ = false;
  std::size_t busy_ = 0;  // jobs and requests that will come back
  std::optional<Error> error_;
  std::atomic<std::uint64_t> bytes_shared_ = 0;
  bool finishing_ = false;
  ExtractBlobResult result_;
};

ExtractBlob::ExtractBlob(const Index& index, ChunkStore& store, SeedMap* seeds, BlobOutput& output,
                         const ExtractBlobOptions& options, net::Workers& workers)
    : impl_(std::make_shared<Impl>(index, store, seeds, output, options, workers)) {}

ExtractBlob::~ExtractBlob() {
  impl_->give_up();
}

void ExtractBlob::start(net::Scheduler& scheduler, Done<ExtractBlobResult> done) {
  impl_->start(scheduler, std::move(done));
}

const ExtractBlobResult& ExtractBlob::so_far() const {
  return impl_->so_far();
}

}  // namespace godwit::chunks
