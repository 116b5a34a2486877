#include "chunks/driver/seed_cache.h"

#include <sys/stat.h>

#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "chunks/driver/cache_file.h"
#include "chunks/driver/seed_device.h"

namespace godwit::chunks {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".gwseed";

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::optional<SeedIdentity> seed_identity_of(int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return std::nullopt;
  if (S_ISBLK(status.st_mode)) return seed_identity_of_device(descriptor, status);
  if (!S_ISREG(status.st_mode)) return std::nullopt;
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
  return folder_ + "/" + cache_file_name(key, kSuffix);
}

std::optional<SeedIndex> SeedCache::load(const std::string& seed, const SeedIdentity& identity, const ChunkSizes& sizes,
                                         Digest digest) const {
  const std::optional<Bytes> bytes = read_cache_file(file_of(seed, sizes, digest), kSeedIndexBytesMax);
  if (!bytes) return std::nullopt;
  Result<SeedIndex> index = decode_seed_index(*bytes);
  if (!index || index->seed != identity || index->sizes != sizes || index->digest != digest) return std::nullopt;
  return std::move(*index);
}

Result<void> SeedCache::save(const std::string& seed, const SeedIndex& index) const {
  const std::string path = file_of(seed, index.sizes, index.digest);
  Result<void> written = write_cache_file(path, encode_seed_index(index));
  if (written) remove_old_cache_files(path, kSuffix);
  return written;
}

}  // namespace godwit::chunks
