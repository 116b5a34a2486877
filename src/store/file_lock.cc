#include "store/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

namespace godwit::store {

Result<FileLock> FileLock::take(const std::string& path) {
  FileLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.descriptor_ < 0) return fail(Error::from_errno(errno, "lock " + path));
  while (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(ErrorKind::busy, fmt::format("lock {}: another process holds it", path));
    if (errno != EINTR) return fail(Error::from_errno(errno, "lock " + path));
  }
  return lock;
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<void> check_not_open_elsewhere(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
  const int error = ::fcntl(descriptor, F_SETLEASE, F_WRLCK) == 0 ? 0 : errno;
  if (error == 0) (void)::fcntl(descriptor, F_SETLEASE, F_UNLCK);
  ::close(descriptor);
  if (error == 0) return {};
  if (error == EAGAIN) return fail(ErrorKind::busy, fmt::format("{} is open in another process", path));
  return fail(ErrorKind::unsupported,
              Error::from_errno(error, fmt::format("whether {} is open elsewhere cannot be told", path)).message());
}

}  // namespace godwit::store
