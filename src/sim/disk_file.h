// One file of a simulated disk: what it reads as now, what of that is on stable storage, and the writes in between, each of which
// a power loss keeps, loses or tears on its own. No time passes in here; disk.h says when things happen.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "sim/sparse_bytes.h"

namespace godwit::sim {

inline constexpr std::uint64_t kSectorBytes = 512;

// How likely a power loss does what with a write that no flush covers. The rest is torn: each sector is old or new.
struct PowerLoss {
  double keeps = 0.4;
  double loses = 0.4;
};

class DiskFile {
 public:
  explicit DiskFile(std::uint64_t size) : size_(size) {}

  // A change of a range: `bytes` are written, or if there are none, `length` bytes zeroed.
  struct Change {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    Bytes bytes;
    bool keep_allocated = false;  // zeroing only
    std::uint64_t end() const { return offset + length; }
    // What is done of it when it fails: nothing, or some sectors from the front.
    void cut_short(Random& random);
  };

  std::uint64_t size() const { return size_; }
  const SparseBytes& live() const { return live_; }
  const SparseBytes& durable() const { return durable_; }
  std::size_t count_unsynced() const { return unsynced_.size(); }

  // The change is to be seen from now on; it may be beyond the end, which grows the file.
  void apply(Change change);
  // The same, and is on stable storage.
  void apply_durably(const Change& change);

  // Everything applied up to now; pass it to flush() when the flush ends.
  std::uint64_t flush_mark() const { return next_number_; }
  void flush(std::uint64_t mark);
  // A flush that failed: what it should have covered is still read, but no later flush makes it durable (the kernel has dropped
  // the dirty pages and told about it once).
  void fail_flush(std::uint64_t mark);

  // The power goes. `under_way` were asked for and not yet applied: they may have reached the disk as well.
  void lose_power(Random& random, const PowerLoss& odds, std::vector<Change> under_way);

 private:
  struct Unsynced {
    std::uint64_t number = 0;
    bool abandoned = false;
    Change change;
  };

  static void put(SparseBytes& bytes, const Change& change);
  static void put_torn(SparseBytes& bytes, const Change& change, Random& random);
  // What older writes left in this range is no longer on its way to the disk.
  void trim_unsynced(std::uint64_t before, std::uint64_t offset, std::uint64_t end);
  void write_back_oldest();

  std::uint64_t size_;
  SparseBytes live_;
  SparseBytes durable_;
  std::vector<Unsynced> unsynced_;  // in the order they were applied
  std::uint64_t next_number_ = 0;
  std::size_t count_abandoned_ = 0;
};

}  // namespace godwit::sim
