// Copy-on-write: a read-only base, and an overlay that has the blocks written since. Which side a block is on stands in a bitmap,
// in memory and as a file that never names a block before its bytes are on stable storage (docs/formats/overlay-bitmap.md). The
// base is never written. A write of part of a block that the overlay has not yet copies the base's rest first; writes to a block
// wait while it moves over.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "base/bitset.h"
#include "net/scheduler.h"
#include "store/block_device.h"
#include "store/directory.h"
#include "store/overlay_bitmap.h"

namespace godwit::store {

struct OverlayOptions {
  std::string bitmap_name;  // "NAME.cow", in the directory
  std::string list_name;    // the original's list of blocks: read when there is no bitmap, written by close(); "": neither
  std::uint32_t block_size = 64 * 1024;
};

class OverlayDevice final : public BlockDevice {
 public:
  // Reads the bitmap; without one and without a list the overlay is taken as empty. The base's and the overlay's size are equal
  // (else ErrorKind::invalid). The directory and the scheduler outlive the device.
  static void open(std::unique_ptr<BlockDevice> base, std::unique_ptr<BlockDevice> overlay, Directory& directory,
                   net::Scheduler& scheduler, OverlayOptions options, Done<std::unique_ptr<OverlayDevice>> done);
  ~OverlayDevice() override;

  std::uint32_t block_size() const { return geometry_.block_size; }
  // The blocks that are not the base's.
  const Bitset& overlay_blocks() const { return in_overlay_; }
  // Gives the base's version of blocks [first, last) again; durable with the next flush(), which also frees their space. Waits
  // for blocks that are just moving over.
  void drop(std::uint64_t first, std::uint64_t last, Done<void> done);
  // flush(), and then the original's list where one is named. The device is not written to meanwhile or afterwards.
  void close(Done<void> done);

  std::uint64_t size() const override { return geometry_.device_size; }
  bool read_only() const override { return overlay_->read_only(); }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override;
  void write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) override;
  void flush(Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability, Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override;
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) override;
  void start_writeback(std::uint64_t offset, std::uint64_t length) override;
  void prefetch(std::uint64_t offset, std::uint64_t length) override;

 private:
  struct Change;
  struct Run;
  struct Waiting {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    net::Task task;
  };

  OverlayDevice(std::unique_ptr<BlockDevice> base, std::unique_ptr<BlockDevice> overlay, Directory& directory,
                net::Scheduler& scheduler, OverlayOptions options);

  void load(Done<void> done);
  Run run_at(std::uint64_t offset, std::uint64_t end) const;
  std::uint64_t blocks_end(std::uint64_t offset, std::uint64_t length) const;

  void when_settled(std::uint64_t first, std::uint64_t last, net::Task task);
  void settle();

  void change(Change change);
  void start(Change change);
  void apply(const Change& change, Durability durability, Done<void> done);
  void move_over(Change change);
  void copy_up(std::uint64_t offset, std::uint64_t length, Done<void> done);

  void start_flush();
  void save_bitmap(Done<void> done);
  void free_dropped();

  template <class T>
  void finish(Done<T> done, std::type_identity_t<Result<T>> result);
  // A callback that is dropped when the device is gone.
  template <class F>
  auto guarded(F f);

  const OverlayGeometry geometry_;
  const OverlayOptions options_;
  Directory& directory_;
  net::Scheduler& scheduler_;
  std::unique_ptr<BlockDevice> base_;
  std::unique_ptr<BlockDevice> overlay_;

  Bitset in_overlay_;
  Bitset saved_;          // what the bitmap file says
  Bitset moving_;         // blocks on their way to the overlay, or whose space is being freed
  Bitset dropped_;        // whose space in the overlay may be freed once the file does not name them
  bool unsaved_ = false;  // in_overlay_ has changed since the last save began
  std::list<Waiting> waiting_;
  std::uint64_t overlay_reads_ = 0;  // under way; no space is freed under them

  std::vector<Done<void>> flushes_waiting_;
  bool flush_running_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::store
