#include "sim/disk_file.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace godwit::sim {

namespace {

// Above it the oldest are written back, as a kernel does; keeps memory and the cost of a power loss bounded.
constexpr std::size_t kUnsyncedMax = 4096;

DiskFile::Change part_of(const DiskFile::Change& change, std::uint64_t offset, std::uint64_t end) {
  DiskFile::Change part{offset, end - offset, {}, change.keep_allocated};
  if (!change.bytes.empty()) part.bytes = to_bytes(ConstBytes(change.bytes).subspan(offset - change.offset, end - offset));
  return part;
}

}  // namespace

void DiskFile::Change::cut_short(Random& random) {
  const std::uint64_t stop = (offset + random.below(length + 1)) / kSectorBytes * kSectorBytes;
  length = random.chance(0.5) || stop < offset ? 0 : stop - offset;
  if (!bytes.empty()) bytes.resize(length);
}

void DiskFile::put(SparseBytes& bytes, const Change& change) {
  if (!change.bytes.empty())
    bytes.write(change.offset, change.bytes);
  else
    bytes.zero(change.offset, change.length, change.keep_allocated);
}

void DiskFile::put_torn(SparseBytes& bytes, const Change& change, Random& random) {
  // Sectors lie at multiples of their size, not of the write's start. A long zeroing is torn in fewer, longer pieces.
  const std::uint64_t step = std::max(kSectorBytes, change.length / 1024 / kSectorBytes * kSectorBytes);
  for (std::uint64_t at = change.offset; at < change.end();) {
    const std::uint64_t end = std::min(change.end(), at / step * step + step);
    if (random.chance(0.5)) put(bytes, part_of(change, at, end));
    at = end;
  }
}

void DiskFile::apply(Change change) {
  if (change.length == 0) return;
  size_ = std::max(size_, change.end());
  put(live_, change);
  unsynced_.push_back({next_number_++, false, std::move(change)});
  if (unsynced_.size() > kUnsyncedMax) write_back_oldest();
}

void DiskFile::apply_durably(const Change& change) {
  if (change.length == 0) return;
  size_ = std::max(size_, change.end());
  put(live_, change);
  put(durable_, change);
  trim_unsynced(next_number_++, change.offset, change.end());
}

void DiskFile::flush(std::uint64_t mark) {
  std::vector<Unsynced> rest;
  for (std::size_t i = 0; i < unsynced_.size(); ++i) {
    Unsynced& one = unsynced_[i];
    if (one.number >= mark || one.abandoned)
      rest.push_back(std::move(one));
    else
      put(durable_, one.change);
  }
  std::swap(unsynced_, rest);
  if (count_abandoned_ == 0) return;
  // `rest` now has the flushed ones, with holes where others were moved out. An abandoned older write must not come back over
  // them.
  for (const Unsynced& flushed : rest) {
    if (flushed.number < mark && !flushed.abandoned) trim_unsynced(flushed.number, flushed.change.offset, flushed.change.end());
  }
}

void DiskFile::fail_flush(std::uint64_t mark) {
  for (Unsynced& one : unsynced_) {
    if (one.number >= mark || one.abandoned) continue;
    one.abandoned = true;
    ++count_abandoned_;
  }
}

void DiskFile::trim_unsynced(std::uint64_t before, std::uint64_t offset, std::uint64_t end) {
  std::vector<Unsynced> kept;
  bool changed = false;
  for (std::size_t i = 0; i < unsynced_.size() && !changed; ++i) {
    const Unsynced& one = unsynced_[i];
    changed = one.number < before && one.change.offset < end && offset < one.change.end();
  }
  if (!changed) return;
  for (Unsynced& one : unsynced_) {
    const Change& change = one.change;
    if (one.number >= before || change.offset >= end || offset >= change.end()) {
      kept.push_back(std::move(one));
      continue;
    }
    if (change.offset < offset) kept.push_back({one.number, one.abandoned, part_of(change, change.offset, offset)});
    if (end < change.end()) kept.push_back({one.number, one.abandoned, part_of(change, end, change.end())});
  }
  unsynced_ = std::move(kept);
  count_abandoned_ = static_cast<std::size_t>(
      std::count_if(unsynced_.begin(), unsynced_.end(), [](const Unsynced& one) { return one.abandoned; }));
}

void DiskFile::write_back_oldest() {
  flush(unsynced_[unsynced_.size() / 2].number);
}

void DiskFile::lose_power(Random& random, const PowerLoss& odds, std::vector<Change> under_way) {
  std::vector<Unsynced> all = std::exchange(unsynced_, {});
  for (Change& change : under_way) {
    if (change.length > 0) all.push_back({next_number_++, false, std::move(change)});
  }
  for (const Unsynced& one : all) {
    const double fate = static_cast<double>(random.below(1'000'000)) / 1e6;
    if (fate < odds.keeps)
      put(durable_, one.change);
    else if (fate >= odds.keeps + odds.loses)
      put_torn(durable_, one.change, random);
  }
  for (const Unsynced& one : all) {
    live_.copy_range(durable_, one.change.offset, one.change.length);
    size_ = std::max(size_, one.change.end());
  }
  count_abandoned_ = 0;
}

}  // namespace godwit::sim
