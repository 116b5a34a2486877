#include "store/overlay_device.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "store/request_range.h"

namespace godwit::store {

namespace {

// Ends when all of its parts have; the first error is the whole's.
class Join : public std::enable_shared_from_this<Join> {
 public:
  explicit Join(Done<void> done) : done_(std::move(done)) {}

  Done<void> part() {
    ++open_;
    return [self = shared_from_this()](Result<void> result) {
      if (!result && self->result_) self->result_ = std::move(result);
      if (--self->open_ == 0) self->done_(std::move(self->result_));
    };
  }

 private:
  Done<void> done_;
  Result<void> result_;
  std::size_t open_ = 0;
};

}  // namespace

// A write or a zeroing.
struct OverlayDevice::Change {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::optional<ConstBytes> from;  // nothing: zeros
  ZeroMode mode = ZeroMode::may_punch;
  Durability durability = Durability::written;
  Done<void> done;
};

// The longest stretch from some offset that lies on one side.
struct OverlayDevice::Run {
  bool in_overlay = false;
  std::uint64_t length = 0;
};

OverlayDevice::OverlayDevice(std::unique_ptr<BlockDevice> base, std::unique_ptr<BlockDevice> overlay, Directory& directory,
                             net::Scheduler& scheduler, OverlayOptions options)
    : geometry_{overlay->size(), options.block_size},
      options_(std::move(options)),
      directory_(directory),
      scheduler_(scheduler),
      base_(std::move(base)),
      overlay_(std::move(overlay)),
      in_overlay_(geometry_.block_count()),
      saved_(geometry_.block_count()),
      moving_(geometry_.block_count()),
      dropped_(geometry_.block_count()) {}

// First what still runs into callers' buffers.
OverlayDevice::~OverlayDevice() {
  *alive_ = false;
  overlay_.reset();
  base_.reset();
}

void OverlayDevice::open(std::unique_ptr<BlockDevice> base, std::unique_ptr<BlockDevice> overlay, Directory& directory,
                         net::Scheduler& scheduler, OverlayOptions options, Done<std::unique_ptr<OverlayDevice>> done) {
  GODWIT_CHECK(options.block_size > 0);
  if (base->size() != overlay->size()) {
    std::string why = fmt::format("an overlay of {} bytes on a base of {}", overlay->size(), base->size());
    return scheduler.post([done = std::move(done), why = std::move(why)]() mutable { done(fail(ErrorKind::invalid, why)); });
  }
  std::unique_ptr<OverlayDevice> device(
      new OverlayDevice(std::move(base), std::move(overlay), directory, scheduler, std::move(options)));
  OverlayDevice& opening = *device;
  opening.load([device = std::move(device), done = std::move(done)](Result<void> loaded) mutable {
    if (!loaded) return done(fail(std::move(loaded.error())));
    done(std::move(device));
  });
}

// The callback given to load() owns the device, so these may say `this`.
void OverlayDevice::load(Done<void> done) {
  directory_.read_file(options_.bitmap_name, [this, done = std::move(done)](Result<Bytes> file) mutable {
    if (file) {
      Result<Bitset> blocks = decode_overlay_bitmap(geometry_, *file);
      if (!blocks) return done(fail(std::move(blocks.error()).within(options_.bitmap_name)));
      in_overlay_ = saved_ = std::move(*blocks);
      return done({});
    }
    if (file.error().kind() != ErrorKind::not_found) return done(fail(std::move(file.error())));
    if (options_.list_name.empty()) return done({});
    directory_.read_file(options_.list_name, [this, done = std::move(done)](Result<Bytes> list) mutable {
      if (!list) return list.error().kind() == ErrorKind::not_found ? done({}) : done(fail(std::move(list.error())));
      Result<Bitset> blocks = decode_block_list(geometry_, *list);
      if (!blocks) return done(fail(std::move(blocks.error()).within(options_.list_name)));
      in_overlay_ = std::move(*blocks);
      unsaved_ = true;
      done({});
    });
  });
}

template <class T>
void OverlayDevice::finish(Done<T> done, std::type_identity_t<Result<T>> result) {
  scheduler_.post(guarded([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); }));
}

template <class F>
auto OverlayDevice::guarded(F f) {
  return [alive = alive_, f = std::move(f)](auto&&... arguments) mutable {
    if (*alive) f(std::forward<decltype(arguments)>(arguments)...);
  };
}

OverlayDevice::Run OverlayDevice::run_at(std::uint64_t offset, std::uint64_t end) const {
  const std::uint64_t block = offset / geometry_.block_size;
  const bool in_overlay = in_overlay_.test(block);
  const std::uint64_t next = in_overlay ? in_overlay_.next_clear(block) : in_overlay_.next_set(block);
  const std::uint64_t stop = next >= in_overlay_.size() ? end : std::min(end, next * geometry_.block_size);
  return {in_overlay, stop - offset};
}

std::uint64_t OverlayDevice::blocks_end(std::uint64_t offset, std::uint64_t length) const {
  return divide_up<std::uint64_t>(offset + length, geometry_.block_size);
}

void OverlayDevice::read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  if (auto error = range_error("read", "overlay", offset, into.size(), size())) return finish(std::move(done), fail(*error));
  if (into.empty()) return finish(std::move(done), {});
  auto join = std::make_shared<Join>(std::move(done));
  const std::uint64_t end = offset + into.size();
  // Each part only ends in a later turn, so the join is complete before any does.
  while (offset < end) {
    const Run run = run_at(offset, end);
    const MutableBytes part = into.first(run.length);
    if (run.in_overlay) {
      ++overlay_reads_;
      overlay_->read(offset, part, guarded([this, ended = join->part()](Result<void> result) mutable {
                       --overlay_reads_;
                       ended(std::move(result));
                     }));
    } else {
      base_->read(offset, part, guarded(join->part()));
    }
    into = into.subspan(run.length);
    offset += run.length;
  }
}

void OverlayDevice::write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) {
  if (auto error = change_error("write", "overlay", offset, from.size(), *this)) return finish(std::move(done), fail(*error));
  change({offset, from.size(), from, {}, durability, std::move(done)});
}

void OverlayDevice::zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability, Done<void> done) {
  if (auto error = change_error("zero", "overlay", offset, length, *this)) return finish(std::move(done), fail(*error));
  change({offset, length, std::nullopt, mode, durability, std::move(done)});
}

// Runs `task` as soon as no block of [first, last) is moving; at once where that is so.
void OverlayDevice::when_settled(std::uint64_t first, std::uint64_t last, net::Task task) {
  if (!moving_.any_in(first, last)) return task();
  waiting_.push_back({first, last, std::move(task)});
}

// Some blocks have stopped moving: who waited for them goes on, in order. A block moves at most once per write or drop, so
// nobody waits for ever.
void OverlayDevice::settle() {
  for (auto next = waiting_.begin(); next != waiting_.end();) {
    if (moving_.any_in(next->first, next->last)) {
      ++next;
      continue;
    }
    net::Task task = std::move(next->task);
    next = waiting_.erase(next);
    task();
  }
}

void OverlayDevice::change(Change change) {
  if (change.length == 0) return finish(std::move(change.done), {});
  const std::uint64_t first = change.offset / geometry_.block_size;
  const std::uint64_t last = blocks_end(change.offset, change.length);
  when_settled(first, last, [this, change = std::move(change)]() mutable { start(std::move(change)); });
}

void OverlayDevice::start(Change change) {
  const std::uint64_t first = change.offset / geometry_.block_size;
  const std::uint64_t last = blocks_end(change.offset, change.length);
  const bool named = in_overlay_.all_in(first, last) && saved_.all_in(first, last);
  if (change.durability == Durability::durable && !named) {
    // Durable is only what the bitmap names: an ordinary change and a flush.
    change.durability = Durability::written;
    change.done = [this, done = std::move(change.done)](Result<void> result) mutable {
      if (!result) return done(std::move(result));
      flush(std::move(done));
    };
  }
  if (!in_overlay_.all_in(first, last)) return move_over(std::move(change));
  Done<void> done = guarded(std::move(change.done));
  apply(change, change.durability, std::move(done));
}

void OverlayDevice::apply(const Change& change, Durability durability, Done<void> done) {
  if (change.from)
    overlay_->write(change.offset, *change.from, durability, std::move(done));
  else
    overlay_->zero(change.offset, change.length, change.mode, durability, std::move(done));
}

// A change of blocks of which at least one is still the base's. They count as the overlay's when all of their bytes are there.
void OverlayDevice::move_over(Change change) {
  const std::uint64_t size = geometry_.block_size;
  const std::uint64_t end = change.offset + change.length;
  const std::uint64_t first = change.offset / size;
  const std::uint64_t last = blocks_end(change.offset, change.length);
  Bitset moved(last - first);
  for (std::uint64_t block = first; block < last; ++block) {
    if (in_overlay_.test(block)) continue;
    moved.set(block - first);
    moving_.set(block);
  }
  const bool first_moves = moved.test(0), last_moves = moved.test(last - 1 - first);
  auto ended = [this, first, moved = std::move(moved), done = std::move(change.done)](Result<void> result) mutable {
    for (std::uint64_t i = moved.next_set(0); i < moved.size(); i = moved.next_set(i + 1)) {
      moving_.clear(first + i);
      if (result) in_overlay_.set(first + i);
    }
    unsaved_ |= result.has_value();
    settle();
    done(std::move(result));
  };
  auto join = std::make_shared<Join>(guarded(std::move(ended)));
  const std::uint64_t head = first * size, tail_end = std::min(last * size, geometry_.device_size);
  apply(change, Durability::written, join->part());
  if (first_moves && head < change.offset) copy_up(head, change.offset - head, join->part());
  if (last_moves && end < tail_end) copy_up(end, tail_end - end, join->part());
}

// The base's bytes to the same place of the overlay.
void OverlayDevice::copy_up(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  auto buffer = std::make_shared<Bytes>(length);
  base_->read(offset, *buffer, guarded([this, offset, buffer, done = std::move(done)](Result<void> result) mutable {
                if (!result) return done(std::move(result));
                overlay_->write(offset, *buffer, Durability::written,
                                [buffer, done = std::move(done)](Result<void> written) mutable { done(std::move(written)); });
              }));
}

// The base's blocks keep their bytes, as a discard may; giving an overlay's block back to the base would show bytes that were
// neither zero nor there before.
void OverlayDevice::discard(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  if (auto error = change_error("discard", "overlay", offset, length, *this)) return finish(std::move(done), fail(*error));
  auto join = std::make_shared<Join>(std::move(done));
  Done<void> whole = join->part();
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const Run run = run_at(offset, end);
    if (run.in_overlay) overlay_->discard(offset, run.length, guarded(join->part()));
    offset += run.length;
  }
  finish(std::move(whole), {});
}

void OverlayDevice::extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) {
  if (auto error = range_error("extents of", "overlay", offset, length, size())) return finish(std::move(done), fail(*error));
  if (length == 0) return finish(std::move(done), std::vector<Extent>{});
  const Run run = run_at(offset, offset + length);
  (run.in_overlay ? overlay_ : base_)->extents(offset, run.length, guarded(std::move(done)));
}

void OverlayDevice::start_writeback(std::uint64_t offset, std::uint64_t length) {
  overlay_->start_writeback(offset, length);
}

void OverlayDevice::prefetch(std::uint64_t offset, std::uint64_t length) {
  if (!within(offset, length, size())) return;
  for (const std::uint64_t end = offset + length; offset < end;) {
    const Run run = run_at(offset, end);
    (run.in_overlay ? overlay_ : base_)->prefetch(offset, run.length);
    offset += run.length;
  }
}

void OverlayDevice::drop(std::uint64_t first, std::uint64_t last, Done<void> done) {
  GODWIT_CHECK(first <= last && last <= in_overlay_.size());
  when_settled(first, last, [this, first, last, done = std::move(done)]() mutable {
    for (std::uint64_t block = in_overlay_.next_set(first); block < last; block = in_overlay_.next_set(block + 1)) {
      in_overlay_.clear(block);
      dropped_.set(block);
      unsaved_ = true;
    }
    finish(std::move(done), {});
  });
}

// Flushes that come while one runs share the next one.
void OverlayDevice::flush(Done<void> done) {
  flushes_waiting_.push_back(std::move(done));
  if (!flush_running_) start_flush();
}

void OverlayDevice::start_flush() {
  flush_running_ = true;
  save_bitmap([this, batch = std::exchange(flushes_waiting_, {})](Result<void> result) mutable {
    flush_running_ = false;
    if (!flushes_waiting_.empty()) start_flush();
    const std::shared_ptr<bool> alive = alive_;
    for (Done<void>& done : batch)
      if (*alive) done(result);
  });
}

// The overlay's bytes first, then the bitmap as it was before: so it names nothing that is not on stable storage.
void OverlayDevice::save_bitmap(Done<void> done) {
  std::optional<Bitset> saving;
  if (std::exchange(unsaved_, false)) saving = in_overlay_;
  overlay_->flush(guarded([this, saving = std::move(saving), done = std::move(done)](Result<void> flushed) mutable {
    if (!flushed) {
      unsaved_ |= saving.has_value();
      return done(std::move(flushed));
    }
    if (!saving) {
      free_dropped();
      return done({});
    }
    Bytes file = encode_overlay_bitmap(geometry_, *saving);
    directory_.replace_file(options_.bitmap_name, std::move(file),
                            guarded([this, saving = std::move(*saving), done = std::move(done)](Result<void> replaced) mutable {
                              if (replaced) {
                                saved_ = std::move(saving);
                                free_dropped();
                              } else {
                                unsaved_ = true;
                              }
                              done(std::move(replaced));
                            }));
  }));
}

void OverlayDevice::free_dropped() {
  if (overlay_reads_ > 0) return;  // one of them may have begun before the drop; the next flush frees
  for (std::uint64_t first = dropped_.next_set(0); first < dropped_.size(); first = dropped_.next_set(first)) {
    std::uint64_t last = first;
    while (last < dropped_.size() && dropped_.test(last) && !in_overlay_.test(last) && !moving_.test(last) && !saved_.test(last))
      moving_.set(last++);
    if (last == first) {
      // Written again since, or not yet saved as dropped.
      if (in_overlay_.test(first) || moving_.test(first)) dropped_.clear(first);
      ++first;
      continue;
    }
    dropped_.clear_range(first, last);
    const std::uint64_t offset = first * geometry_.block_size;
    const std::uint64_t end = std::min(last * geometry_.block_size, geometry_.device_size);
    // Whether it succeeds does not matter: nobody reads there.
    overlay_->discard(offset, end - offset, guarded([this, first, last](Result<void>) {
                        moving_.clear_range(first, last);
                        settle();
                      }));
    first = last;
  }
}

void OverlayDevice::close(Done<void> done) {
  flush([this, done = std::move(done)](Result<void> flushed) mutable {
    if (!flushed || options_.list_name.empty()) return done(std::move(flushed));
    Result<Bytes> list = encode_block_list(in_overlay_);
    if (!list) return done(fail(std::move(list.error())));
    directory_.replace_file(options_.list_name, std::move(*list), guarded(std::move(done)));
  });
}

}  // namespace godwit::store
