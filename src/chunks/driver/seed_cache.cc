#include "chunks/driver/seed_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".gwseed";
constexpr std::chrono::hours kKept{24 * 100};

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

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

std::optional<SeedIdentity> seed_identity_of(int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  return SeedIdentity{.device = status.st_dev,
                      .inode = status.st_ino,
                      .size = static_cast<std::uint64_t>(status.st_size),
                      .mtime_ns = nanoseconds(status.st_mtim),
                      .ctime_ns = nanoseconds(status.st_ctim)};
}

// By the seed's path, so that a new state of it takes the old one's place.
std::string SeedCache::file_of(const std::string& seed, const ChunkSizes& sizes, Digest digest) const {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(seed, error);
  const std::string key = fmt::format("{} {} {}", text_of(sizes), name_of(digest), error ? seed : whole.string());
  return folder_ + "/" + chunk_id_of(as_bytes(key), Digest::sha256).hex().substr(0, 32) + std::string(kSuffix);
}

std::optional<SeedIndex> SeedCache::load(const std::string& seed, const SeedIdentity& identity, const ChunkSizes& sizes,
                                         Digest digest) const {
  const Descriptor file(::open(file_of(seed, sizes, digest).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status{};
  if (!file.is_open() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  if (static_cast<std::uint64_t>(status.st_size) > kSeedIndexBytesMax) return std::nullopt;
  Bytes bytes(static_cast<std::size_t>(status.st_size));
  for (std::size_t filled = 0; filled < bytes.size();) {
    const ssize_t count = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return std::nullopt;
    filled += static_cast<std::size_t>(count);
  }
  Result<SeedIndex> index = decode_seed_index(bytes);
  if (!index || index->seed != identity || index->sizes != sizes || index->digest != digest) return std::nullopt;
  return std::move(*index);
}

Result<void> SeedCache::save(const std::string& seed, const SeedIndex& index) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) return fail(Error::from_errno(error.value(), "make the folder " + folder_));
  const std::string path = file_of(seed, index.sizes, index.digest);
  const std::string partial = fmt::format("{}.{}.partial", path, ::getpid());
  const Descriptor file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.is_open()) return fail(errno_error("make", partial));
  // Without waiting for the disk: after a crash the checksum tells.
  Result<void> written = write_all(file.get(), encode_seed_index(index));
  if (!written) written = fail(std::move(written).error().within(partial));
  if (written && ::rename(partial.c_str(), path.c_str()) != 0) written = fail(errno_error("rename into place", path));
  if (!written) {
    ::unlink(partial.c_str());
    return written;
  }
  remove_old(path);
  return {};
}

void SeedCache::remove_old(const std::string& newest) const {
  std::error_code ignored;  // what cannot be removed stays: it is only a cache
  const fs::file_time_type now = fs::last_write_time(newest, ignored);
  if (ignored) return;
  for (fs::directory_iterator at(folder_, ignored), end; !ignored && at != end; at.increment(ignored)) {
    const std::string name = at->path().filename();
    if (!name.ends_with(kSuffix) && !name.ends_with(".partial")) continue;
    std::error_code error;
    const fs::file_time_type written = fs::last_write_time(at->path(), error);
    if (!error && now - written > kKept) fs::remove(at->path(), error);
  }
}

}  // namespace godwit::chunks
