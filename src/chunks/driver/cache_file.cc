#include "chunks/driver/cache_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "chunks/core/chunk_id.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

namespace {

namespace fs = std::filesystem;

constexpr std::chrono::hours kKept{24 * 100};

Result<void> write_all(int file, ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Error::from_errno(errno, "write"));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace

std::string cache_file_name(std::string_view key, std::string_view suffix) {
  return chunk_id_of(as_bytes(key), Digest::sha256).hex().substr(0, 32) + std::string(suffix);
}

std::optional<Bytes> read_cache_file(const std::string& path, std::size_t size_max) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status{};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0) return std::nullopt;
  if (static_cast<std::uint64_t>(status.st_size) > size_max) return std::nullopt;
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t filled = 0; filled < bytes.size();) {
    const ssize_t count = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(count);
  }
  return bytes;
}

Result<void> write_cache_file(const std::string& path, ConstBytes bytes) {
  const fs::path folder = fs::path(path).parent_path();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return fail(Error::from_errno(error.value(), "make the folder " + folder.string()));
  const std::string partial = fmt::format("{}.{}.partial", path, ::getpid());
  const Descriptor file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.is_open()) return fail(errno_error("make", partial));
  Result<void> written = write_all(file.get(), bytes);
  if (!written) written = fail(std::move(written).error().within(partial));
  if (written && ::rename(partial.c_str(), path.c_str()) != 0) written = fail(errno_error("rename into place", path));
  if (!written) ::unlink(partial.c_str());
  return written;
}

void remove_old_cache_files(const std::string& newest, std::string_view suffix) {
  std::error_code ignored;  // what cannot be removed stays: it is only a cache
  const fs::file_time_type now = fs::last_write_time(newest, ignored);
  if (ignored) return;
  for (fs::directory_iterator at(fs::path(newest).parent_path(), ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename();
    if (!name.ends_with(suffix) && !name.ends_with(".partial")) continue;
    std::error_code error;
    const fs::file_time_type written = fs::last_write_time(at->path(), error);
    if (!error && now - written > kKept) fs::remove(at->path(), error);
  }
}

}  // namespace godwit::chunks
