// An archive on a block device, for a reader that blocks: the device is used on the scheduler's thread, the reader is another
// one.
#pragma once

#include <memory>

#include "chunks/core/archive_seek.h"
#include "store/block_device.h"

namespace godwit::chunks {

class DeviceArchive final : public ArchiveBytes {
 public:
  // The device and the scheduler outlive it; so does the scheduler's running what it is given.
  DeviceArchive(store::BlockDevice& device, net::Scheduler& scheduler);
  // Cancels; the reader must have ended.
  ~DeviceArchive() override;

  std::uint64_t size() const override;
  // ErrorKind::cancelled after cancel(), and the device's. One thread at a time.
  Result<void> read(std::uint64_t offset, MutableBytes into) override;
  // Ends a read that waits, and all that follow. Any thread.
  void cancel();

 private:
  struct Shared;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace godwit::chunks
