#include "chunks/driver/tree_walker.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {
namespace {

// Without a change of its access time where that is allowed to us.
int open_for_reading(int folder, const char* name, int flags) {
  const int all = flags | O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const int number = ::openat(folder, name, all | O_NOATIME);
  return number >= 0 || errno != EPERM ? number : ::openat(folder, name, all);
}

std::uint64_t mount_of(int descriptor) {
  struct statx status{};
  if (::statx(descriptor, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0) return 0;
  return status.stx_mnt_id;
}

std::int64_t nanoseconds(std::int64_t seconds, std::int64_t more) {
  return seconds * 1'000'000'000 + more;
}

}  // namespace

Error TreeWalker::error(std::string_view what) const {
  return errno_error(what, path_.empty() ? top_ : top_ + "/" + path_);
}

Result<std::unique_ptr<TreeWalker>> TreeWalker::open(const std::string& path, const TreeWalkerOptions& options) {
  auto walker = std::unique_ptr<TreeWalker>(new TreeWalker(path, options));
  Found top;
  top.descriptor = Descriptor(open_for_reading(AT_FDCWD, path.c_str(), O_DIRECTORY));
  if (!top.descriptor.is_open()) return fail(walker->error("open folder"));
  if (::fstat(top.descriptor.get(), &top.status) != 0) return fail(walker->error("look at"));
  Result<FileSystemTraits> traits = walker->traits_of(top.status.st_dev, top.descriptor.get());
  if (!traits) return fail(std::move(traits).error());
  top.traits = *traits;
  if (walker->wants(feature::kExcludeSubmounts)) top.mount = mount_of(top.descriptor.get());
  if (walker->reader_.wants_chattr()) top.chattr = read_chattr(top.descriptor.get());
  Result<Node> node = walker->reader_.read(top.descriptor.get(), top.status, top.traits, top.chattr);
  if (!node) return fail(std::move(node).error().within(escaped(path)));
  walker->node_ = std::move(*node);
  if (Result<void> entered = walker->enter_folder(std::move(top)); !entered) return fail(std::move(entered).error());
  return walker;
}

Result<ArchiveTree::Step> TreeWalker::next() {
  file_.reset();
  if (!started_) {
    started_ = true;
    ++node_count_;
    return Step::enter;
  }
  GODWIT_CHECK(!folders_.empty());
  for (;;) {
    Folder& folder = folders_.back();
    path_.resize(folder.path_size);
    if (folder.next == folder.names.size()) {
      folders_.pop_back();
      return Step::leave;
    }
    const DirectoryName name = std::move(folder.names[folder.next++]);
    if (!path_.empty()) path_ += '/';
    path_ += name.name;
    const Result<bool> entered = enter_child(name);
    if (!entered) return fail(entered.error());
    if (!*entered) continue;
    ++node_count_;
    return Step::enter;
  }
}

Result<bool> TreeWalker::enter_child(const DirectoryName& name) {
  Found found;
  const Result<bool> is_taken = find(folders_.back(), name, found);
  if (!is_taken || !*is_taken) return is_taken;
  Result<Node> node = reader_.read(found.descriptor.get(), found.status, found.traits, found.chattr);
  if (!node) return fail(std::move(node).error().within(escaped(path_)));
  node_ = std::move(*node);
  name_ = name.name;
  if (node_.is_directory()) {
    if (Result<void> entered = enter_folder(std::move(found)); !entered) return fail(std::move(entered).error());
  } else if (node_.is_regular()) {
    prepare_file(std::move(found));
  } else if (node_.is_symlink()) {
    const bool is_open = found.descriptor.is_open();
    const int at = is_open ? found.descriptor.get() : folders_.back().descriptor.get();
    if (Result<void> read = read_link(at, is_open ? "" : name.name.c_str()); !read) return fail(std::move(read).error());
  }
  return true;
}

bool TreeWalker::wants_type(std::uint32_t mode) const {
  switch (mode & S_IFMT) {
    case S_IFDIR:
    case S_IFREG: return true;
    case S_IFLNK: return wants(feature::kSymlinks);
    case S_IFCHR:
    case S_IFBLK: return wants(feature::kDeviceNodes);
    case S_IFIFO: return wants(feature::kFifos);
    case S_IFSOCK: return wants(feature::kSockets);
    default: return false;
  }
}

// Devices and fifos are never opened but by O_PATH: opening them does things. A symlink is opened at all, and so, only where more
// than its status is wanted of it. What readdir says of the type decides only how to begin; what counts is what the descriptor
// then is.
Result<void> TreeWalker::open_child(const Folder& folder, const DirectoryName& name, Found& found) {
  const int parent = folder.descriptor.get();
  unsigned char type = name.type;
  if (type == DT_UNKNOWN || type == DT_LNK) {
    if (::fstatat(parent, name.name.c_str(), &found.status, AT_SYMLINK_NOFOLLOW) != 0) return fail(error("look at"));
    type = static_cast<unsigned char>(IFTODT(found.status.st_mode));
    if (type == DT_LNK && !wants(feature::kSelinux)) return {};
  }
  int number = -1;
  if (type == DT_DIR)
    number = open_for_reading(parent, name.name.c_str(), O_NOFOLLOW | O_DIRECTORY);
  else if (type == DT_REG)
    number = open_for_reading(parent, name.name.c_str(), O_NOFOLLOW);
  else
    number = ::openat(parent, name.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (number < 0) return fail(error("open"));
  found.descriptor = Descriptor(number);
  if (::fstat(number, &found.status) != 0) return fail(error("look at"));
  if (IFTODT(found.status.st_mode) != type)
    return fail(ErrorKind::busy, fmt::format("'{}/{}' became something else while it was opened", escaped(top_), escaped(path_)));
  return {};
}

Result<bool> TreeWalker::find(const Folder& folder, const DirectoryName& name, Found& found) {
  if (name.type != DT_UNKNOWN && !wants_type(DTTOIF(name.type))) return false;
  // A node that is excluded by its name is not even opened.
  if (name.type != DT_UNKNOWN && is_excluded(name.type == DT_DIR)) return false;
  if (Result<void> opened = open_child(folder, name, found); !opened) return fail(std::move(opened).error());
  if (!wants_type(found.status.st_mode)) return false;
  if (name.type == DT_UNKNOWN && is_excluded(S_ISDIR(found.status.st_mode))) return false;
  found.traits = folder.traits;
  if (found.status.st_dev != folder.device && found.descriptor.is_open()) {
    Result<FileSystemTraits> traits = traits_of(found.status.st_dev, found.descriptor.get());
    if (!traits) return fail(std::move(traits).error());
    found.traits = *traits;
  }
  if (wants(feature::kExcludeSubmounts) && found.descriptor.is_open()) {
    found.mount = mount_of(found.descriptor.get());
    if (found.mount != folder.mount) return false;
  }
  if (reader_.wants_chattr() && found.descriptor.is_open() && (S_ISREG(found.status.st_mode) || S_ISDIR(found.status.st_mode))) {
    found.chattr = read_chattr(found.descriptor.get());
    if (wants(feature::kExcludeNoDump) && (found.chattr & kChattrNoDump) != 0) return false;
  }
  return true;
}

// Rules of every folder above count; the path each of them sees begins behind its own folder.
bool TreeWalker::is_excluded(bool is_folder) const {
  bool excluded = false;
  for (const Folder& folder : folders_) {
    if (!folder.has_rules) continue;
    const std::size_t start = folder.path_size == 0 ? 0 : folder.path_size + 1;
    switch (folder.rules.judge(std::string_view(path_).substr(start), is_folder)) {
      case ExcludeRules::Verdict::keep: return false;
      case ExcludeRules::Verdict::exclude: excluded = true; break;
      case ExcludeRules::Verdict::none: break;
    }
  }
  return excluded;
}

Result<void> TreeWalker::enter_folder(Found found) {
  Folder folder;
  folder.descriptor = std::move(found.descriptor);
  folder.path_size = path_.size();
  folder.device = found.status.st_dev;
  folder.mount = found.mount;
  folder.traits = found.traits;
  if (!folder.traits.is_api) {
    Result<std::vector<DirectoryName>> names = read_directory(folder.descriptor.get(), path_.empty() ? top_ : path_);
    if (!names) return fail(std::move(names).error());
    folder.names = std::move(*names);
  }
  if (wants(feature::kExcludeFile))
    if (Result<void> read = read_rules(folder); !read) return read;
  folders_.push_back(std::move(folder));
  return {};
}

// It may be a symlink: its text only says what to leave out.
Result<void> TreeWalker::read_rules(Folder& folder) {
  const auto at = std::lower_bound(folder.names.begin(), folder.names.end(), kExcludeFileName,
                                   [](const DirectoryName& entry, std::string_view name) { return entry.name < name; });
  if (at == folder.names.end() || at->name != kExcludeFileName) return {};
  const std::string where = (path_.empty() ? top_ : path_) + "/" + at->name;
  const Descriptor file(open_for_reading(folder.descriptor.get(), at->name.c_str(), 0));
  if (!file.is_open()) {
    if (errno == ENOENT || errno == ELOOP || errno == ENXIO) return {};
    return fail(errno_error("open", where));
  }
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail(errno_error("look at", where));
  if (!S_ISREG(status.st_mode)) return {};
  std::string text(std::min<std::size_t>(static_cast<std::size_t>(status.st_size), kExcludeFileSizeMax + 1), '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t count = ::pread(file.get(), text.data() + filled, text.size() - filled, static_cast<off_t>(filled));
    if (count < 0) return fail(errno_error("read", where));
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
  }
  Result<ExcludeRules> rules = ExcludeRules::parse(std::string_view(text).substr(0, filled));
  if (!rules) return fail(std::move(rules).error().within(escaped(where)));
  folder.rules = std::move(*rules);
  folder.has_rules = !folder.rules.empty();
  return {};
}

void TreeWalker::prepare_file(Found found) {
  node_.payload_size = found.traits.is_api ? 0 : static_cast<std::uint64_t>(found.status.st_size);
  const std::optional<FileState> state = state_of(found);
  file_ = std::make_unique<TreePayload>(std::move(found.descriptor), top_ + "/" + path_, found.status, node_.payload_size, state);
  file_offset_ = 0;
}

// A file system that does not know when a file was born shows files of an image, or another's (below an overlay, too): its times
// are what somebody has said.
std::optional<FileState> TreeWalker::state_of(const Found& found) const {
  const bool every = options_.every_state;
  if (!every && (!options_.settled_before_ns || !found.traits.tells_changes)) return std::nullopt;
  const std::int64_t changed = nanoseconds(found.status.st_ctim.tv_sec, found.status.st_ctim.tv_nsec);
  if (!every && changed >= *options_.settled_before_ns) return std::nullopt;
  struct statx more{};
  if (!every &&
      (::statx(found.descriptor.get(), "", AT_EMPTY_PATH, STATX_BTIME, &more) != 0 || (more.stx_mask & STATX_BTIME) == 0))
    return std::nullopt;
  return FileState{.file_system = found.traits.id,
                   .device = found.status.st_dev,
                   .inode = found.status.st_ino,
                   .size = static_cast<std::uint64_t>(found.status.st_size),
                   .mtime_ns = nanoseconds(found.status.st_mtim.tv_sec, found.status.st_mtim.tv_nsec),
                   .ctime_ns = changed,
                   .born_ns = nanoseconds(more.stx_btime.tv_sec, more.stx_btime.tv_nsec)};
}

Result<void> TreeWalker::read_link(int descriptor, const char* name) {
  char target[kSymlinkSizeMax + 2];
  const ssize_t size = ::readlinkat(descriptor, name, target, sizeof target);
  if (size < 0) return fail(error("read the link"));
  node_.symlink_target.assign(target, static_cast<std::size_t>(size));
  return {};
}

Result<FileSystemTraits> TreeWalker::traits_of(dev_t device, int descriptor) {
  const auto known = traits_.find(device);
  if (known != traits_.end()) return known->second;
  Result<FileSystemTraits> traits = traits_of_file_system(descriptor);
  if (traits) traits_.emplace(device, *traits);
  return traits;
}

Result<void> TreeWalker::read_payload(MutableBytes into) {
  Result<void> read = file_->read(file_offset_, into);
  file_offset_ += into.size();
  return read;
}

}  // namespace godwit::chunks
