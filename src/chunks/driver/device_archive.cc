#include "chunks/driver/device_archive.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace godwit::chunks {

// What the reader and the scheduler's thread have in common. The device reads into memory of this, since the reader may be gone
// when it is done.
struct DeviceArchive::Shared : std::enable_shared_from_this<Shared> {
  Shared(store::BlockDevice& d, net::Scheduler& s) : device(d), scheduler(s), size(d.size()) {}

  // On the scheduler's thread.
  void start(std::uint64_t offset, std::size_t length) {
    {
      const std::scoped_lock lock(mutex);
      if (cancelled) return;
      bytes.resize(length);
    }
    device.read(offset, bytes, [self = shared_from_this()](Result<void> done) {
      const std::scoped_lock lock(self->mutex);
      self->result = std::move(done);
      self->changed.notify_all();
    });
  }

  store::BlockDevice& device;
  net::Scheduler& scheduler;
  const std::uint64_t size;
  std::mutex mutex;
  std::condition_variable changed;
  Bytes bytes;
  std::optional<Result<void>> result;
  bool cancelled = false;
};

DeviceArchive::DeviceArchive(store::BlockDevice& device, net::Scheduler& scheduler)
    : shared_(std::make_shared<Shared>(device, scheduler)) {}

DeviceArchive::~DeviceArchive() {
  cancel();
}

std::uint64_t DeviceArchive::size() const {
  return shared_->size;
}

Result<void> DeviceArchive::read(std::uint64_t offset, MutableBytes into) {
  std::unique_lock lock(shared_->mutex);
  if (!shared_->cancelled) {
    shared_->result.reset();
    shared_->scheduler.post([shared = shared_, offset, length = into.size()] { shared->start(offset, length); });
    shared_->changed.wait(lock, [&] { return shared_->cancelled || shared_->result; });
  }
  if (shared_->cancelled) return fail(ErrorKind::cancelled, "reading the archive was given up");
  if (*shared_->result) std::ranges::copy(shared_->bytes, into.begin());
  return *shared_->result;
}

void DeviceArchive::cancel() {
  const std::scoped_lock lock(shared_->mutex);
  shared_->cancelled = true;
  shared_->changed.notify_all();
}

}  // namespace godwit::chunks
