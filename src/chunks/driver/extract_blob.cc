#include "chunks/driver/extract_blob.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/zero_chunk.h"

namespace godwit::chunks {

class ExtractBlob::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Index& index, ChunkStore& store, const SeedMap* seeds, BlobOutput& output, const ExtractBlobOptions& options,
       net::Workers& workers)
      : index_(index), zeros_(index.header), store_(store), seeds_(seeds), output_(output), options_(options), workers_(workers) {
    GODWIT_CHECK(options.offset + options.length <= index.blob_size());
    if (options.length == 0) return;
    next_ = index.chunk_at(options.offset);
    last_ = index.chunk_at(options.offset + options.length - 1) + 1;
  }

  void start(net::Scheduler& scheduler, Done<ExtractBlobResult> done) {
    done_ = std::move(done);
    scheduler.post([self = shared_from_this()] { self->go_on(); });
  }
  void give_up() { done_ = nullptr; }
  const ExtractBlobResult& so_far() const { return result_; }

 private:
  enum class Origin : std::uint8_t { store, reused, zero };
  // One chunk on its way. With an ordered output they are written in the order of this queue.
  struct Piece {
    std::size_t number = 0;
    std::uint64_t length = 0;  // of the chunk
    Origin origin = Origin::store;
    Bytes data;
    bool ready = false;
    bool written = false;
  };
  using PiecePtr = std::shared_ptr<Piece>;

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
    while (next_ < last_ && !is_ending() &&
           (open_ == 0 || (open_ < options_.requests_max && open_bytes_ + index_.length_of(next_) <= options_.bytes_max)))
      begin_next();
    if (!is_ending() && next_ == last_ && open_ == 0 && !finishing_) finish();
  }

  void begin_next() {
    auto piece = std::make_shared<Piece>();
    piece->number = next_++;
    piece->length = index_.length_of(piece->number);
    ++open_;
    open_bytes_ += piece->length;
    if (output_.is_ordered()) order_.push_back(piece);
    if (zeros_.is(index_, piece->number)) {
      piece->origin = Origin::zero;
      return handle_ready(piece);
    }
    look_nearby(piece);
  }

  // In the output itself, then in the seeds.
  void look_nearby(const PiecePtr& piece) {
    if (seeds_ == nullptr && output_.is_ordered()) return fetch(piece);
    ++busy_;
    workers_.run(
        [self = shared_from_this(), piece] {
          const ChunkId& id = self->index_.entries[piece->number].id;
          const std::uint64_t start = self->index_.start_of(piece->number);
          if (self->options_.offset == 0 && self->output_.has(start, piece->length, id, self->index_.header.digest())) {
            piece->origin = Origin::reused;
            piece->written = true;
            return;
          }
          if (self->seeds_ == nullptr) return;
          if (std::optional<Bytes> data = self->seeds_->read(id, piece->length)) {
            piece->origin = Origin::reused;
            piece->data = std::move(*data);
          }
        },
        [self = shared_from_this(), piece] {
          if (!self->come_back()) return;
          if (piece->origin == Origin::reused)
            self->handle_ready(piece);
          else
            self->fetch(piece);
        });
  }

  void fetch(const PiecePtr& piece) {
    ++busy_;
    store_.get(index_.entries[piece->number].id, index_.header.digest(), index_.header.sizes.max,
               [self = shared_from_this(), piece](Result<Bytes> data) {
                 if (!self->come_back()) return;
                 if (!data) return self->fail_with(self->at_chunk(*piece, data.error()));
                 if (data->size() != piece->length)
                   return self->fail_with(self->at_chunk(
                       *piece, Error(ErrorKind::corrupt,
                                     fmt::format("chunk {} has {} bytes, the index says {}",
                                                 self->index_.entries[piece->number].id.hex(), data->size(), piece->length))));
                 piece->data = std::move(*data);
                 self->handle_ready(piece);
               });
  }

  void handle_ready(const PiecePtr& piece) {
    piece->ready = true;
    if (!output_.is_ordered()) return write(piece);
    write_next_in_order();
  }

  void write_next_in_order() {
    if (writing_ || order_.empty() || !order_.front()->ready || is_ending()) return;
    writing_ = true;
    const PiecePtr piece = order_.front();
    order_.pop_front();
    write(piece);
  }

  void write(const PiecePtr& piece) {
    if (piece->written) return handle_written(piece);
    auto written = std::make_shared<Result<void>>();
    ++busy_;
    workers_.run([self = shared_from_this(), piece, written] { *written = self->write_clipped(*piece); },
                 [self = shared_from_this(), piece, written] {
                   if (!self->come_back()) return;
                   if (!*written) return self->fail_with(self->at_chunk(*piece, written->error()));
                   self->writing_ = false;
                   self->handle_written(piece);
                 });
  }

  // On a worker: the part of the chunk that lies in the range.
  Result<void> write_clipped(const Piece& piece) {
    const std::uint64_t start = index_.start_of(piece.number);
    const std::uint64_t from = std::max(start, options_.offset);
    const std::uint64_t to = std::min(start + piece.length, options_.offset + options_.length);
    if (piece.origin == Origin::zero) return output_.zeros(from - options_.offset, to - from);
    return output_.write(from - options_.offset, ConstBytes(piece.data).subspan(from - start, to - from));
  }

  void handle_written(const PiecePtr& piece) {
    --open_;
    open_bytes_ -= piece->length;
    switch (piece->origin) {
      case Origin::store: result_.bytes_fetched += piece->length; break;
      case Origin::reused: result_.bytes_reused += piece->length; break;
      case Origin::zero: result_.bytes_zero += piece->length; break;
    }
    piece->data = Bytes();
    if (output_.is_ordered()) write_next_in_order();
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
                   std::exchange(self->done_, nullptr)(self->result_);
                 });
  }

  const Index& index_;
  const ZeroChunk zeros_;
  ChunkStore& store_;
  const SeedMap* const seeds_;
  BlobOutput& output_;
  const ExtractBlobOptions options_;
  net::Workers& workers_;
  Done<ExtractBlobResult> done_;
  std::size_t next_ = 0;
  std::size_t last_ = 0;
  std::size_t open_ = 0;  // pieces that are not written yet
  std::uint64_t open_bytes_ = 0;
  std::deque<PiecePtr> order_;
  bool writing_ = false;
  std::size_t busy_ = 0;  // jobs and requests that will come back
  std::optional<Error> error_;
  bool finishing_ = false;
  ExtractBlobResult result_;
};

ExtractBlob::ExtractBlob(const Index& index, ChunkStore& store, const SeedMap* seeds, BlobOutput& output,
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
