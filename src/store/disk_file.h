// A regular file or block device as blocking calls; FileDevice runs them on workers. Any thread. Errors name the file, the offset
// and what was tried.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/block_device.h"

namespace godwit::store {

class DiskFile {
 public:
  // A block device is opened for writing only with O_EXCL: not while it is mounted or another process has it so
  // (ErrorKind::busy).
  static Result<std::unique_ptr<DiskFile>> open(const std::string& path, bool read_only);
  // Takes an open descriptor of a regular file or block device; `name` is for messages.
  static Result<std::unique_ptr<DiskFile>> adopt(int descriptor, std::string name, bool read_only);
  ~DiskFile();
  DiskFile(const DiskFile&) = delete;
  DiskFile& operator=(const DiskFile&) = delete;

  // Only the first bytes count from here on; at most size(). Before anything else is asked of it.
  void limit_size(std::uint64_t size);

  std::uint64_t size() const { return size_; }
  bool read_only() const { return read_only_; }
  const std::string& name() const { return name_; }

  // Only what the page cache holds: whether all of `into` was filled without waiting for the disk.
  bool read_cached(std::uint64_t offset, MutableBytes into);
  // What lies past the end of a file that was cut shorter by somebody reads as zeros.
  Result<void> read(std::uint64_t offset, MutableBytes into);
  Result<void> write(std::uint64_t offset, ConstBytes from, Durability durability);
  // An error is for ever: the kernel drops the dirty pages whose write-back failed and reports that once, so a later fdatasync
  // that succeeds would promise what is lost.
  Result<void> sync();
  Result<void> zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability);
  Result<void> discard(std::uint64_t offset, std::uint64_t length);
  Result<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length);
  void start_writeback(std::uint64_t offset, std::uint64_t length);
  void prefetch(std::uint64_t offset, std::uint64_t length);

 private:
  DiskFile(int descriptor, std::string name, bool read_only, std::uint64_t size)
      : descriptor_(descriptor), name_(std::move(name)), read_only_(read_only), size_(size) {}

  Error error(int number, std::string_view what, std::uint64_t offset) const;
  Result<void> write_all(std::uint64_t offset, ConstBytes from, int flags);
  Result<void> write_zeros(std::uint64_t offset, std::uint64_t length);
  Result<void> check_sync() const;
  Result<void> sync_failed(Error error);

  const int descriptor_;
  const std::string name_;
  const bool read_only_;
  std::uint64_t size_;
  mutable std::mutex mutex_;
  std::optional<Error> sync_error_;  // under mutex_
};

}  // namespace godwit::store
