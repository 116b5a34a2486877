#include "chunks/driver/byte_source.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

namespace godwit::chunks {

Result<std::unique_ptr<ByteSource>> ByteSource::open(const std::string& path) {
  const bool standard = path == "-";
  const int descriptor = standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
  std::unique_ptr<ByteSource> source(new ByteSource(descriptor, !standard, standard ? "standard input" : path));
  if (Result<void> looked = source->look(); !looked) return fail(looked.error());
  return source;
}

ByteSource::~ByteSource() {
  if (owned_) ::close(descriptor_);
}

Result<void> ByteSource::look() {
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) return fail(Error::from_errno(errno, "open " + name_));
  if (S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, name_ + " is a directory, not a file or a device");
  if (S_ISREG(status.st_mode)) {
    // A file on standard input may stand anywhere.
    const off_t at = owned_ ? 0 : std::max<off_t>(::lseek(descriptor_, 0, SEEK_CUR), 0);
    position_ = data_end_ = std::min(static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(status.st_size));
    size_ = static_cast<std::uint64_t>(status.st_size);
    mode_ = status.st_mode & 0777;
    regular_ = true;
    ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  } else if (S_ISBLK(status.st_mode)) {
    std::uint64_t bytes = 0;
    if (::ioctl(descriptor_, BLKGETSIZE64, &bytes) != 0) return fail(Error::from_errno(errno, "size of " + name_));
    size_ = bytes;
    mode_ = status.st_mode & 0777;
  }
  return {};
}

Result<ByteSource::Piece> ByteSource::read(MutableBytes into) {
  return regular_ ? read_regular(into) : read_some(into, false);
}

Result<ByteSource::Piece> ByteSource::read_regular(MutableBytes into) {
  if (position_ == *size_) return Piece{};
  if (position_ == data_end_) {
    const off_t data = ::lseek(descriptor_, static_cast<off_t>(position_), SEEK_DATA);
    struct stat status{};
    if (::fstat(descriptor_, &status) != 0) return fail(Error::from_errno(errno, "read " + name_));
    if (static_cast<std::uint64_t>(status.st_size) < *size_)
      return fail(ErrorKind::truncated,
                  fmt::format("{} became shorter while it was read: from {} to {} bytes", name_, *size_, status.st_size));
    // Without data behind, the rest is a hole (ENXIO); a file system that does not tell has no holes.
    std::uint64_t data_begin = position_;
    if (data >= 0)
      data_begin = std::min(static_cast<std::uint64_t>(data), *size_);
    else if (errno == ENXIO)
      data_begin = *size_;
    if (data_begin > position_) {
      const std::uint64_t hole = data_begin - position_;
      position_ = data_end_ = data_begin;
      return Piece{.length = hole, .hole = true};
    }
    const off_t hole = ::lseek(descriptor_, static_cast<off_t>(position_), SEEK_HOLE);
    data_end_ = hole > static_cast<off_t>(position_) ? std::min(static_cast<std::uint64_t>(hole), *size_) : *size_;
  }
  return read_some(into.first(std::min<std::uint64_t>(into.size(), data_end_ - position_)), true);
}

Result<ByteSource::Piece> ByteSource::read_some(MutableBytes into, bool positioned) {
  std::size_t filled = 0;
  while (filled < into.size()) {
    std::byte* const at = into.data() + filled;
    const ssize_t count = positioned ? ::pread(descriptor_, at, into.size() - filled, static_cast<off_t>(position_))
                                     : ::read(descriptor_, at, into.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Error::from_errno(errno, fmt::format("read {} at offset {}", name_, position_)));
    if (count == 0 && positioned)
      return fail(ErrorKind::truncated,
                  fmt::format("{} became shorter while it was read: it ends at {} of {} bytes", name_, position_, *size_));
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
    position_ += static_cast<std::uint64_t>(count);
  }
  return Piece{.length = filled, .hole = false};
}

}  // namespace godwit::chunks
