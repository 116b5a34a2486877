#include "chunks/driver/blob_view.h"

#include <algorithm>
#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/zero_chunk.h"
#include "store/request_range.h"

namespace godwit::chunks {

using net::Done;

namespace {

// Room for one window in front of each of two readers.
ReadAheadLimits within_cache(ReadAheadLimits limits, std::uint64_t cache_bytes_max) {
  limits.window_bytes_max = std::min(limits.window_bytes_max, cache_bytes_max / 4);
  limits.window_bytes_min = std::min(limits.window_bytes_min, limits.window_bytes_max);
  return limits;
}

}  // namespace

class BlobView::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::string title, Index index, ChunkStore& store, net::Scheduler& scheduler, const BlobViewOptions& options,
       const Log& log)
      : title_(std::move(title)),
        index_(std::move(index)),
        zeros_(index_.header),
        store_(store),
        scheduler_(scheduler),
        options_(options),
        log_(log),
        read_ahead_(within_cache(options.read_ahead, options.cache_bytes_max)) {
    GODWIT_CHECK(options.requests_max > 0);
  }

  const std::string& title() const { return title_; }
  const Index& index() const { return index_; }
  net::Scheduler& scheduler() { return scheduler_; }
  const Counters& counters() const { return counters_; }
  void give_up() { is_over_ = true; }
  bool is_zero(std::size_t number) const { return zeros_.is(index_, number); }

  // The range is not empty and lies within the blob.
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) {
    const auto read = std::make_shared<Read>(Read{.offset = offset, .into = into, .done = std::move(done)});
    const std::uint64_t end = offset + into.size();
    for (std::size_t number = index_.chunk_at(offset); number < index_.entries.size() && index_.start_of(number) < end; ++number)
      want(number, read);
    if (read->missing == 0)
      scheduler_.post([read] {
        if (read->done) std::exchange(read->done, nullptr)({});
      });
    const ByteRange ahead = read_ahead_.handle_read(offset, end);
    fetch_ahead(ahead.begin, ahead.end);
  }

  void fetch_ahead(std::uint64_t begin, std::uint64_t end) {
    end = std::min(end, index_.blob_size());
    if (begin < end)
      for (std::size_t number = index_.chunk_at(begin); number < index_.entries.size() && index_.start_of(number) < end; ++number)
        if (!want_ahead(number)) break;
    go_on();
  }

 private:
  struct Read {
    std::uint64_t offset = 0;
    MutableBytes into;
    Done<void> done;
    std::size_t missing = 0;  // chunks that it waits for
  };
  struct Waiter {
    std::shared_ptr<Read> read;
    std::size_t number = 0;
  };
  // A chunk somebody has asked for: it waits for its turn, is on its way, or is here.
  struct Slot {
    enum class State : std::uint8_t { queued, on_its_way, here } state = State::queued;
    std::size_t number = 0;  // the first place where it was asked for
    Bytes data;
    std::vector<Waiter> waiters;
    bool is_ahead = false;               // nobody has wanted it yet
    std::list<ChunkId>::iterator place;  // in urgent_, ahead_ or recent_; of one that is on its way, nowhere
  };
  using Slots = std::unordered_map<ChunkId, Slot>;

  std::uint64_t length_asked_for(const Slot& slot) const { return index_.length_of(slot.number); }

  void want(std::size_t number, const std::shared_ptr<Read>& read) {
    if (is_zero(number)) return copy_zeros(number, *read);
    const ChunkId& id = index_.entries[number].id;
    const auto [found, is_new] = slots_.try_emplace(id);
    Slot& slot = found->second;
    if (is_new) slot.number = number;
    if (slot.is_ahead) {
      slot.is_ahead = false;
      ahead_bytes_ -= length_asked_for(slot);
      if (slot.state == Slot::State::queued) urgent_.splice(urgent_.end(), ahead_, slot.place);
    } else if (is_new) {
      slot.place = urgent_.insert(urgent_.end(), id);
    } else if (slot.state != Slot::State::here) {
      ++counters_.joined;
    }
    if (slot.state == Slot::State::here) {
      ++counters_.hits;
      recent_.splice(recent_.begin(), recent_, slot.place);
      return give(slot.data, {read, number});
    }
    ++read->missing;
    slot.waiters.push_back({read, number});
  }

  // False where there is no room for more.
  bool want_ahead(std::size_t number) {
    const ChunkId& id = index_.entries[number].id;
    if (is_zero(number) || slots_.contains(id)) return true;
    const std::uint64_t length = index_.length_of(number);
    if (ahead_bytes_ + length > options_.cache_bytes_max / 2) return false;
    ahead_bytes_ += length;
    Slot& slot = slots_[id];
    slot.number = number;
    slot.is_ahead = true;
    slot.place = ahead_.insert(ahead_.end(), id);
    return true;
  }

  void go_on() {
    while (requests_ < options_.requests_max && !is_over_) {
      std::list<ChunkId>& queue = urgent_.empty() ? ahead_ : urgent_;
      if (queue.empty() || !fetch_first(queue)) return;
    }
  }

  // False where there is no room for it as long as others are on their way.
  bool fetch_first(std::list<ChunkId>& queue) {
    const ChunkId id = queue.front();
    Slot& slot = slots_.at(id);
    const std::uint64_t length = length_asked_for(slot);
    if (requests_ > 0 && bytes_on_their_way_ + length > options_.cache_bytes_max) return false;
    while (!recent_.empty() && counters_.bytes_held + length > options_.cache_bytes_max) forget(recent_.back());
    queue.erase(slot.place);
    fetch(id, slot);
    return true;
  }

  void forget(ChunkId id) {
    const auto found = slots_.find(id);
    counters_.bytes_held -= found->second.data.size();
    if (found->second.is_ahead) ahead_bytes_ -= length_asked_for(found->second);
    recent_.erase(found->second.place);
    slots_.erase(found);
  }

  void fetch(const ChunkId& id, Slot& slot) {
    slot.state = Slot::State::on_its_way;
    ++requests_;
    bytes_on_their_way_ += length_asked_for(slot);
    counters_.bytes_held += length_asked_for(slot);
    store_.get(id, index_.header.digest(), length_asked_for(slot), [self = shared_from_this(), id](Result<Bytes> data) {
      if (!self->is_over_) self->handle_come(id, std::move(data));
    });
  }

  void handle_come(const ChunkId& id, Result<Bytes> data) {
    --requests_;
    const auto found = slots_.find(id);
    Slot& slot = found->second;
    const std::uint64_t length = length_asked_for(slot);
    bytes_on_their_way_ -= length;
    counters_.bytes_held -= length;
    if (data && data->size() != length)
      data = fail(ErrorKind::corrupt, fmt::format("chunk {} has {} bytes, the index says {}", id.hex(), data->size(), length));
    const std::vector<Waiter> waiters = std::exchange(slot.waiters, {});
    if (!data) {
      ++counters_.failed;
      const Error error = at_chunk(slot.number, data.error());
      if (slot.is_ahead) ahead_bytes_ -= length;
      // Who reads ahead for nobody complains to nobody.
      if (!waiters.empty())
        log_.error("a chunk can not be read", {{"blob", title_}, {"chunk", id.hex()}, {"error", error.message()}});
      slots_.erase(found);
      for (const Waiter& waiter : waiters)
        if (!is_over_ && waiter.read->done) std::exchange(waiter.read->done, nullptr)(fail(error));
      return go_on();
    }
    ++counters_.fetched;
    slot.state = Slot::State::here;
    slot.data = std::move(*data);
    counters_.bytes_held += length;
    recent_.push_front(id);
    slot.place = recent_.begin();
    // A `done` may read again, so the slot need not be there any more after one.
    for (const Waiter& waiter : waiters) {
      --waiter.read->missing;
      give(slot.data, waiter);
    }
    for (const Waiter& waiter : waiters)
      if (!is_over_ && waiter.read->missing == 0 && waiter.read->done) std::exchange(waiter.read->done, nullptr)({});
    go_on();
  }

  // Copies what the read wants of the chunk. An index that gives one id two lengths is wrong in one of its places.
  void give(const Bytes& data, const Waiter& waiter) {
    const std::uint64_t length = index_.length_of(waiter.number);
    Read& read = *waiter.read;
    if (data.size() != length)
      return end_later_with(Error(ErrorKind::corrupt, fmt::format("chunk {} has {} bytes, the index says {}",
                                                                  index_.entries[waiter.number].id.hex(), data.size(), length)),
                            waiter);
    if (!read.done) return;  // it has failed, and its buffer is not ours any more
    const auto [from, to, at] = overlap(waiter.number, read);
    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(from), to - from, read.into.begin() + static_cast<std::ptrdiff_t>(at));
  }

  void copy_zeros(std::size_t number, Read& read) {
    const auto [from, to, at] = overlap(number, read);
    std::fill_n(read.into.begin() + static_cast<std::ptrdiff_t>(at), to - from, std::byte{0});
  }

  // The part of the chunk that the read wants: from where to where in the chunk, and where in the read's buffer.
  struct Overlap {
    std::uint64_t from, to, at;
  };
  Overlap overlap(std::size_t number, const Read& read) const {
    const std::uint64_t start = index_.start_of(number);
    const std::uint64_t from = std::max(start, read.offset);
    const std::uint64_t to = std::min(index_.entries[number].end, read.offset + read.into.size());
    return {from - start, to - start, from - read.offset};
  }

  Error at_chunk(std::size_t number, const Error& error) const {
    return error.within(
        fmt::format("{}: chunk {} of {}, at offset {}", title_, number, index_.entries.size(), index_.start_of(number)));
  }

  void end_later_with(const Error& error, const Waiter& waiter) {
    const Error placed = at_chunk(waiter.number, error);
    log_.error("a chunk can not be used", {{"blob", title_}, {"error", placed.message()}});
    scheduler_.post([placed, done = std::exchange(waiter.read->done, nullptr)]() mutable {
      if (done) done(fail(placed));
    });
  }

  const std::string title_;
  const Index index_;
  const ZeroChunk zeros_;
  ChunkStore& store_;
  net::Scheduler& scheduler_;
  const BlobViewOptions options_;
  const Log log_;
  ReadAhead read_ahead_;
  Slots slots_;
  std::list<ChunkId> recent_;      // those that are here, the last used first
  std::list<ChunkId> urgent_;      // to be fetched: somebody waits
  std::list<ChunkId> ahead_;       // to be fetched when nobody does
  std::uint64_t ahead_bytes_ = 0;  // queued, on their way or here, and not yet wanted
  std::size_t requests_ = 0;       // on their way
  std::uint64_t bytes_on_their_way_ = 0;
  Counters counters_;
  bool is_over_ = false;
};

BlobView::BlobView(std::string title, Index index, ChunkStore& store, net::Scheduler& scheduler, const BlobViewOptions& options,
                   const Log& log)
    : impl_(std::make_shared<Impl>(std::move(title), std::move(index), store, scheduler, options, log)) {}

BlobView::~BlobView() {
  impl_->give_up();
}

std::uint64_t BlobView::size() const {
  return impl_->index().blob_size();
}

const BlobView::Counters& BlobView::counters() const {
  return impl_->counters();
}

void BlobView::read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  std::optional<Error> wrong = store::range_error("read", impl_->title(), offset, into.size(), size());
  if (!wrong && !into.empty()) return impl_->read(offset, into, std::move(done));
  impl_->scheduler().post([wrong = std::move(wrong), done = std::move(done)]() mutable {
    done(wrong ? Result<void>(fail(std::move(*wrong))) : Result<void>());
  });
}

void BlobView::extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) {
  Result<std::vector<store::Extent>> extents;
  if (std::optional<Error> wrong = store::range_error("extents of", impl_->title(), offset, length, size())) {
    extents = fail(std::move(*wrong));
  } else if (length > 0) {
    const Index& index = impl_->index();
    const std::size_t first = index.chunk_at(offset);
    const std::uint64_t end = offset + length;
    for (std::size_t i = first; i < index.entries.size() && index.start_of(i) < end && i - first < kExtentChunksMax; ++i) {
      const bool zero = impl_->is_zero(i);
      const std::uint64_t from = std::max(index.start_of(i), offset);
      const std::uint64_t count = std::min(index.entries[i].end, end) - from;
      if (!extents->empty() && extents->back().zero == zero)
        extents->back().length += count;
      else
        extents->push_back({.offset = from, .length = count, .hole = zero, .zero = zero});
    }
  }
  impl_->scheduler().post([extents = std::move(extents), done = std::move(done)]() mutable { done(std::move(extents)); });
}

void BlobView::prefetch(std::uint64_t offset, std::uint64_t length) {
  if (offset < size()) impl_->fetch_ahead(offset, offset + std::min(length, size() - offset));
}

void BlobView::write(std::uint64_t offset, ConstBytes from, store::Durability, Done<void> done) {
  zero(offset, from.size(), store::ZeroMode::may_punch, store::Durability::written, std::move(done));
}

void BlobView::zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode, store::Durability, Done<void> done) {
  impl_->scheduler().post([error = store::change_error("write", impl_->title(), offset, length, *this),
                           done = std::move(done)]() mutable { done(fail(std::move(*error))); });
}

void BlobView::discard(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  zero(offset, length, store::ZeroMode::may_punch, store::Durability::written, std::move(done));
}

void BlobView::flush(Done<void> done) {
  impl_->scheduler().post([done = std::move(done)]() mutable { done({}); });
}

}  // namespace godwit::chunks
