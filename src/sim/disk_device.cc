#include "sim/disk_device.h"

#include <fmt/format.h>

#include <utility>

#include "base/checked.h"

namespace godwit::sim {

namespace {

std::vector<store::Extent> extents_of(const SparseBytes& bytes, std::uint64_t offset, std::uint64_t length, std::uint64_t most) {
  std::vector<store::Extent> found;
  for (const std::uint64_t end = offset + length; offset < end && found.size() < most;) {
    const SparseBytes::Run run = bytes.run_at(offset, end);
    found.push_back({offset, run.end - offset, run.kind == SparseBytes::Kind::hole, run.kind != SparseBytes::Kind::data});
    offset = run.end;
  }
  return found;
}

}  // namespace

SimDevice::SimDevice(Disk& disk, std::shared_ptr<DiskFile> file, Group group, bool read_only)
    : disk_(disk), file_(std::move(file)), group_(group), read_only_(read_only), id_(disk.next_device()), size_(file_->size()) {}

SimDevice::~SimDevice() {
  *alive_ = false;
  disk_.drop_device(id_);
}

template <class T>
bool SimDevice::refuse(std::uint64_t offset, std::uint64_t length, bool changes, net::Done<T>& done) {
  Error error(ErrorKind::invalid, "");
  if (!within(offset, length, size_))
    error = Error(ErrorKind::invalid, fmt::format("[{}, +{}) lies outside of {} bytes", offset, length, size_));
  else if (changes && read_only_)
    error = Error(ErrorKind::read_only, "the device is read-only");
  else
    return false;
  disk_.world().schedule(
      Duration{},
      [alive = alive_, done = std::move(done), error = std::move(error)]() mutable {
        if (*alive) done(fail(std::move(error)));
      },
      group_);
  return true;
}

void SimDevice::read(std::uint64_t offset, MutableBytes into, net::Done<void> done) {
  if (refuse(offset, into.size(), false, done)) return;
  disk_.run(DiskOp::read, group_, into.size(), {group_, id_, {}, {}, {}},
            [file = file_, offset, into, done = std::move(done)](Disk::UnderWay&, Result<void> result) mutable {
              if (result) file->live().read(offset, into);
              done(std::move(result));
            });
}

void SimDevice::write(std::uint64_t offset, ConstBytes from, store::Durability durability, net::Done<void> done) {
  if (refuse(offset, from.size(), true, done)) return;
  DiskFile::Change change{offset, from.size(), to_bytes(from), false};
  change_range(DiskOp::write, std::move(change), disk_.random().chance(0.5) ? from : ConstBytes{}, durability, std::move(done));
}

void SimDevice::zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
                     net::Done<void> done) {
  if (refuse(offset, length, true, done)) return;
  const bool keep_allocated = mode == store::ZeroMode::keep_allocated;
  change_range(DiskOp::zero, {offset, length, {}, keep_allocated}, {}, durability, std::move(done));
}

void SimDevice::discard(std::uint64_t offset, std::uint64_t length, net::Done<void> done) {
  if (refuse(offset, length, true, done)) return;
  // Half of the time the device forgets only a part, or nothing.
  if (disk_.random().chance(0.5)) length = disk_.random().below(length + 1);
  change_range(DiskOp::discard, {offset, length, {}, false}, {}, store::Durability::written, std::move(done));
}

void SimDevice::change_range(DiskOp op, DiskFile::Change change, ConstBytes late_bytes, store::Durability durability,
                             net::Done<void> done) {
  const std::uint64_t bytes = change.bytes.size();
  disk_.run(
      op, group_, bytes, {group_, id_, file_, std::move(change), {}},
      [&disk = disk_, late_bytes, durability, done = std::move(done)](Disk::UnderWay& under_way, Result<void> result) mutable {
        DiskFile::Change& asked = under_way.change;
        if (!late_bytes.empty()) std::memcpy(asked.bytes.data(), late_bytes.data(), late_bytes.size());
        if (!result) {
          asked.cut_short(disk.random());
          under_way.file->apply(std::move(asked));
        } else if (durability == store::Durability::durable) {
          under_way.file->apply_durably(asked);
        } else {
          under_way.file->apply(std::move(asked));
        }
        done(std::move(result));
      });
}

void SimDevice::flush(net::Done<void> done) {
  disk_.run(DiskOp::flush, group_, 0, {group_, id_, {}, {}, {}},
            [file = file_, mark = file_->flush_mark(), done = std::move(done)](Disk::UnderWay&, Result<void> result) mutable {
              if (result)
                file->flush(mark);
              else
                file->fail_flush(mark);
              done(std::move(result));
            });
}

void SimDevice::extents(std::uint64_t offset, std::uint64_t length, net::Done<std::vector<store::Extent>> done) {
  if (refuse(offset, length, false, done)) return;
  const std::uint64_t most = 1 + disk_.random().below(64);  // it may end early
  disk_.run(DiskOp::extents, group_, 0, {group_, id_, {}, {}, {}},
            [file = file_, offset, length, most, done = std::move(done)](Disk::UnderWay&, Result<void> result) mutable {
              if (result)
                done(extents_of(file->live(), offset, length, most));
              else
                done(fail(std::move(result).error()));
            });
}

}  // namespace godwit::sim
