// A volume as its clients see it at this host: a block device whose requests are executed, held, or sent on, by the volume's face
// mode. Clients keep their connection through a hand-over; only what their requests wait for changes. Source: ownership.md 4,
// 7, 9.
#pragma once

#include <cstdint>
#include <deque>
#include <map>

#include "net/scheduler.h"
#include "store/block_device.h"
#include "volume/core/block_gate.h"
#include "volume/core/dirty_tracker.h"
#include "volume/core/ownership.h"
#include "volume/core/volatility.h"
#include "volume/core/waiting_cache.h"

namespace godwit::volume {

using store::Done;

class VolumeFace final : public store::BlockDevice {
 public:
  // All references are the volume's and outlive the face; `store` may be null until there is a copy here.
  VolumeFace(net::Scheduler& scheduler, Geometry geometry, BlockGate& gate, DirtyTracker& tracker, VolatilityMonitor& heat);

  void set_store(store::BlockDevice* store) { store_ = store; }
  // Null when the copy is whole and its cache retired.
  void set_cache(WaitingCache* cache);
  // `early_reads`: whether reads before ownership are answered at all; `early_writes`: only for copies that nobody else owns.
  void set_policy(bool early_reads, bool early_writes);
  // What requests go to in mode relay; null: they are held until there is one.
  void set_relay(store::BlockDevice* relay);
  // Called when a request waits for a relay that is not there, and when one was told that the volume has gone on from there.
  void on_relay_wish(std::function<void()> handler) { relay_wish_ = std::move(handler); }
  void on_moved(std::function<void()> handler) { moved_ = std::move(handler); }

  // Held requests go on as the new mode says, in their order.
  void set_mode(FaceMode mode);
  FaceMode mode() const { return mode_; }
  // Calls back once no request is being executed here (at once if none is); for the lock.
  void when_drained(net::Task drained);
  // Blocks came: requests that waited for them go on. Called by whoever feeds the cache.
  void wake_waiters();
  // Called when a request has made the cache want or not want a block: the session should look.
  void on_cache_wish(std::function<void()> handler) { cache_wish_ = std::move(handler); }
  // Every waiting and held request fails.
  void fail_all(const Error& error);

  std::size_t held() const { return held_.size(); }
  std::size_t running() const { return running_; }
  // Set once a client of ours has written while we owned it or before.
  bool was_written() const { return was_written_; }

  std::uint64_t size() const override { return geometry_.size_bytes; }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override;
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override;
  void flush(Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override;
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) override;
  void prefetch(std::uint64_t offset, std::uint64_t length) override;

 private:
  // A request that is not executed yet: `go` executes or holds it again, `fail` ends it.
  struct Held {
    net::Task go;
    std::move_only_function<void(Error)> fail;
  };
  template <class T>
  void hold(Done<T> done, std::move_only_function<void(Done<T>)> go);
  template <class T>
  void wait_for_blocks(WaitingCache::WaiterId waiter, Done<T> done, std::move_only_function<void(Done<T>)> go);
  // Runs a change of [offset, offset + length) under the gate, noting it where the migration must know.
  void change(std::uint64_t offset, std::uint64_t length, Done<void> done, std::move_only_function<void(Done<void>)> execute);
  void early_read(std::uint64_t offset, MutableBytes into, Done<void> done);
  template <class T>
  Done<T> relayed(Done<T> done, std::move_only_function<void(Done<T>)> again);
  void ended();
  bool waits_for_ownership() const { return mode_ == FaceMode::early_reads && !early_writes_; }

  net::Scheduler& scheduler_;
  Geometry geometry_;
  BlockGate& gate_;
  DirtyTracker& tracker_;
  VolatilityMonitor& heat_;
  store::BlockDevice* store_ = nullptr;
  store::BlockDevice* relay_ = nullptr;
  WaitingCache* cache_ = nullptr;
  FaceMode mode_ = FaceMode::none;
  bool early_reads_ = true;
  bool early_writes_ = false;
  bool was_written_ = false;
  std::size_t running_ = 0;
  net::Task drained_;
  std::deque<Held> held_;
  std::map<WaitingCache::WaiterId, Held> waiting_;
  WaitingCache::WaiterId next_waiter_ = 1;
  std::function<void()> cache_wish_;
  std::function<void()> relay_wish_;
  std::function<void()> moved_;
};

}  // namespace godwit::volume
