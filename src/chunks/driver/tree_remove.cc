#include "chunks/driver/tree_remove.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_flags.h"

namespace godwit::chunks {
namespace {

constexpr std::uint32_t kForbidding = kChattrImmutable | kChattrAppend;

bool undo(int descriptor) {
  const std::uint32_t bits = read_chattr(descriptor);
  return (bits & kForbidding) != 0 && write_chattr(descriptor, bits & ~kForbidding);
}

// Whether it may be tried again: something forbade it, and does not any more.
bool undo_in(int parent, const std::string& name) {
  const bool parent_undone = undo(parent);
  const Descriptor node(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  struct stat status{};
  const bool is_safe =
      node.is_open() && ::fstat(node.get(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
  return (is_safe && undo(node.get())) || parent_undone;
}

struct Level {
  Descriptor descriptor;
  std::string name;
  std::vector<DirectoryName> names;
};

Result<void> unlink_one(int parent, const std::string& name, int flags, bool undo_immutable) {
  if (::unlinkat(parent, name.c_str(), flags) == 0 || errno == ENOENT) return {};
  if (errno == EPERM && undo_immutable && undo_in(parent, name) && ::unlinkat(parent, name.c_str(), flags) == 0) return {};
  return fail(errno_error("remove", name));
}

Result<Level> open_level(int parent, const std::string& name) {
  Level level;
  level.name = name;
  level.descriptor = Descriptor(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!level.descriptor.is_open()) return fail(errno_error("open folder", name));
  Result<std::vector<DirectoryName>> names = read_directory(level.descriptor.get(), name);
  if (!names) return fail(std::move(names).error());
  level.names = std::move(*names);
  return level;
}

Result<bool> is_folder(int parent, const std::string& name) {
  struct stat status{};
  if (::fstatat(parent, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return S_ISDIR(status.st_mode);
  if (errno == ENOENT) return false;
  return fail(errno_error("look at", name));
}

}  // namespace

Result<void> remove_tree(int parent, const std::string& name, bool undo_immutable) {
  std::vector<Level> levels;
  std::string next = name;
  for (;;) {
    const int folder = levels.empty() ? parent : levels.back().descriptor.get();
    const Result<bool> deeper = is_folder(folder, next);
    if (!deeper) return fail(deeper.error());
    if (*deeper) {
      Result<Level> level = open_level(folder, next);
      if (!level) return fail(std::move(level).error());
      levels.push_back(std::move(*level));
      if (undo_immutable)
        if (Result<void> undone = make_subvolume_writable(levels.back().descriptor.get()); !undone) return undone;
    } else if (Result<void> removed = unlink_one(folder, next, 0, undo_immutable); !removed) {
      return removed;
    }
    while (!levels.empty() && levels.back().names.empty()) {
      const std::string emptied = std::move(levels.back().name);
      levels.pop_back();
      const int above = levels.empty() ? parent : levels.back().descriptor.get();
      if (Result<void> removed = unlink_one(above, emptied, AT_REMOVEDIR, undo_immutable); !removed) return removed;
    }
    if (levels.empty()) return {};
    next = std::move(levels.back().names.back().name);
    levels.back().names.pop_back();
  }
}

}  // namespace godwit::chunks
