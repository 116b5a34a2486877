// One volume at this host: its store, its record on disk, its ownership, and what its clients see. The sessions (source_link.h,
// destination_link.h) move its blocks; the host (volume_host.h) carries its messages. Everything runs on one scheduler thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "net/scheduler.h"
#include "store/block_device.h"
#include "store/directory.h"
#include "store/overlay_device.h"
#include "volume/core/block_gate.h"
#include "volume/core/dirty_tracker.h"
#include "volume/core/ownership.h"
#include "volume/core/volatility.h"
#include "volume/core/waiting_cache.h"
#include "volume/driver/volume_face.h"

namespace godwit::volume {

// Where a volume's record lies. Memory volumes have none: they live and die with the process.
struct RecordPlace {
  store::Directory* directory = nullptr;  // null: no record on disk
  std::string record_name;                // "NAME.own"
  bool renames_data = false;              // plain files and overlays: the data file's name follows the record
  bool exists = false;                    // the record file is there already
};

// What a volume asks of its host: effects of its Ownership that concern connections.
class VolumeEvents {
 public:
  virtual ~VolumeEvents() = default;
  virtual void handle_effect(class Volume& volume, OwnershipEffect& effect) = 0;
  virtual void handle_mode(class Volume& volume) = 0;  // the face mode changed
};

class Volume {
 public:
  // `record` as read, or fresh. All references outlive the volume. Runs nothing until start().
  Volume(net::Scheduler& scheduler, VolumeEvents& events, std::string name, LocalHost me, Record record, bool fresh,
         std::unique_ptr<store::BlockDevice> store, RecordPlace place, Random random);
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  void start();
  // Gives out what the ownership has decided; call after every fact told to it.
  void pump();

  const std::string& name() const { return name_; }
  Geometry geometry() const { return ownership_.record().geometry; }
  const VolumeId& id() const { return ownership_.record().volume; }
  Ownership& ownership() { return ownership_; }
  const Ownership& ownership() const { return ownership_; }
  VolumeFace& face() { return face_; }
  store::BlockDevice& store() { return *store_; }
  DirtyTracker& tracker() { return tracker_; }
  VolatilityMonitor& heat() { return heat_; }
  BlockGate& gate() { return gate_; }
  WaitingCache* cache() { return cache_.get(); }
  bool is_memory() const { return place_.directory == nullptr; }
  // With --after-handover=refuse clients get ESHUTDOWN where they would be relayed.
  void set_relaying_allowed(bool allowed) { relaying_allowed_ = allowed; }
  // The store is this overlay, on a base with this hash. Before start().
  void set_overlay(store::OverlayDevice& overlay, const Sha256& base_hash) {
    overlay_ = &overlay;
    ownership_.set_base(base_hash);
  }
  store::OverlayDevice* overlay() { return overlay_; }
  // A fresh copy whose store has been filled with the base that the source means: base blocks are here without an overlay.
  void set_filled_with_base() { filled_with_base_ = true; }
  // A data file made just now: what was never written reads as zeros.
  void set_pristine() { pristine_ = Bitset(geometry().block_count()), pristine_.set_range(0, pristine_.size()); }

  // --- the migration's side ---
  // A whole block, or its short rest at the end, as it was at one instant.
  void read_block(BlockIndex block, MutableBytes into, Done<void> done);
  // Any range, block-consistent; for a peer's ReadAt.
  void read_range(std::uint64_t offset, MutableBytes into, Done<void> done);
  // The source's bytes; blocks written here meanwhile keep theirs. The cache is not told: the session does that.
  void store_remote(std::uint64_t offset, ConstBytes from, Done<void> done);
  // The source's zeros, without bytes.
  void zero_remote(std::uint64_t offset, std::uint64_t length, Done<void> done);
  // For bytes received straight into memory(): to be called before the first byte arrives and after the last.
  void placed_remote(std::uint64_t offset, std::uint64_t length);
  // An overlay's blocks that are still the base's; from here on writes to them are dirty.
  Bitset track_base();
  // These blocks, ascending, are the base's again, whatever the overlay had there. ErrorKind::unsupported where the store is no
  // overlay.
  void take_base(const std::vector<std::uint32_t>& blocks, Done<void> done);
  // The addresses that a source keeps in it (silo.md 5.9), as of its Completed: slots by id. For whoever uses them here.
  void set_addresses(std::map<std::uint64_t, std::uint64_t> addresses) { addresses_ = std::move(addresses); }
  const std::map<std::uint64_t, std::uint64_t>& addresses() const { return addresses_; }
  // A copy is being received (anew): every block is absent.
  void begin_receiving();
  // Flushes the store; counts how long it took for nobody, it just tells.
  void sync(Done<void> done) { store_->flush(std::move(done)); }
  // sync(), as the last thing: an overlay then also leaves the original's list of its blocks, where it has one.
  void close(Done<void> done) { overlay_ != nullptr ? overlay_->close(std::move(done)) : sync(std::move(done)); }

 private:
  void apply(OwnershipEffect effect);
  void write_record(const Record& record);
  void agree_names(const AgreeNames& names);
  void note_stored(std::uint64_t offset, std::uint64_t length);
  // Calls `part` for each maximal sub-range of blocks that are not local; false when there is none.
  void for_each_foreign(std::uint64_t offset, std::uint64_t length, std::function<void(std::uint64_t, std::uint64_t)> part);

  net::Scheduler& scheduler_;
  VolumeEvents& events_;
  std::string name_;
  std::unique_ptr<store::BlockDevice> store_;
  store::OverlayDevice* overlay_ = nullptr;  // store_, where it is one
  bool filled_with_base_ = false;
  RecordPlace place_;
  Ownership ownership_;
  BlockGate gate_;
  DirtyTracker tracker_;
  VolatilityMonitor heat_;
  std::unique_ptr<WaitingCache> cache_;
  VolumeFace face_;
  Bitset pristine_;
  std::map<std::uint64_t, std::uint64_t> addresses_;
  std::uint64_t writeback_begin_ = 0;
  std::uint64_t writeback_end_ = 0;
  bool relaying_allowed_ = true;
  bool pumping_ = false;
  bool pump_again_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
