#include "host/data_directory.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

#include "net/descriptor.h"

namespace godwit::host {

namespace {

Result<void> sync_folder(const std::string& path) {
  const net::Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) return fail(Error::from_errno(errno, "sync " + path));
  return {};
}

// The folder and those above it; only the last is ours alone.
Result<void> make_private_folder(const std::string& path) {
  std::error_code error;
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) return fail(ErrorKind::io, fmt::format("make the folder {}: {}", parent.string(), error.message()));
  if (::mkdir(path.c_str(), 0700) == 0) return sync_folder(parent.empty() ? "." : parent.string());
  if (errno != EEXIST) return fail(Error::from_errno(errno, "make the folder " + path));
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail(Error::from_errno(errno, "look at " + path));
  if (!S_ISDIR(status.st_mode)) return fail(ErrorKind::exists, path + " is there, but is no folder");
  if (status.st_uid != ::geteuid()) return fail(ErrorKind::refused, path + " belongs to another user");
  if ((status.st_mode & 0077) == 0) return {};
  if (!std::filesystem::is_empty(path, error) || error)
    return fail(ErrorKind::refused, fmt::format("{} is open to other users: chmod 700 {}, or choose another folder", path, path));
  if (::chmod(path.c_str(), 0700) != 0) return fail(Error::from_errno(errno, "close the folder " + path + " to others"));
  return {};
}

Result<Bytes> read_small(const std::string& path) {
  const net::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return fail(Error::from_errno(errno, "open " + path));
  Bytes bytes(kHostFileSize);
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t count = ::pread(file.get(), bytes.data() + size, bytes.size() - size, static_cast<off_t>(size));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Error::from_errno(errno, "read " + path));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  bytes.resize(size);
  return bytes;
}

Result<void> write_durably(const std::string& path, ConstBytes bytes, std::uint64_t offset) {
  const net::Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.get() < 0) return fail(Error::from_errno(errno, "open " + path));
  const ssize_t count = ::pwrite(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  if (count < 0) return fail(Error::from_errno(errno, "write " + path));
  if (static_cast<std::size_t>(count) != bytes.size())
    return fail(ErrorKind::no_space, "write " + path + ": only a part was taken");
  if (::fsync(file.get()) != 0) return fail(Error::from_errno(errno, "sync " + path));
  return {};
}

// The host as the file has it, or a new one; its boot is that of the start before.
Result<HostFile> identify(const std::string& path) {
  Result<Bytes> bytes = read_small(path);
  if (!bytes) return fail(std::move(bytes).error());
  Result<HostFile> host = decode_host_file(*bytes);
  if (!host && host.error().kind() == ErrorKind::not_found) {
    HostFile fresh;
    if (::getrandom(fresh.id.bytes.data(), fresh.id.bytes.size(), 0) != static_cast<ssize_t>(fresh.id.bytes.size()))
      return fail(Error::from_errno(errno, "ask the system for a random host id"));
    return fresh;
  }
  if (!host) return fail(std::move(host).error().within(path + " (the identity of this host)"));
  return host;
}

}  // namespace

Result<std::string> DataDirectory::default_path() {
  if (::geteuid() == 0) return "/var/lib/godwit";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0')
    return fail(ErrorKind::usage, "there is no HOME in the environment: say by --data DIR where this host keeps its data");
  return std::string(home) + "/.local/state/godwit";
}

Result<DataDirectory> DataDirectory::open(const std::string& given) {
  std::error_code ignored;  // a path that has no absolute form fails below, with a better sentence
  std::string path = std::filesystem::absolute(given, ignored).lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  if (Result<void> made = make_private_folder(path); !made) return fail(std::move(made).error().within("data directory"));
  const std::string host_path = path + "/host";
  Result<store::FileLock> lock = store::FileLock::take(host_path);
  if (!lock && lock.error().kind() == ErrorKind::busy)
    return fail(ErrorKind::busy,
                fmt::format("another godwit process is running with the data directory {}: stop it, or give this one a "
                            "directory of its own by --data DIR",
                            path));
  if (!lock) return fail(std::move(lock).error());
  Result<HostFile> host = identify(host_path);
  if (!host) return fail(std::move(host).error());
  ++host->boot;
  if (Result<void> written = write_durably(host_path, encode_host_slot(*host), host_slot_offset(host->boot)); !written)
    return fail(std::move(written).error());
  if (Result<void> synced = sync_folder(path); !synced) return fail(std::move(synced).error());
  if (Result<void> made = make_private_folder(path + "/volumes"); !made) return fail(std::move(made).error());
  return DataDirectory(std::move(path), *host, std::move(*lock));
}

}  // namespace godwit::host
