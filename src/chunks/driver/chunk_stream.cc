#include "chunks/driver/chunk_stream.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "base/check.h"
#include "chunks/core/chunk_digest.h"
#include "chunks/core/chunker.h"
#include "chunks/driver/stream_ring.h"

namespace godwit::chunks {

namespace {

constexpr std::size_t kBlockBytes = 2 * 1024 * 1024;
// Little enough to stay in the processor's cache where few threads share it.
constexpr std::size_t kRingBytesPerThread = 8 * 1024 * 1024;
constexpr std::size_t kRingBytesMin = 16 * 1024 * 1024;
constexpr std::size_t kRingBytesMax = 64 * 1024 * 1024;  // unless chunks are larger
// Never written while a block behind it is looked at: the window reaches back.
constexpr std::size_t kRingSlackBytes = 4096;
// A batch is hashed when it has so much, or when a thread would idle.
constexpr std::size_t kBatchBytes = 2 * 1024 * 1024;
constexpr std::size_t kBatchChunksMax = 4096;

std::size_t ring_bytes(const ChunkSizes& sizes, unsigned threads) {
  const std::size_t by_threads = std::clamp(threads * kRingBytesPerThread, kRingBytesMin, kRingBytesMax);
  return std::max<std::size_t>(by_threads, 2 * sizes.max + 4 * kBlockBytes);
}

}  // namespace

// Positions in the ring count only what lies in it; `skipped_` is what holes add to get offsets in the stream.
class ChunkStream::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::unique_ptr<ByteSource> source, const ChunkStreamOptions& options, net::Workers& workers, net::Scheduler& scheduler)
      : source_(std::move(source)),
        options_(options),
        scan_(options.rule, options.scan),
        walker_(options.rule),
        stream_digest_(options.digest),
        workers_(workers),
        scheduler_(scheduler) {}

  void start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) {
    sink_ = std::move(sink);
    done_ = std::move(done);
    Result<std::unique_ptr<StreamRing>> ring = StreamRing::make(ring_bytes(options_.rule.sizes(), options_.threads));
    if (!ring) {
      scheduler_.post([self = shared_from_this(), error = ring.error()] { self->fail_with(error); });
      return;
    }
    ring_ = std::move(*ring);
    scheduler_.post([self = shared_from_this()] { self->go_on(); });
  }

  void give_up() {
    done_ = nullptr;
    sink_ = nullptr;
  }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  // One stretch of the stream in order: bytes in the ring, or chunks of zeros that are not.
  struct Block {
    std::uint64_t position = 0;  // in the ring
    std::size_t length = 0;
    std::uint64_t zero_chunks = 0;
    bool scanned = false;
    std::vector<std::uint64_t> candidates;
  };
  // Chunks in the ring, in order; the ring is free up to the first that is not.
  struct Segment {
    std::uint64_t end = 0;
    bool free = false;
  };

  bool is_over() const { return done_ == nullptr; }

  void fail_with(Error error) {
    if (is_over()) return;
    sink_ = nullptr;
    std::exchange(done_, nullptr)(fail(std::move(error)));
  }

  bool has_room() const {
    const std::uint64_t used = written_ - std::min(free_up_to_, digested_up_to_);
    return used + kBlockBytes + kRingSlackBytes <= ring_->size();
  }

  void go_on() {
    if (is_over()) return;
    if (hole_left_ > 0) add_zeros();
    walk();
    if (!reading_ && !input_ended_ && hole_left_ == 0 && has_room()) read_block();
    if (input_ended_ && blocks_.empty() && !walked_to_end_) finish_walk();
    if (!batch_.empty() &&
        (batch_bytes_ >= kBatchBytes || batch_.size() >= kBatchChunksMax || hashing_ < options_.threads || !has_room()))
      hash_batch();
    if (walked_to_end_ && batch_.empty() && hashing_ == 0 && !digesting_ && undigested_.empty()) end();
  }

  void read_block() {
    reading_ = true;
    auto piece = std::make_shared<Result<ByteSource::Piece>>(ByteSource::Piece{});
    const MutableBytes into = ring_->at(written_, kBlockBytes);
    workers_.run([self = shared_from_this(), piece, into] { *piece = self->source_->read(into); },
                 [self = shared_from_this(), piece] {
                   self->reading_ = false;
                   if (!*piece) return self->fail_with(piece->error());
                   self->handle_piece(**piece);
                 });
  }

  void handle_piece(const ByteSource::Piece& piece) {
    bytes_read_ += piece.length;
    if (piece.length == 0)
      input_ended_ = true;
    else if (piece.hole)
      begin_hole(piece.length);
    else
      add_block(piece.length);
    go_on();
  }

  // So many zeros go through the ring that every cut behind them lies between zeros; then whole zero chunks can be left out.
  void begin_hole(std::uint64_t length) {
    const std::uint64_t lead = options_.rule.sizes().max + kWindowBytes;
    const std::uint64_t zero_chunk = options_.rule.zero_chunk_size();
    hole_left_ = length;
    hole_skip_ = length > lead + zero_chunk ? (length - lead) / zero_chunk : 0;
    hole_lead_ = hole_skip_ > 0 ? lead : length;
    hole_left_ -= hole_skip_ * zero_chunk;
  }

  void add_zeros() {
    while (hole_left_ > 0 && has_room()) {
      if (hole_lead_ == 0 && hole_skip_ > 0) skip_zero_chunks();
      const std::uint64_t part = std::min<std::uint64_t>({hole_left_, kBlockBytes, hole_lead_ > 0 ? hole_lead_ : hole_left_});
      std::ranges::fill(ring_->at(written_, part), std::byte{0});
      hole_left_ -= part;
      hole_lead_ -= std::min(part, hole_lead_);
      add_block(part);
    }
    // The skipped chunks may be the last of the hole.
    if (hole_left_ == 0 && hole_skip_ > 0) skip_zero_chunks();
  }

  void skip_zero_chunks() {
    auto block = std::make_shared<Block>(
        Block{.position = written_, .zero_chunks = std::exchange(hole_skip_, 0), .scanned = true, .candidates = {}});
    blocks_.push_back(block);
    if (options_.digest_stream) undigested_.push_back(block);
    digest_next();
  }

  void add_block(std::size_t length) {
    auto block = std::make_shared<Block>(Block{.position = written_, .length = length, .candidates = {}});
    written_ += length;
    blocks_.push_back(block);
    if (options_.digest_stream)
      undigested_.push_back(block);
    else
      digested_up_to_ = written_;
    workers_.run([self = shared_from_this(), block] { self->scan(*block); },
                 [self = shared_from_this(), block] {
                   block->scanned = true;
                   self->go_on();
                 });
    digest_next();
  }

  // On a worker.
  void scan(Block& block) const {
    if (options_.rule.sizes().is_fixed()) return;
    const std::uint64_t context = std::min<std::uint64_t>(block.position, kWindowBytes - 1);
    const std::uint64_t base = block.position - context;
    std::vector<std::uint32_t> found;
    scan_.find(ring_->at(base, context + block.length), std::max<std::size_t>(context + 1, kWindowBytes), found);
    block.candidates.reserve(found.size());
    for (const std::uint32_t offset : found) block.candidates.push_back(base + offset);
  }

  void walk() {
    while (!blocks_.empty() && blocks_.front()->scanned) {
      const std::shared_ptr<Block> block = std::move(blocks_.front());
      blocks_.pop_front();
      if (block->zero_chunks > 0) {
        add_zero_chunks(block->zero_chunks);
        continue;
      }
      cuts_.clear();
      walker_.advance(block->position + block->length, block->candidates, cuts_);
      for (const std::uint64_t cut : cuts_) add_chunk(cut);
    }
  }

  void finish_walk() {
    walked_to_end_ = true;
    cuts_.clear();
    walker_.finish(cuts_);
    for (const std::uint64_t cut : cuts_) add_chunk(cut);
  }

  void add_chunk(std::uint64_t end) {
    const std::size_t length = end - cut_up_to_;
    batch_.push_back({.number = chunk_count_++,
                      .offset = cut_up_to_ + skipped_,
                      .count = 1,
                      .data = ring_->at(cut_up_to_, length),
                      .known_length = 0,
                      .id = {}});
    batch_bytes_ += length;
    segments_.push_back({.end = end});
    cut_up_to_ = end;
    if (batch_bytes_ >= kBatchBytes || batch_.size() >= kBatchChunksMax) hash_batch();
  }

  void add_zero_chunks(std::uint64_t count) {
    const std::uint64_t zero_chunk = options_.rule.zero_chunk_size();
    if (zeros_.empty()) {
      zeros_.resize(zero_chunk);
      zero_id_ = chunk_id_of(zeros_, options_.digest);
    }
    const StreamChunk run{.number = chunk_count_,
                          .offset = cut_up_to_ + skipped_,
                          .count = count,
                          .data = zeros_,
                          .known_length = 0,
                          .id = zero_id_};
    chunk_count_ += count;
    skipped_ += count * zero_chunk;
    give({.chunks = {run}, .hold = shared_from_this()});
  }

  void hash_batch() {
    if (batch_.empty()) return;
    ++hashing_;
    const std::uint64_t first = segments_done_ + segments_.size() - batch_.size();
    auto batch = std::make_shared<std::vector<StreamChunk>>(std::move(batch_));
    batch_.clear();
    batch_bytes_ = 0;
    workers_.run(
        [batch, digest = options_.digest] {
          std::vector<ConstBytes> data;
          std::vector<ChunkId> ids(batch->size());
          for (const StreamChunk& chunk : *batch) data.push_back(chunk.data);
          chunk_ids_of(data, digest, ids);
          for (std::size_t i = 0; i < ids.size(); ++i) (*batch)[i].id = ids[i];
        },
        [self = shared_from_this(), batch, first] {
          --self->hashing_;
          self->give_out(std::move(*batch), first);
          self->go_on();
        });
  }

  void give_out(std::vector<StreamChunk> chunks, std::uint64_t first_segment) {
    const std::uint64_t count = chunks.size();
    std::shared_ptr<void> hold(static_cast<void*>(this),
                               [self = shared_from_this(), first_segment, count](void*) { self->release(first_segment, count); });
    give({.chunks = std::move(chunks), .hold = std::move(hold)});
  }

  // By a copy: whoever is called may stop us.
  void give(ChunkBatch batch) {
    if (const std::function<void(ChunkBatch)> sink = sink_) sink(std::move(batch));
  }

  void release(std::uint64_t first_segment, std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) segments_[first_segment - segments_done_ + i].free = true;
    while (!segments_.empty() && segments_.front().free) {
      free_up_to_ = segments_.front().end;
      segments_.pop_front();
      ++segments_done_;
    }
    // In a turn of its own: the one who lets go may be in the middle of something.
    if (!wake_posted_ && !is_over()) {
      wake_posted_ = true;
      scheduler_.post([self = shared_from_this()] {
        self->wake_posted_ = false;
        self->go_on();
      });
    }
  }

  void digest_next() {
    if (digesting_ || undigested_.empty()) return;
    digesting_ = true;
    const std::shared_ptr<Block> block = undigested_.front();
    workers_.run(
        [self = shared_from_this(), block] {
          if (block->zero_chunks > 0)
            self->stream_digest_.update_zeros(block->zero_chunks * self->options_.rule.zero_chunk_size());
          else
            self->stream_digest_.update(self->ring_->at(block->position, block->length));
        },
        [self = shared_from_this(), block] {
          self->digesting_ = false;
          self->undigested_.pop_front();
          self->digested_up_to_ = block->position + block->length;
          self->digest_next();
          self->go_on();
        });
  }

  void end() {
    ChunkStreamEnd end{.size = written_ + skipped_, .chunk_count = chunk_count_, .digest = std::nullopt, .known_bytes = 0};
    if (options_.digest_stream) end.digest = stream_digest_.finish();
    sink_ = nullptr;
    std::exchange(done_, nullptr)(end);
  }

  std::unique_ptr<ByteSource> source_;
  const ChunkStreamOptions options_;
  const CandidateScan scan_;
  CutWalker walker_;
  DigestStream stream_digest_;  // by one job at a time
  net::Workers& workers_;
  net::Scheduler& scheduler_;
  std::function<void(ChunkBatch)> sink_;
  Done<ChunkStreamEnd> done_;
  std::unique_ptr<StreamRing> ring_;

  bool reading_ = false;
  bool input_ended_ = false;
  std::uint64_t bytes_read_ = 0;
  std::uint64_t written_ = 0;         // ring positions: up to here there is data,
  std::uint64_t cut_up_to_ = 0;       // up to here it is cut,
  std::uint64_t free_up_to_ = 0;      // up to here the chunks are let go,
  std::uint64_t digested_up_to_ = 0;  // and up to here the stream's digest has seen it
  std::uint64_t skipped_ = 0;

  std::uint64_t hole_left_ = 0;  // zeros still to go through the ring
  std::uint64_t hole_lead_ = 0;  // so many of them before the skipped chunks
  std::uint64_t hole_skip_ = 0;  // zero chunks to leave out
  Bytes zeros_;
  ChunkId zero_id_;

  std::deque<std::shared_ptr<Block>> blocks_;  // not yet walked over
  std::deque<std::shared_ptr<Block>> undigested_;
  bool digesting_ = false;
  bool walked_to_end_ = false;
  std::vector<std::uint64_t> cuts_;
  std::uint64_t chunk_count_ = 0;
  std::vector<StreamChunk> batch_;
  std::size_t batch_bytes_ = 0;
  unsigned hashing_ = 0;
  std::deque<Segment> segments_;
  std::uint64_t segments_done_ = 0;
  bool wake_posted_ = false;
};

ChunkStream::ChunkStream(std::unique_ptr<ByteSource> source, const ChunkStreamOptions& options, net::Workers& workers,
                         net::Scheduler& scheduler)
    : impl_(std::make_shared<Impl>(std::move(source), options, workers, scheduler)) {}

ChunkStream::~ChunkStream() {
  impl_->give_up();
}

void ChunkStream::start(std::function<void(ChunkBatch)> sink, Done<ChunkStreamEnd> done) {
  impl_->start(std::move(sink), std::move(done));
}

void ChunkStream::stop() {
  impl_->give_up();
}

std::uint64_t ChunkStream::bytes_read() const {
  return impl_->bytes_read();
}

}  // namespace godwit::chunks
