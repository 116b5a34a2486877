#include "sim/disk.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "base/hash.h"
#include "sim/disk_directory.h"

namespace godwit::sim {

namespace {

constexpr std::string_view kOpNames[kDiskOps] = {"read",    "write", "flush",     "zero",        "discard",
                                                 "extents", "names", "read_file", "replace_file"};

std::string_view name_of(DiskOp op) {
  return kOpNames[static_cast<std::size_t>(op)];
}

}  // namespace

std::uint64_t DiskCounters::total() const {
  return std::accumulate(ops.begin(), ops.end(), std::uint64_t{0});
}

Disk::Disk(World& world, std::string name) : world_(world), random_(world.random().fork()), name_(std::move(name)) {}
Disk::~Disk() = default;

std::unique_ptr<store::Directory> Disk::attach(const std::string& folder, Group group) {
  return std::make_unique<SimDirectory>(*this, folders_[folder], group);
}

std::shared_ptr<DiskFile> Disk::make_file(std::uint64_t size) {
  if (files_.size() == files_.capacity()) std::erase_if(files_, [](const auto& file) { return file.expired(); });
  auto file = std::make_shared<DiskFile>(size);
  files_.push_back(file);
  return file;
}

// ---- operations

void Disk::run(DiskOp op, Group group, std::uint64_t bytes, UnderWay under_way, End end) {
  if (world_.is_over(group)) return world_.bury([end = std::move(end)] {});
  ++counters_.ops[static_cast<std::size_t>(op)];
  const bool reads = op == DiskOp::read || op == DiskOp::read_file;
  (reads ? counters_.bytes_read : counters_.bytes_written) += bytes;
  under_way.group = group;
  auto operation = std::make_unique<Operation>(Operation{op, group, next_id_++, bytes, next_fault(op), std::move(end)});
  under_way_.emplace(operation->id, std::move(under_way));
  trip(op);
  world_.schedule(
      time_of(op, bytes), [this, operation = std::move(operation)]() mutable { finish(std::move(operation)); }, group);
}

Duration Disk::time_of(DiskOp op, std::uint64_t bytes) {
  const bool flush = op == DiskOp::flush;
  Duration latency = world_.between(random_, flush ? quality_.flush_min : quality_.latency_min,
                                    flush ? quality_.flush_max : quality_.latency_max);
  if (random_.chance(quality_.slow_chance)) latency = latency * quality_.slow_factor;
  if (quality_.bandwidth_bytes_per_second == 0) return latency;
  const double seconds = static_cast<double>(bytes) / static_cast<double>(quality_.bandwidth_bytes_per_second);
  busy_until_ = std::max(busy_until_, world_.now()) + Duration::seconds(seconds);
  return busy_until_ - world_.now() + latency;
}

Result<void> Disk::next_fault(DiskOp op) {
  Result<void> result;
  for (Fault& fault : faults_) {
    if (fault.op != op && fault.op != DiskOp::any) continue;
    if (fault.countdown > 1) {
      --fault.countdown;
    } else if (fault.countdown == 1) {
      if (!fault.for_ever) fault.countdown = 0;
      result = fail(fault.kind, fmt::format("{}: {} failed, as planned", name_, name_of(op)));
    }
  }
  count_failed_ += !result;
  return result;
}

void Disk::call_at_nth(DiskOp op, std::uint64_t n, Task then) {
  GODWIT_CHECK(n > 0);
  tripwires_.push_back({op, n, std::move(then)});
}

void Disk::trip(DiskOp op) {
  for (Tripwire& wire : tripwires_) {
    if (wire.countdown == 0 || (wire.op != op && wire.op != DiskOp::any) || --wire.countdown > 0) continue;
    world_.schedule(Duration{}, std::move(wire.then));
  }
  std::erase_if(tripwires_, [](const Tripwire& wire) { return wire.countdown == 0; });
}

void Disk::finish(std::unique_ptr<Operation> operation) {
  if (stuck_) return held_.push_back(std::move(operation));
  const auto found = under_way_.find(operation->id);
  if (found == under_way_.end()) return;  // its device was destroyed
  UnderWay under_way = std::move(found->second);
  under_way_.erase(found);
  world_.fold(0x70 + static_cast<std::uint64_t>(operation->op), crc32c(under_way.change.bytes), operation->id);
  world_.fold(0x70 + static_cast<std::uint64_t>(operation->op),
              under_way.change.offset ^ (operation->bytes << 32) ^ operation->fault.has_value());
  if (world_.tracing()) {
    world_.trace(fmt::format("{}: {} {} ({} bytes at {}) {}", name_, name_of(operation->op), operation->id, operation->bytes,
                             under_way.change.offset, operation->fault ? "done" : "failed"));
  }
  operation->end(under_way, std::move(operation->fault));
}

void Disk::set_stuck(bool stuck) {
  stuck_ = stuck;
  if (stuck) return;
  for (std::unique_ptr<Operation>& operation : std::exchange(held_, {})) {
    const Group group = operation->group;
    world_.schedule(Duration{}, [this, operation = std::move(operation)]() mutable { finish(std::move(operation)); }, group);
  }
}

void Disk::fail_nth(DiskOp op, std::uint64_t n, ErrorKind kind, bool for_ever) {
  GODWIT_CHECK(n > 0);
  std::erase_if(faults_, [](const Fault& fault) { return fault.countdown == 0; });
  faults_.push_back({op, n, kind, for_ever});
}

// ---- crashes

template <class Chosen>
void Disk::cut_off(Chosen&& chosen) {
  for (auto one = under_way_.begin(); one != under_way_.end();) {
    if (!chosen(one->second)) {
      ++one;
      continue;
    }
    UnderWay under_way = std::move(one->second);
    one = under_way_.erase(one);
    if (random_.chance(0.5)) continue;
    if (under_way.file) under_way.file->apply(std::move(under_way.change));
    if (under_way.effect) under_way.effect();
  }
}

void Disk::drop_device(std::uint64_t device) {
  cut_off([&](const UnderWay& under_way) { return under_way.device == device; });
}

void Disk::process_died(Group group) {
  cut_off([&](const UnderWay& under_way) { return under_way.group == group; });
  for (std::unique_ptr<Operation>& operation : std::exchange(held_, {})) {
    if (operation->group == group)
      world_.bury([operation = std::move(operation)] {});
    else
      held_.push_back(std::move(operation));
  }
}

void Disk::power_lost() {
  world_.fold(0x6f, under_way_.size());
  std::vector<UnderWay> lost;
  for (auto& [id, under_way] : std::exchange(under_way_, {})) lost.push_back(std::move(under_way));
  for (std::size_t i = lost.size(); i > 1; --i) std::swap(lost[i - 1], lost[random_.below(i)]);
  for (UnderWay& under_way : lost) {
    if (under_way.effect && random_.chance(0.5)) under_way.effect();
  }
  for (const std::weak_ptr<DiskFile>& one : files_) {
    const std::shared_ptr<DiskFile> file = one.lock();
    if (!file) continue;
    std::vector<DiskFile::Change> changes;
    for (UnderWay& under_way : lost) {
      if (under_way.file == file) changes.push_back(std::move(under_way.change));
    }
    file->lose_power(random_, quality_.power_loss, std::move(changes));
  }
  world_.bury([held = std::exchange(held_, {})] {});
  busy_until_ = {};
  stuck_ = false;
}

// ---- for checkers

std::vector<std::string> Disk::names(const std::string& folder) const {
  std::vector<std::string> names;
  if (const auto found = folders_.find(folder); found != folders_.end()) {
    for (const auto& [name, file] : found->second) names.push_back(name);
  }
  return names;
}

const DiskFile* Disk::find(const std::string& folder, const std::string& name) const {
  const auto files = folders_.find(folder);
  if (files == folders_.end()) return nullptr;
  const auto file = files->second.find(name);
  return file == files->second.end() ? nullptr : file->second.get();
}

void Disk::damage(const std::string& folder, const std::string& name, std::uint64_t offset, std::uint64_t length) {
  const std::shared_ptr<DiskFile> file = folders_.at(folder).at(name);
  GODWIT_CHECK(within(offset, length, file->size()));
  Bytes bytes(length);
  file->live().read(offset, bytes);
  for (std::byte& b : bytes) b ^= std::byte{static_cast<unsigned char>(1 + random_.below(255))};
  file->apply_durably({offset, length, std::move(bytes), false});
}

}  // namespace godwit::sim
