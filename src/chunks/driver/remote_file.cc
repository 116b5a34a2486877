#include "chunks/driver/remote_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <random>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/index.h"

namespace godwit::chunks {

namespace {

std::unexpected<Error> failed(std::string_view what, const std::string& path) {
  return fail(Error::from_errno(errno, fmt::format("{} {}", what, path)));
}

}  // namespace

RemoteFile::~RemoteFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> RemoteFile::open_for_reading(const std::string& path) {
  path_ = path;
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) return failed("open", path);
  struct stat status{};
  if (::fstat(descriptor_, &status) != 0) return failed("look at", path);
  if (S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, fmt::format("open {}: it is a folder", path));
  return {};
}

Result<Bytes> RemoteFile::read(std::size_t size_max) {
  Bytes bytes(size_max);
  ssize_t count;
  do count = ::read(descriptor_, bytes.data(), bytes.size());
  while (count < 0 && errno == EINTR);
  if (count < 0) return failed("read", path_);
  bytes.resize(static_cast<std::size_t>(count));
  return bytes;
}

Result<void> RemoteFile::create(const std::string& path) {
  path_ = path;
  const std::filesystem::path place(path);
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::uint64_t number = std::uint64_t{random()} << 32 | random();
    const std::string name = (place.parent_path() / fmt::format(".#{}{:016x}", place.filename().string(), number)).string();
    descriptor_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) {
      temporary_ = name;
      return {};
    }
    if (errno != EEXIST) break;
  }
  return failed("create", path);
}

Result<void> RemoteFile::append(ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("write", path_);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::vector<ChunkId>> RemoteFile::read_ids(std::uint64_t first, std::size_t count) {
  Bytes bytes(count * kIndexEntryBytes);
  std::size_t got = 0;
  while (got < bytes.size()) {
    const auto offset = static_cast<off_t>(kIndexHeadBytes + first * kIndexEntryBytes + got);
    const ssize_t size = ::pread(descriptor_, bytes.data() + got, bytes.size() - got, offset);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("read", path_);
    if (size == 0) return fail(ErrorKind::truncated, fmt::format("read {}: it became shorter", path_));
    got += static_cast<std::size_t>(size);
  }
  std::vector<ChunkId> ids(count);
  for (std::size_t i = 0; i < count; ++i)
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(i * kIndexEntryBytes + 8), 32, ids[i].bytes.begin());
  return ids;
}

Result<void> RemoteFile::install() {
  GODWIT_CHECK(!temporary_.empty());
  if (::fdatasync(descriptor_) != 0) return failed("sync", path_);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("rename to", path_);
  temporary_.clear();
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  const int parent = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return failed("open the folder of", path_);
  const int synced = ::fsync(parent);
  const int why = errno;
  ::close(parent);
  errno = why;
  // Some file systems can not sync a folder; what they can, they have done.
  if (synced != 0 && errno != EINVAL) return failed("sync the folder of", path_);
  return {};
}

}  // namespace godwit::chunks
