#include "chunks/driver/tree_extractor.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_remove.h"

namespace godwit::chunks {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
constexpr int kFileFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
// A file system wants to know these while a file is still empty.
constexpr FeatureFlags kEarlyFlags = feature::kFlagNoCow | feature::kFlagCompr | feature::kFlagNoComp;

bool has_default_acl(int folder) {
  return ::fgetxattr(folder, std::string(kDefaultAclName).c_str(), nullptr, 0) > 0;
}

}  // namespace

Error TreeExtractor::within_path(Error error) const {
  return std::move(error).within("'" + escaped(path_.empty() ? top_ : top_ + "/" + path_) + "'");
}

Error TreeExtractor::error(std::string_view what) const {
  const int number = errno;
  std::string text(what);
  if (number == EPERM && !options_.undo_immutable) text += " (--undo-immutable=yes takes chattr's +i and +a away)";
  return within_path(Error::from_errno(number, text));
}

Result<std::unique_ptr<TreeExtractor>> TreeExtractor::open(const std::string& path, const TreeExtractorOptions& options,
                                                           std::string_view subtree_name) {
  auto extractor = std::unique_ptr<TreeExtractor>(new TreeExtractor(path, options));
  extractor->subtree_name_ = subtree_name;
  Folder top;
  top.is_new = ::mkdir(path.c_str(), 0700) == 0;
  if (!top.is_new && errno != EEXIST) return fail(extractor->error("make folder"));
  // Here alone a symlink is followed: the user named it.
  top.descriptor = Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top.descriptor.is_open()) return fail(extractor->error("open folder"));
  if (::getrandom(&extractor->run_, sizeof extractor->run_, 0) != sizeof extractor->run_)
    return fail(extractor->error("get a random number for"));
  extractor->folders_.push_back(std::move(top));
  return extractor;
}

TreeExtractor::~TreeExtractor() {
  // Half a file is no file.
  if (leaf_.file) ::unlinkat(folders_.back().descriptor.get(), leaf_.made_name.c_str(), 0);
}

Result<void> TreeExtractor::enter(const Node& node, std::string_view name) {
  if (++node_count_ == 1) {
    if (Result<void> entered = enter_top(node); !entered) return entered;
    if (subtree_name_.empty()) return {};
    name_ = subtree_name_;
  } else {
    name_ = name;
  }
  Folder& folder = folders_.back();
  path_.resize(folder.path_size);
  if (!path_.empty()) path_ += '/';
  path_ += name_;
  if (Result<void> passed = pass_others(folder, name_); !passed) return passed;
  if (node.is_directory()) return enter_folder(node);
  leaf_.is_open = true;
  if (is_skipped(node)) return {};
  return node.is_regular() ? begin_file(node) : make_special(node);
}

// The folder of a sub-tree's destination is only a place.
Result<void> TreeExtractor::enter_top(const Node& node) {
  Folder& top = folders_.back();
  if (!top.is_new) top.given.acl = has_default_acl(top.descriptor.get());
  if (!subtree_name_.empty()) {
    top.has_node = top.is_new;  // made by us with 0700: to be given the mode of any new folder
    top.node.mode = S_IFDIR;
    return {};
  }
  GODWIT_CHECK(node.is_directory());
  top.node = node;
  top.has_node = true;
  return top.is_new ? Result<void>() : look_into(top);
}

// A folder that was there before: what it has and what it hands on is not known from the archive.
Result<void> TreeExtractor::look_into(Folder& folder) {
  const int descriptor = folder.descriptor.get();
  std::uint32_t chattr = read_chattr(descriptor);
  if (options_.undo_immutable && (chattr & (kChattrImmutable | kChattrAppend)) != 0) {
    chattr &= ~(kChattrImmutable | kChattrAppend);
    if (Result<void> undone = write_chattr(descriptor, chattr); !undone) return fail(within_path(std::move(undone).error()));
  }
  folder.own = {.acl = true, .chattr = true, .xattrs = true};
  folder.given = {.acl = has_default_acl(descriptor), .chattr = (chattr & chattr_kept()) != 0, .xattrs = false};
  if (!options_.remove_others) return {};
  Result<std::vector<DirectoryName>> names = read_directory(descriptor, path_.empty() ? top_ : path_);
  if (!names) return fail(std::move(names).error());
  folder.others = std::move(*names);
  return {};
}

Result<void> TreeExtractor::pass_others(Folder& folder, std::string_view up_to) {
  for (; folder.others_next < folder.others.size(); ++folder.others_next) {
    const std::string& other = folder.others[folder.others_next].name;
    if (!up_to.empty() && other >= up_to) {
      if (other == up_to) ++folder.others_next;
      return {};
    }
    if (Result<void> removed = remove_tree(folder.descriptor.get(), other, options_.undo_immutable); !removed)
      return fail(within_path(std::move(removed).error().within("not in the archive")));
  }
  return {};
}

bool TreeExtractor::is_skipped(const Node& node) const {
  switch (node.mode & S_IFMT) {
    case S_IFLNK: return !attributes_.is_allowed(feature::kSymlinks);
    case S_IFCHR:
    case S_IFBLK: return !attributes_.is_allowed(feature::kDeviceNodes);
    case S_IFIFO: return !attributes_.is_allowed(feature::kFifos);
    case S_IFSOCK: return !attributes_.is_allowed(feature::kSockets);
    default: return false;
  }
}

// Whether it was made; false when a folder of that name was there.
Result<bool> TreeExtractor::make_folder(const Folder& parent, const Node& node) {
  const int above = parent.descriptor.get();
  for (int attempt = 0; attempt < 2; ++attempt) {
    if ((node.flags & feature::kSubvolume) != 0 && attributes_.is_allowed(feature::kSubvolume)) {
      const Result<FileSystemTraits> traits = traits_of_file_system(above);
      if (traits && traits->is_btrfs && make_subvolume(above, name_)) return true;
    }
    if (::mkdirat(above, name_.c_str(), 0700) == 0) return true;
    if (errno != EEXIST) return fail(error("make folder"));
    struct stat status{};
    if (::fstatat(above, name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return fail(error("look at"));
    if (S_ISDIR(status.st_mode)) return false;
    if (Result<void> removed = remove_tree(above, name_, options_.undo_immutable); !removed)
      return fail(within_path(std::move(removed).error()));
  }
  return fail(ErrorKind::busy, "'" + escaped(top_ + "/" + path_) + "' is being changed by somebody else");
}

Result<void> TreeExtractor::enter_folder(const Node& node) {
  Folder& parent = folders_.back();
  Folder folder;
  const Result<bool> made = make_folder(parent, node);
  if (!made) return fail(made.error());
  folder.is_new = *made;
  folder.descriptor = Descriptor(::openat(parent.descriptor.get(), name_.c_str(), kFolderFlags));
  if (!folder.descriptor.is_open()) return fail(error("open folder"));
  folder.node = node;
  folder.has_node = true;
  folder.path_size = path_.size();
  folder.own = folder.given = parent.given;
  if (!folder.is_new)
    if (Result<void> looked = look_into(folder); !looked) return looked;
  folders_.push_back(std::move(folder));
  return {};
}

Result<void> TreeExtractor::leave() {
  if (!leaf_.is_open) return leave_folder();
  leaf_.is_open = false;
  return leaf_.file ? leave_file() : Result<void>();
}

Result<void> TreeExtractor::leave_folder() {
  GODWIT_CHECK(!folders_.empty());
  Folder& folder = folders_.back();
  path_.resize(folder.path_size);
  if (Result<void> passed = pass_others(folder, {}); !passed) return passed;
  if (folder.has_node) {
    struct stat status{};
    if (::fstat(folder.descriptor.get(), &status) != 0) return fail(error("look at"));
    const mode_t fallback = folder.is_new ? attributes_.fallback_mode(folder.node) : status.st_mode & 07777;
    Result<void> applied = attributes_.apply(folder.descriptor.get(), folder.node, status, fallback, folder.own);
    if (applied) applied = attributes_.apply_flags(folder.descriptor.get(), folder.node, folder.own);
    if (!applied) return fail(within_path(std::move(applied).error()));
  }
  folders_.pop_back();
  return {};
}

Result<void> TreeExtractor::finish() {
  GODWIT_CHECK(folders_.size() <= 1 && !leaf_.is_open);
  return folders_.empty() ? Result<void>() : leave_folder();
}

std::string TreeExtractor::name_to_make(const Folder& folder) {
  return folder.is_new ? name_ : fmt::format(".#godwit-{:016x}-{}", run_, temporary_count_++);
}

// Until its owner is set, only we may read what others' bits would let them.
Result<void> TreeExtractor::begin_file(const Node& node) {
  const Folder& folder = folders_.back();
  const mode_t wanted = attributes_.mode_of(node, attributes_.fallback_mode(node)) & 0777;
  const bool is_ours = node.uid == ::geteuid() && node.user_name.empty();
  leaf_.made_name = name_to_make(folder);
  const int number =
      ::openat(folder.descriptor.get(), leaf_.made_name.c_str(), kFileFlags, is_ours ? wanted | 0200 : (wanted & 0700) | 0200);
  if (number < 0) return fail(error("make file"));
  leaf_.node = node;
  leaf_.file = std::make_unique<TreeFile>(Descriptor(number), options_.punch_holes);
  if (const FeatureFlags early = node.flags & options_.mask.allowed & kEarlyFlags; early != 0)
    (void)write_chattr(number, read_chattr(number) | chattr_of_features(early));  // when it is left, an error counts
  return {};
}

Result<void> TreeExtractor::payload(ConstBytes bytes) {
  if (!leaf_.file) return {};
  if (Result<void> written = leaf_.file->write(bytes); !written) return fail(within_path(std::move(written).error()));
  return {};
}

Result<void> TreeExtractor::leave_file() {
  const Folder& folder = folders_.back();
  const int number = leaf_.file->descriptor();
  if (Result<void> finished = leaf_.file->finish(); !finished) return fail(within_path(std::move(finished).error()));
  struct stat status{};
  if (::fstat(number, &status) != 0) return fail(error("look at"));
  Result<void> applied = attributes_.apply(number, leaf_.node, status, attributes_.fallback_mode(leaf_.node), folder.given);
  if (!applied) return fail(within_path(std::move(applied).error()));
  if (leaf_.made_name != name_)
    if (Result<void> renamed = rename_into_place(folder, leaf_.made_name); !renamed) return renamed;
  const std::unique_ptr<TreeFile> file = std::move(leaf_.file);  // it has its place
  Result<void> flagged = attributes_.apply_flags(number, leaf_.node, folder.given);
  if (!flagged) return fail(within_path(std::move(flagged).error()));
  return {};
}

Result<void> TreeExtractor::rename_into_place(const Folder& folder, const std::string& made_name) {
  const int number = folder.descriptor.get();
  if (::renameat(number, made_name.c_str(), number, name_.c_str()) == 0) return {};
  const bool is_in_the_way =
      errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST || (errno == EPERM && options_.undo_immutable);
  if (!is_in_the_way) return fail(error("rename into place"));
  if (Result<void> removed = remove_tree(number, name_, options_.undo_immutable); !removed)
    return fail(within_path(std::move(removed).error()));
  if (::renameat(number, made_name.c_str(), number, name_.c_str()) != 0) return fail(error("rename into place"));
  return {};
}

Result<void> TreeExtractor::make_special(const Node& node) {
  const Folder& folder = folders_.back();
  const int number = folder.descriptor.get();
  const std::string made_name = name_to_make(folder);
  int done = 0;
  if (node.is_symlink())
    done = ::symlinkat(node.symlink_target.c_str(), number, made_name.c_str());
  else
    done = ::mknodat(number, made_name.c_str(), (node.mode & S_IFMT) | 0600,
                     makedev(static_cast<unsigned>(node.device_major), static_cast<unsigned>(node.device_minor)));
  if (done != 0) return fail(error(node.is_symlink() ? "make symlink" : "make node"));
  Result<void> placed = apply_special(folder, node, made_name);
  if (placed && made_name != name_) placed = rename_into_place(folder, made_name);
  if (!placed) ::unlinkat(number, made_name.c_str(), 0);
  return placed;
}

Result<void> TreeExtractor::apply_special(const Folder& folder, const Node& node, const std::string& made_name) {
  const Descriptor made(::openat(folder.descriptor.get(), made_name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!made.is_open()) return fail(error("open"));
  struct stat status{};
  if (::fstat(made.get(), &status) != 0) return fail(error("look at"));
  if ((status.st_mode & S_IFMT) != (node.mode & S_IFMT) || status.st_nlink != 1)
    return fail(ErrorKind::busy, "'" + escaped(top_ + "/" + path_) + "' was replaced by somebody else while it was made");
  Result<void> applied = attributes_.apply(made.get(), node, status, attributes_.fallback_mode(node), folder.given);
  if (!applied) return fail(within_path(std::move(applied).error()));
  return {};
}

}  // namespace godwit::chunks
