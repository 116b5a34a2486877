// A device as kernels count them: in sectors of 512 bytes, the last one filled up with zeros. Read-only: there is nowhere to put
// what would be written behind the end.
#pragma once

#include <cstdint>

#include "net/scheduler.h"
#include "store/block_device.h"

namespace godwit::exports {

inline constexpr std::uint64_t kSectorBytes = 512;

class WholeSectors final : public store::BlockDevice {
 public:
  // Both outlive it. The device's size is at most 2^64 - 512.
  WholeSectors(store::BlockDevice& device, net::Scheduler& scheduler) : device_(device), scheduler_(scheduler) {}

  std::uint64_t size() const override { return (device_.size() + kSectorBytes - 1) / kSectorBytes * kSectorBytes; }
  bool read_only() const override { return true; }
  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override;
  void extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) override;
  void prefetch(std::uint64_t offset, std::uint64_t length) override;
  // ErrorKind::read_only.
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            store::Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) override;
  // Nothing to do.
  void flush(store::Done<void> done) override;

 private:
  // How much of a range, which begins within size(), the device has.
  std::uint64_t there(std::uint64_t offset, std::uint64_t length) const;
  void answer(store::Done<void> done, Result<void> result);

  store::BlockDevice& device_;
  net::Scheduler& scheduler_;
};

}  // namespace godwit::exports
