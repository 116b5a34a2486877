#include "store/disk_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::store {

namespace {

constexpr std::size_t kZeroBytes = 64 * 1024;
constexpr std::array<std::byte, kZeroBytes> kZeros{};
// An answer about allocation ends after so many extents; the caller asks on from there.
constexpr std::size_t kExtentsMax = 4096;

off_t as_offset(std::uint64_t value) {
  return static_cast<off_t>(value);
}

}  // namespace

Result<std::unique_ptr<DiskFile>> DiskFile::open(const std::string& path, bool read_only) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail(Error::from_errno(errno, "open " + path));
  const int exclusive = S_ISBLK(status.st_mode) && !read_only ? O_EXCL : 0;
  const int descriptor = ::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | exclusive);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
  return adopt(descriptor, path, read_only);
}

Result<std::unique_ptr<DiskFile>> DiskFile::adopt(int descriptor, std::string name, bool read_only) {
  std::unique_ptr<DiskFile> opened(new DiskFile(descriptor, name, read_only, 0));  // closes it on the error paths
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return fail(Error::from_errno(errno, "open " + name));
  opened->size_ = static_cast<std::uint64_t>(status.st_size);
  if (S_ISBLK(status.st_mode)) {
    if (::ioctl(descriptor, BLKGETSIZE64, &opened->size_) != 0) return fail(Error::from_errno(errno, "size of " + name));
  } else if (!S_ISREG(status.st_mode)) {
    return fail(ErrorKind::unsupported, fmt::format("open {}: neither a regular file nor a block device", name));
  }
  return opened;
}

DiskFile::~DiskFile() {
  ::close(descriptor_);
}

void DiskFile::limit_size(std::uint64_t size) {
  GODWIT_CHECK(size <= size_);
  size_ = size;
}

Error DiskFile::error(int number, std::string_view what, std::uint64_t offset) const {
  Error told = Error::from_errno(number, fmt::format("{} {} at offset {}", what, name_, offset));
  // A file that may not grow further has, to whoever writes to it, no space.
  if (number == EFBIG) return Error(ErrorKind::no_space, told.message());
  return told;
}

bool DiskFile::read_cached(std::uint64_t offset, MutableBytes into) {
  iovec span{into.data(), into.size()};
  return ::preadv2(descriptor_, &span, 1, as_offset(offset), RWF_NOWAIT) == static_cast<ssize_t>(into.size());
}

Result<void> DiskFile::read(std::uint64_t offset, MutableBytes into) {
  while (!into.empty()) {
    const ssize_t count = ::pread(descriptor_, into.data(), into.size(), as_offset(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(error(errno, "read", offset));
    if (count == 0) {
      std::ranges::fill(into, std::byte{0});
      return {};
    }
    into = into.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> DiskFile::write_all(std::uint64_t offset, ConstBytes from, int flags) {
  while (!from.empty()) {
    const iovec span{const_cast<std::byte*>(from.data()), from.size()};  // only read
    const ssize_t count = ::pwritev2(descriptor_, &span, 1, as_offset(offset), flags);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(error(count == 0 ? EIO : errno, "write", offset));
    from = from.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

Result<void> DiskFile::write(std::uint64_t offset, ConstBytes from, Durability durability) {
  if (durability == Durability::written) return write_all(offset, from, 0);
  if (Result<void> sound = check_sync(); !sound) return sound;
  if (Result<void> written = write_all(offset, from, RWF_DSYNC); written) return written;
  // Was it the write that failed, or its way to the disk? A plain write tells: after it, only a sync is left to fail.
  if (Result<void> written = write_all(offset, from, 0); !written) return written;
  return sync();
}

Result<void> DiskFile::check_sync() const {
  std::scoped_lock lock(mutex_);
  if (!sync_error_) return {};
  return fail(sync_error_->kind(), "an earlier write was lost and nothing later counts as stored: " + sync_error_->message());
}

Result<void> DiskFile::sync_failed(Error error) {
  std::scoped_lock lock(mutex_);
  if (!sync_error_) sync_error_ = error;
  return fail(std::move(error));
}

Result<void> DiskFile::sync() {
  if (Result<void> sound = check_sync(); !sound) return sound;
  while (::fdatasync(descriptor_) != 0)
    if (errno != EINTR) return sync_failed(Error::from_errno(errno, "sync " + name_));
  // Another thread's sync may have taken the one report of an error that also concerned us.
  return check_sync();
}

Result<void> DiskFile::write_zeros(std::uint64_t offset, std::uint64_t length) {
  while (length > 0) {
    const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(length, kZeroBytes));
    if (Result<void> written = write_all(offset, ConstBytes(kZeros).first(count), 0); !written) return written;
    offset += count;
    length -= count;
  }
  return {};
}

Result<void> DiskFile::zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability) {
  if (length == 0) return {};
  const int how = mode == ZeroMode::may_punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  int status;
  do status = ::fallocate(descriptor_, how | FALLOC_FL_KEEP_SIZE, as_offset(offset), as_offset(length));
  while (status != 0 && errno == EINTR);
  if (status != 0) {
    // A block device takes whole sectors only, some file systems nothing of the kind.
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS) return fail(error(errno, "zero", offset));
    if (Result<void> written = write_zeros(offset, length); !written) return written;
  }
  return durability == Durability::durable ? sync() : Result<void>{};
}

Result<void> DiskFile::discard(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return {};
  const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (::fallocate(descriptor_, how, as_offset(offset), as_offset(length)) == 0) return {};
  if (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS || errno == EINTR) return {};  // it is only a hint
  return fail(error(errno, "discard", offset));
}

Result<std::vector<Extent>> DiskFile::extents(std::uint64_t offset, std::uint64_t length) {
  std::vector<Extent> found;
  const std::uint64_t end = offset + length;
  while (offset < end && found.size() < kExtentsMax) {
    off_t data = ::lseek(descriptor_, as_offset(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) data = as_offset(end);  // no data from here on
    off_t hole = data < 0 ? as_offset(end) : data;
    if (data < 0) {
      if (errno != EINVAL && errno != EOPNOTSUPP) return fail(error(errno, "extents of", offset));
      data = as_offset(offset);  // no way to know: all data
    } else if (data == as_offset(offset)) {
      hole = ::lseek(descriptor_, data, SEEK_HOLE);
      if (hole < 0) return fail(error(errno, "extents of", offset));
    }
    const bool is_hole = data > as_offset(offset);
    const std::uint64_t stop = std::min(end, static_cast<std::uint64_t>(is_hole ? data : hole));
    // A file that changes meanwhile may contradict itself; what is not known is data.
    const std::uint64_t next = stop > offset ? stop : end;
    found.push_back({offset, next - offset, is_hole, is_hole});
    offset = next;
  }
  return found;
}

void DiskFile::start_writeback(std::uint64_t offset, std::uint64_t length) {
  (void)::sync_file_range(descriptor_, as_offset(offset), as_offset(length), SYNC_FILE_RANGE_WRITE);
}

void DiskFile::prefetch(std::uint64_t offset, std::uint64_t length) {
  (void)::posix_fadvise(descriptor_, as_offset(offset), as_offset(length), POSIX_FADV_WILLNEED);
}

}  // namespace godwit::store
