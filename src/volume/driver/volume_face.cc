#include "volume/driver/volume_face.h"

#include <utility>

#include "base/checked.h"

namespace godwit::volume {

using store::Durability;
using store::Extent;
using store::ZeroMode;

VolumeFace::VolumeFace(net::Scheduler& scheduler, Geometry geometry, BlockGate& gate, DirtyTracker& tracker,
                       VolatilityMonitor& heat)
    : scheduler_(scheduler), geometry_(geometry), gate_(gate), tracker_(tracker), heat_(heat) {}

static Error shut_down_error() {
  return Error(ErrorKind::shut_down, "the volume is not served here");
}

// --- modes ---

void VolumeFace::set_cache(WaitingCache* cache) {
  cache_ = cache;
  // Whoever waited for blocks of the old cache looks again: they are all here, or the new one decides.
  std::map<WaitingCache::WaiterId, Held> waiting = std::exchange(waiting_, {});
  for (auto& [id, request] : waiting) request.go();
}

void VolumeFace::set_policy(bool early_reads, bool early_writes) {
  early_reads_ = early_reads;
  early_writes_ = early_writes;
}

void VolumeFace::set_relay(store::BlockDevice* relay) {
  relay_ = relay;
  if (relay_ && mode_ == FaceMode::relay) set_mode(FaceMode::relay);
}

void VolumeFace::set_mode(FaceMode mode) {
  mode_ = mode;
  if (mode == FaceMode::hold || held_.empty()) return;
  // One that must still be held queues up again behind those taken out here: the order stays.
  std::deque<Held> held = std::exchange(held_, {});
  for (Held& request : held) request.go();
}

void VolumeFace::when_drained(net::Task drained) {
  if (running_ == 0) return drained();
  drained_ = std::move(drained);
}

void VolumeFace::ended() {
  if (--running_ == 0 && drained_) std::exchange(drained_, nullptr)();
}

void VolumeFace::wake_waiters() {
  while (cache_) {
    const std::optional<WaitingCache::WaiterId> ready = cache_->poll_ready();
    if (!ready) return;
    const auto it = waiting_.find(*ready);
    if (it == waiting_.end()) continue;
    Held request = std::move(it->second);
    waiting_.erase(it);
    request.go();
  }
}

void VolumeFace::fail_all(const Error& error) {
  std::deque<Held> held = std::exchange(held_, {});
  std::map<WaitingCache::WaiterId, Held> waiting = std::exchange(waiting_, {});
  for (auto& [id, request] : waiting) {
    if (cache_) cache_->forget(id);
    request.fail(error);
  }
  for (Held& request : held) request.fail(error);
}

template <class T>
void VolumeFace::hold(Done<T> done, std::move_only_function<void(Done<T>)> go) {
  auto shared = std::make_shared<Done<T>>(std::move(done));
  held_.push_back({[shared, go = std::move(go)]() mutable { go(std::move(*shared)); },
                   [shared](Error error) { (*shared)(fail(std::move(error))); }});
  if (mode_ == FaceMode::relay && relay_ == nullptr && relay_wish_) relay_wish_();
}

template <class T>
void VolumeFace::wait_for_blocks(WaitingCache::WaiterId waiter, Done<T> done, std::move_only_function<void(Done<T>)> go) {
  auto shared = std::make_shared<Done<T>>(std::move(done));
  waiting_.emplace(waiter, Held{[shared, go = std::move(go)]() mutable { go(std::move(*shared)); },
                                [shared](Error error) { (*shared)(fail(std::move(error))); }});
  if (cache_wish_) cache_wish_();
}

// A relayed request that the other host says it has not executed is held, and goes where the volume is then.
template <class T>
Done<T> VolumeFace::relayed(Done<T> done, std::move_only_function<void(Done<T>)> again) {
  return [this, done = std::move(done), again = std::move(again)](Result<T> result) mutable {
    if (result || result.error().kind() != ErrorKind::moved) return done(std::move(result));
    if (mode_ != FaceMode::relay) return again(std::move(done));
    hold<T>(std::move(done), std::move(again));
    if (moved_) moved_();
  };
}

// --- requests ---

void VolumeFace::read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  if (!within(offset, into.size(), geometry_.size_bytes))
    return done(fail(ErrorKind::invalid, "read at offset " + std::to_string(offset) + " beyond the volume's end"));
  const auto again = [this, offset, into](Done<void> d) { read(offset, into, std::move(d)); };
  switch (mode_) {
    case FaceMode::serve:
      ++running_;
      return store_->read(offset, into, [this, done = std::move(done)](Result<void> result) mutable {
        done(std::move(result));
        ended();
      });
    case FaceMode::early_reads:
      if (early_reads_) return early_read(offset, into, std::move(done));
      return hold<void>(std::move(done), again);
    case FaceMode::relay:
      if (!relay_) return hold<void>(std::move(done), again);
      return relay_->read(offset, into, relayed<void>(std::move(done), again));
    case FaceMode::none:
    case FaceMode::hold: return hold<void>(std::move(done), again);
    case FaceMode::refuse: return done(fail(shut_down_error()));
  }
}

// Waits for absent blocks, then keeps the source's writes out of them while reading.
void VolumeFace::early_read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  if (cache_) {
    const WaitingCache::WaiterId waiter = next_waiter_++;
    if (!cache_->want_read(waiter, offset, into.size()))
      return wait_for_blocks<void>(waiter, std::move(done),
                                   [this, offset, into](Done<void> d) { read(offset, into, std::move(d)); });
  }
  if (into.empty()) return done({});
  const std::uint64_t first = geometry_.block_at(offset).value;
  const std::uint64_t last = geometry_.block_at(offset + into.size() - 1).value + 1;
  ++running_;
  gate_.enter(BlockGate::Party::inside, first, last,
              [this, offset, into, done = std::move(done)](BlockGate::Ticket ticket) mutable {
                store_->read(offset, into, [this, ticket, done = std::move(done)](Result<void> result) mutable {
                  gate_.leave(ticket);
                  done(std::move(result));
                  ended();
                });
              });
}

void VolumeFace::change(std::uint64_t offset, std::uint64_t length, Done<void> done,
                        std::move_only_function<void(Done<void>)> execute) {
  if (length == 0) return done({});
  const std::uint64_t first = geometry_.block_at(offset).value;
  const std::uint64_t last = geometry_.block_at(offset + length - 1).value + 1;
  ++running_;
  was_written_ = true;
  gate_.enter(BlockGate::Party::inside, first, last,
              [this, offset, length, first, last, done = std::move(done),
               execute = std::move(execute)](BlockGate::Ticket ticket) mutable {
                execute([this, ticket, offset, length, first, last, done = std::move(done)](Result<void> result) mutable {
                  // Whatever became of it, bytes may have changed.
                  tracker_.note_write(first, last);
                  heat_.note_write(scheduler_.now(), first, last);
                  if (cache_ && result) cache_->note_local_write(offset, length);
                  gate_.leave(ticket);
                  done(std::move(result));
                  if (cache_) {
                    wake_waiters();
                    if (cache_wish_) cache_wish_();
                  }
                  ended();
                });
              });
}

void VolumeFace::write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) {
  if (!within(offset, from.size(), geometry_.size_bytes))
    return done(fail(ErrorKind::no_space, "write at offset " + std::to_string(offset) + " beyond the volume's end"));
  const auto again = [this, offset, from, durability](Done<void> d) { write(offset, from, durability, std::move(d)); };
  if (mode_ == FaceMode::none || mode_ == FaceMode::hold || waits_for_ownership() || (mode_ == FaceMode::relay && !relay_))
    return hold<void>(std::move(done), again);
  if (mode_ == FaceMode::refuse) return done(fail(shut_down_error()));
  if (mode_ == FaceMode::relay) return relay_->write(offset, from, durability, relayed<void>(std::move(done), again));
  if (cache_) {
    const WaitingCache::WaiterId waiter = next_waiter_++;
    if (!cache_->want_write(waiter, offset, from.size())) return wait_for_blocks<void>(waiter, std::move(done), again);
  }
  change(offset, from.size(), std::move(done),
         [this, offset, from, durability](Done<void> d) { store_->write(offset, from, durability, std::move(d)); });
}

void VolumeFace::zero(std::uint64_t offset, std::uint64_t length, ZeroMode zero_mode, Durability durability, Done<void> done) {
  if (!within(offset, length, geometry_.size_bytes))
    return done(fail(ErrorKind::no_space, "zeroing at offset " + std::to_string(offset) + " beyond the volume's end"));
  const auto again = [=, this](Done<void> d) { zero(offset, length, zero_mode, durability, std::move(d)); };
  if (mode_ == FaceMode::none || mode_ == FaceMode::hold || waits_for_ownership() || (mode_ == FaceMode::relay && !relay_))
    return hold<void>(std::move(done), again);
  if (mode_ == FaceMode::refuse) return done(fail(shut_down_error()));
  if (mode_ == FaceMode::relay) return relay_->zero(offset, length, zero_mode, durability, relayed<void>(std::move(done), again));
  if (cache_) {
    const WaitingCache::WaiterId waiter = next_waiter_++;
    if (!cache_->want_write(waiter, offset, length)) return wait_for_blocks<void>(waiter, std::move(done), again);
  }
  change(offset, length, std::move(done),
         [=, this](Done<void> d) { store_->zero(offset, length, zero_mode, durability, std::move(d)); });
}

void VolumeFace::discard(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  if (!within(offset, length, geometry_.size_bytes))
    return done(fail(ErrorKind::no_space, "trim at offset " + std::to_string(offset) + " beyond the volume's end"));
  const auto again = [this, offset, length](Done<void> d) { discard(offset, length, std::move(d)); };
  if (mode_ == FaceMode::none || mode_ == FaceMode::hold || waits_for_ownership() || (mode_ == FaceMode::relay && !relay_))
    return hold<void>(std::move(done), again);
  if (mode_ == FaceMode::refuse) return done(fail(shut_down_error()));
  if (mode_ == FaceMode::relay) return relay_->discard(offset, length, relayed<void>(std::move(done), again));
  if (cache_) return done({});  // a promise that allows doing nothing
  change(offset, length, std::move(done),
         [this, offset, length](Done<void> d) { store_->discard(offset, length, std::move(d)); });
}

void VolumeFace::flush(Done<void> done) {
  const auto again = [this](Done<void> d) { flush(std::move(d)); };
  switch (mode_) {
    case FaceMode::serve: break;
    case FaceMode::early_reads:
      if (!early_writes_) {
        // With a write waiting for ownership the flush waits behind it; with nothing written there is nothing to make durable.
        if (!held_.empty()) return hold<void>(std::move(done), again);
        return done({});
      }
      break;
    case FaceMode::relay:
      if (!relay_) return hold<void>(std::move(done), again);
      return relay_->flush(relayed<void>(std::move(done), again));
    case FaceMode::none:
    case FaceMode::hold: return hold<void>(std::move(done), again);
    case FaceMode::refuse: return done(fail(shut_down_error()));
  }
  ++running_;
  store_->flush([this, done = std::move(done)](Result<void> result) mutable {
    done(std::move(result));
    ended();
  });
}

void VolumeFace::extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) {
  if (!within(offset, length, geometry_.size_bytes) || length == 0)
    return done(fail(ErrorKind::invalid, "block status beyond the volume's end"));
  const auto again = [this, offset, length](Done<std::vector<Extent>> d) { extents(offset, length, std::move(d)); };
  switch (mode_) {
    case FaceMode::serve:
      ++running_;
      return store_->extents(offset, length, [this, done = std::move(done)](Result<std::vector<Extent>> result) mutable {
        done(std::move(result));
        ended();
      });
    case FaceMode::early_reads: return done(std::vector<Extent>{{offset, length, false, false}});  // an absent block is data
    case FaceMode::relay:
      if (!relay_) return hold<std::vector<Extent>>(std::move(done), again);
      return relay_->extents(offset, length, relayed<std::vector<Extent>>(std::move(done), again));
    case FaceMode::none:
    case FaceMode::hold: return hold<std::vector<Extent>>(std::move(done), again);
    case FaceMode::refuse: return done(fail(shut_down_error()));
  }
}

void VolumeFace::prefetch(std::uint64_t offset, std::uint64_t length) {
  if (mode_ == FaceMode::serve && store_) store_->prefetch(offset, length);
}

}  // namespace godwit::volume
