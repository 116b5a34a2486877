#include "chunks/driver/local_store_sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fmt/format.h>

namespace godwit::chunks {

namespace {

struct DirectoryCloser {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using DirectoryPtr = std::unique_ptr<DIR, DirectoryCloser>;

bool is_chunk_folder(std::string_view name) {
  return name.size() == 4 && std::ranges::all_of(name, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<DirectoryPtr> open_folder(int parent, const char* name, const std::string& full) {
  const int descriptor = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (parent == AT_FDCWD ? 0 : O_NOFOLLOW));
  DirectoryPtr stream(descriptor < 0 ? nullptr : ::fdopendir(descriptor));
  if (stream == nullptr) return fail(Error::from_errno(errno, "open chunk store " + full));
  return stream;
}

// The names in an open folder, read at once so that what is removed meanwhile does not matter.
Result<std::vector<std::string>> names_in(DIR* stream, const std::string& full) {
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) names.emplace_back(entry->d_name);
  if (errno != 0) return fail(Error::from_errno(errno, "read " + full));
  std::ranges::sort(names);
  return names;
}

// A regular file in a folder of the store.
struct FolderFile {
  int folder;
  std::string name;
  std::string full;
  struct stat status;
};

// `visit` sees every regular file of every chunk folder, `left` each folder behind its files; `begun`, before, how many folders
// there are.
Result<void> walk_files(const std::string& path, const std::function<void(std::size_t folder_count)>& begun,
                        const std::function<Result<void>(const FolderFile&)>& visit,
                        const std::function<void(int root, const std::string& folder)>& left) {
  Result<DirectoryPtr> root = open_folder(AT_FDCWD, path.c_str(), path);
  if (!root) return fail(root.error());
  Result<std::vector<std::string>> folders = names_in(root->get(), path);
  if (!folders) return fail(folders.error());
  std::erase_if(*folders, [](const std::string& name) { return !is_chunk_folder(name); });
  begun(folders->size());
  for (const std::string& folder : *folders) {
    const std::string full = fmt::format("{}/{}", path, folder);
    struct stat status{};
    if (::fstatat(::dirfd(root->get()), folder.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(status.st_mode)) continue;
    Result<DirectoryPtr> stream = open_folder(::dirfd(root->get()), folder.c_str(), full);
    if (!stream) return fail(stream.error());
    const Result<std::vector<std::string>> names = names_in(stream->get(), full);
    if (!names) return fail(names.error());
    for (const std::string& name : *names) {
      FolderFile file{.folder = ::dirfd(stream->get()), .name = name, .full = fmt::format("{}/{}", full, name), .status = {}};
      if (::fstatat(file.folder, name.c_str(), &file.status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(file.status.st_mode)) continue;
      if (Result<void> visited = visit(file); !visited) return visited;
    }
    left(::dirfd(root->get()), folder);
  }
  return {};
}

std::optional<ChunkName> chunk_of(const std::string& file_name) {
  if (file_name.size() < 4) return std::nullopt;
  return parse_chunk_name(file_name.substr(0, 4) + "/" + file_name);
}

// casync's and ours end so, desync's begin so.
bool is_temporary(const std::string& file_name) {
  return file_name.ends_with(".tmp") || file_name.starts_with(".tmp-cacnk");
}

}  // namespace

Result<void> walk_local_store(const std::string& path, const std::function<Result<void>(const StoredChunk&)>& visit) {
  return walk_files(
      path, [](std::size_t) {},
      [&](const FolderFile& file) -> Result<void> {
        const std::optional<ChunkName> name = chunk_of(file.name);
        if (!name) return {};
        return visit({.name = *name, .size = static_cast<std::uint64_t>(file.status.st_size)});
      },
      [](int, const std::string&) {});
}

Result<StoreLock> StoreLock::take(const std::string& path, Kind kind) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open chunk store " + path));
  if (::flock(descriptor, (kind == Kind::adding ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return StoreLock(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (error == EWOULDBLOCK)
    return fail(ErrorKind::busy,
                kind == Kind::adding
                    ? fmt::format("chunks are being removed from the store {}; try again when that has ended", path)
                    : fmt::format("another process is adding to the store {}, and may rely on chunks that no index "
                                  "names yet; try again when it has ended",
                                  path));
  return fail(ErrorKind::unsupported, fmt::format("the file system of {} has no locks", path));
}

StoreLock::~StoreLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<GarbageResult> collect_garbage(const StoreLock&, const std::string& path, const std::unordered_set<ChunkId>& wanted,
                                      const GarbageOptions& options) {
  GarbageResult result;
  GarbageWatch nobody_looks;
  GarbageWatch& watch = options.watch != nullptr ? *options.watch : nobody_looks;
  const auto remove = [&](const FolderFile& file) -> Result<void> {
    if (!options.dry_run && ::unlinkat(file.folder, file.name.c_str(), 0) != 0)
      return fail(Error::from_errno(errno, "remove " + file.full));
    return {};
  };
  const Result<void> walked = walk_files(
      path, [&](std::size_t folder_count) { watch.folders_total = folder_count; },
      [&](const FolderFile& file) -> Result<void> {
        if (watch.is_stopped)
          return fail(ErrorKind::cancelled, fmt::format("interrupted; {} chunks are gone", result.removed_chunks));
        watch.bytes_seen += static_cast<std::uint64_t>(file.status.st_size);
        const std::optional<ChunkName> name = chunk_of(file.name);
        if (name && wanted.contains(name->id)) {
          ++result.remaining_chunks;
          return {};
        }
        if (name) {
          ++result.removed_chunks;
          ++watch.removed_chunks;
          result.removed_bytes += static_cast<std::uint64_t>(file.status.st_size);
          return remove(file);
        }
        if (!is_temporary(file.name) || file.status.st_mtim.tv_sec >= options.temporary_before_seconds) return {};
        ++result.removed_temporaries;
        return remove(file);
      },
      [&](int root, const std::string& folder) {
        // Fails where something is left in it, which is what is wanted.
        if (!options.dry_run && ::unlinkat(root, folder.c_str(), AT_REMOVEDIR) == 0) ++result.removed_folders;
        ++watch.folders_done;
      });
  if (!walked) return fail(walked.error());
  return result;
}

}  // namespace godwit::chunks
