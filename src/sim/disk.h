// A machine's disk that can lose power: it implements store::Directory and store::BlockDevice in simulated time, outlives the
// crashes of its host, and on a power loss keeps, loses or tears each write that no flush covers (disk_file.h).
//
// Requests under way together end in any order. A write's bytes are taken from the caller's memory at some time before `done`.
// A change of a name is durable when it is done; a crash before that leaves the old or the new. A device that is destroyed
// forgets its callers, as production's do. Large devices cost what is written.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/disk_file.h"
#include "sim/world.h"
#include "store/directory.h"

namespace godwit::sim {

enum class DiskOp : std::uint8_t {
  read,
  write,  // also write_slot
  flush,
  zero,
  discard,
  extents,
  names,  // list, rename, remove, create, open
  read_file,
  replace_file,
  any,  // faults only
};
inline constexpr std::size_t kDiskOps = static_cast<std::size_t>(DiskOp::any);

struct DiskQuality {
  Duration latency_min = Duration::microseconds(20);
  Duration latency_max = Duration::microseconds(200);
  Duration flush_min = Duration::microseconds(200);
  Duration flush_max = Duration::milliseconds(3);
  std::uint64_t bandwidth_bytes_per_second = 2'000'000'000;  // 0: no limit
  double slow_chance = 0.01;                                 // that an operation takes slow_factor times its latency
  std::int64_t slow_factor = 50;
  PowerLoss power_loss;
};

struct DiskCounters {
  std::array<std::uint64_t, kDiskOps> ops{};
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t of(DiskOp op) const { return ops[static_cast<std::size_t>(op)]; }
  std::uint64_t total() const;
};

class Disk {
 public:
  Disk(World& world, std::string name);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  void set_quality(DiskQuality quality) { quality_ = quality; }
  // Nothing completes until it is freed again.
  void set_stuck(bool stuck);
  // The n-th operation of a kind from now (1: the next) fails; with `for_ever`, all after it as well. A write that fails may have
  // been done in part, a change of a name as a whole; what a failed flush should have covered is never made durable.
  void fail_nth(DiskOp op, std::uint64_t n, ErrorKind kind = ErrorKind::io, bool for_ever = false);
  void clear_faults() { faults_.clear(); }
  // Runs `then` once, as an event of its own, when the n-th operation of a kind from now has been asked for and has not ended: to
  // crash the host between any two steps, one n after the other, until a run asks for fewer than n.
  void call_at_nth(DiskOp op, std::uint64_t n, Task then);
  // How many faults have struck.
  std::uint64_t count_failed() const { return count_failed_; }
  const DiskCounters& counters() const { return counters_; }

  // For checkers, without time passing: the files of a folder, and one of them or null.
  std::vector<std::string> names(const std::string& folder) const;
  const DiskFile* find(const std::string& folder, const std::string& name) const;
  // Bits flip on the platter. The range lies within the file.
  void damage(const std::string& folder, const std::string& name, std::uint64_t offset, std::uint64_t length);

  // For Host. The folder as the incarnation `group` sees it; what happens to what is under way when its process dies and the
  // machine lives, and when the power goes.
  std::unique_ptr<store::Directory> attach(const std::string& folder, Group group);
  void process_died(Group group);
  void power_lost();

 private:
  friend class SimDevice;
  friend class SimDirectory;
  using Files = std::map<std::string, std::shared_ptr<DiskFile>>;
  // What has been asked for and has not happened yet: a change of a file, or of names.
  struct UnderWay {
    Group group;
    std::uint64_t device = 0;
    std::shared_ptr<DiskFile> file;
    DiskFile::Change change;
    std::move_only_function<void()> effect;
  };
  struct Fault {
    DiskOp op;
    std::uint64_t countdown;
    ErrorKind kind;
    bool for_ever;
  };
  struct Tripwire {
    DiskOp op;
    std::uint64_t countdown;
    Task then;
  };
  // How an operation ends: with an error that the scenario planned, or none.
  using End = std::move_only_function<void(UnderWay&, Result<void>)>;
  struct Operation {
    DiskOp op;
    Group group;
    std::uint64_t id = 0;  // in under_way_
    std::uint64_t bytes = 0;
    Result<void> fault;
    End end;
  };

  // For the files' faces (disk_device.h, disk_directory.h). Takes simulated time for `bytes`, then calls `end` in `group` with
  // what was under way until then.
  void run(DiskOp op, Group group, std::uint64_t bytes, UnderWay under_way, End end);
  std::shared_ptr<DiskFile> make_file(std::uint64_t size);
  std::uint64_t next_device() { return next_id_++; }
  // A device is destroyed: of what it was asked and has not done, some happens now and the rest never; nobody is told.
  void drop_device(std::uint64_t device);
  World& world() { return world_; }
  Random& random() { return random_; }

  Duration time_of(DiskOp op, std::uint64_t bytes);
  Result<void> next_fault(DiskOp op);
  void trip(DiskOp op);
  void finish(std::unique_ptr<Operation> operation);
  // Half of what is chosen happens now, and none of it later.
  template <class Chosen>
  void cut_off(Chosen&& chosen);

  World& world_;
  Random random_;
  const std::string name_;
  DiskQuality quality_;
  DiskCounters counters_;
  std::vector<Fault> faults_;
  std::vector<Tripwire> tripwires_;
  std::uint64_t count_failed_ = 0;
  bool stuck_ = false;
  Instant busy_until_;
  std::map<std::string, Files> folders_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, UnderWay> under_way_;
  std::vector<std::unique_ptr<Operation>> held_;  // would have ended, but the disk is stuck
  std::vector<std::weak_ptr<DiskFile>> files_;    // all of them, also such that are open under no name
};

}  // namespace godwit::sim
