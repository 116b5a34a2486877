// The block device that a file of a simulated disk is seen as. An implementation detail of disk.h.
#pragma once

#include <memory>

#include "sim/disk.h"

namespace godwit::sim {

class SimDevice final : public store::BlockDevice {
 public:
  SimDevice(Disk& disk, std::shared_ptr<DiskFile> file, Group group, bool read_only);
  ~SimDevice() override;

  std::uint64_t size() const override { return size_; }
  bool read_only() const override { return read_only_; }
  void read(std::uint64_t offset, MutableBytes into, net::Done<void> done) override;
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, net::Done<void> done) override;
  void flush(net::Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            net::Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, net::Done<void> done) override;
  void extents(std::uint64_t offset, std::uint64_t length, net::Done<std::vector<store::Extent>> done) override;

 private:
  // Whether the request is one that the device does not take; then `done` learns why.
  template <class T>
  bool refuse(std::uint64_t offset, std::uint64_t length, bool changes, net::Done<T>& done);
  // `late_bytes`: fetched from the caller's memory at the end of a write; empty: they were fetched when it was asked for.
  void change_range(DiskOp op, DiskFile::Change change, ConstBytes late_bytes, store::Durability durability,
                    net::Done<void> done);

  Disk& disk_;
  const std::shared_ptr<DiskFile> file_;
  const Group group_;
  const bool read_only_;
  const std::uint64_t id_;
  const std::uint64_t size_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::sim
