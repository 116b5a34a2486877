#include "chunks/driver/tree_extractor.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_remove.h"

namespace godwit::chunks {
namespace {

constexpr int kFolderFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

bool has_default_acl(int folder) {
  return ::fgetxattr(folder, std::string(kDefaultAclName).c_str(), nullptr, 0) > 0;
}

}  // namespace

Error TreeExtractor::within_path(Error error) const {
  return within_tree_path(extraction_, path_, std::move(error));
}

Error TreeExtractor::error(std::string_view what) const {
  return within_path(tree_error(extraction_, what));
}

Result<std::unique_ptr<TreeExtractor>> TreeExtractor::open(const std::string& path, const TreeExtractorOptions& options,
                                                           std::string_view subtree_name) {
  auto extractor = std::unique_ptr<TreeExtractor>(new TreeExtractor(path, options));
  extractor->subtree_name_ = subtree_name;
  auto top = std::make_shared<TreeFolder>();
  top->is_new = ::mkdir(path.c_str(), 0700) == 0;
  if (!top->is_new && errno != EEXIST) return fail(extractor->error("make folder"));
  // Here alone a symlink is followed: the user named it.
  top->descriptor = Descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top->descriptor.is_open()) return fail(extractor->error("open folder"));
  if (options.sync) {
    extractor->top_ = Descriptor(::fcntl(top->descriptor.get(), F_DUPFD_CLOEXEC, 0));
    if (!extractor->top_.is_open()) return fail(extractor->error("open folder"));
  }
  std::uint64_t& run = extractor->extraction_.run;
  if (::getrandom(&run, sizeof run, 0) != sizeof run) return fail(extractor->error("get a random number for"));
  extractor->levels_.push_back({.folder = std::move(top), .others = {}});
  return extractor;
}

Result<void> TreeExtractor::enter(const Node& node, std::string_view name) {
  if (++node_count_ == 1) {
    if (Result<void> looked = look_into_seeds(node); !looked) return looked;
    if (Result<void> entered = enter_top(node); !entered) return entered;
    if (subtree_name_.empty()) return {};
    name_ = subtree_name_;
  } else {
    name_ = name;
  }
  if (makers_.has_failed()) return makers_.settle();
  Level& level = levels_.back();
  path_ = level.folder->path;
  if (!path_.empty()) path_ += '/';
  path_ += name_;
  if (Result<void> passed = pass_others(level, name_); !passed) return passed;
  return node.is_directory() ? enter_folder(node) : enter_leaf(node);
}

// The folder of a sub-tree's destination is only a place.
Result<void> TreeExtractor::enter_top(const Node& node) {
  TreeFolder& top = *levels_.back().folder;
  if (!top.is_new) top.given.acl = has_default_acl(top.descriptor.get());
  if (!subtree_name_.empty()) {
    top.has_node = top.is_new;  // made by us with 0700: to be given the mode of any new folder
    top.node.mode = S_IFDIR;
    return {};
  }
  GODWIT_CHECK(node.is_directory());
  top.node = node;
  top.has_node = true;
  return top.is_new ? Result<void>() : look_into(levels_.back());
}

// Before anything is changed: the folder that is written to may be its own seed.
Result<void> TreeExtractor::look_into_seeds(const Node& node) {
  TreeExtractorOptions& options = extraction_.options;
  if (options.seeds.empty()) return {};
  options.reflink = options.reflink && may_share_blocks(levels_.back().folder->descriptor.get());
  if (!options.reflink && !options.hardlink) return {};
  auto seeds = std::make_unique<SeedFiles>(node.features, options.hardlink);
  for (const std::string& seed : options.seeds)
    if (Result<void> added = seeds->add_folder(seed); !added) return added;
  extraction_.seeds = std::move(seeds);
  return {};
}

// A folder that was there before: what it has and what it hands on is not known from the archive.
Result<void> TreeExtractor::look_into(Level& level) {
  TreeFolder& folder = *level.folder;
  const int descriptor = folder.descriptor.get();
  std::uint32_t chattr = read_chattr(descriptor);
  if (extraction_.options.undo_immutable)
    if (Result<void> undone = make_subvolume_writable(descriptor); !undone) return fail(within_path(std::move(undone).error()));
  if (extraction_.options.undo_immutable && (chattr & (kChattrImmutable | kChattrAppend)) != 0) {
    chattr &= ~(kChattrImmutable | kChattrAppend);
    if (Result<void> undone = write_chattr(descriptor, chattr); !undone) return fail(within_path(std::move(undone).error()));
  }
  folder.own = {.acl = true, .chattr = true, .xattrs = true};
  folder.given = {.acl = has_default_acl(descriptor), .chattr = (chattr & chattr_kept()) != 0, .xattrs = false};
  if (!extraction_.options.remove_others) return {};
  Result<std::vector<DirectoryName>> names = read_directory(descriptor, path_.empty() ? extraction_.top : path_);
  if (!names) return fail(std::move(names).error());
  level.others = std::move(*names);
  return {};
}

Result<void> TreeExtractor::pass_others(Level& level, std::string_view up_to) {
  for (; level.others_next < level.others.size(); ++level.others_next) {
    const std::string& other = level.others[level.others_next].name;
    if (!up_to.empty() && other >= up_to) {
      if (other == up_to) ++level.others_next;
      return {};
    }
    const int folder = level.folder->descriptor.get();
    if (Result<void> removed = remove_tree(folder, other, extraction_.options.undo_immutable); !removed)
      return fail(within_path(std::move(removed).error().within("not in the archive")));
  }
  return {};
}

// Whether it was made; false when a folder of that name was there.
Result<bool> TreeExtractor::make_folder(const TreeFolder& parent, const Node& node) {
  const int above = parent.descriptor.get();
  for (int attempt = 0; attempt < 2; ++attempt) {
    if ((node.flags & feature::kSubvolume) != 0 && makers_.own().is_allowed(feature::kSubvolume)) {
      const Result<FileSystemTraits> traits = traits_of_file_system(above);
      if (traits && traits->is_btrfs && make_subvolume(above, name_)) return true;
    }
    if (::mkdirat(above, name_.c_str(), 0700) == 0) return true;
    if (errno != EEXIST) return fail(error("make folder"));
    struct stat status{};
    if (::fstatat(above, name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return fail(error("look at"));
    if (S_ISDIR(status.st_mode)) return false;
    if (Result<void> removed = remove_tree(above, name_, extraction_.options.undo_immutable); !removed)
      return fail(within_path(std::move(removed).error()));
  }
  return fail(ErrorKind::busy, "'" + escaped(extraction_.top + "/" + path_) + "' is being changed by somebody else");
}

Result<void> TreeExtractor::enter_folder(const Node& node) {
  const std::shared_ptr<TreeFolder>& parent = levels_.back().folder;
  const Result<bool> made = make_folder(*parent, node);
  if (!made) return fail(made.error());
  auto folder = std::make_shared<TreeFolder>();
  folder->is_new = *made;
  folder->descriptor = Descriptor(::openat(parent->descriptor.get(), name_.c_str(), kFolderFlags));
  if (!folder->descriptor.is_open()) return fail(error("open folder"));
  folder->node = node;
  folder->has_node = true;
  folder->path = path_;
  folder->own = folder->given = parent->given;
  Level level{.folder = folder, .others = {}};
  if (!folder->is_new)
    if (Result<void> looked = look_into(level); !looked) return looked;
  folder->parent = parent;
  ++parent->open;
  levels_.push_back(std::move(level));
  return {};
}

Result<void> TreeExtractor::leave() {
  switch (std::exchange(leaf_, Leaf::none)) {
    case Leaf::none: return leave_folder();
    case Leaf::own: return makers_.own().end_file();
    case Leaf::skipped:
    case Leaf::handed_over: return {};
  }
  return {};
}

Result<void> TreeExtractor::leave_folder() {
  GODWIT_CHECK(!levels_.empty());
  Level& level = levels_.back();
  path_ = level.folder->path;
  if (Result<void> passed = pass_others(level, {}); !passed) return passed;
  makers_.leave(std::move(level.folder));
  levels_.pop_back();
  return {};
}

Result<void> TreeExtractor::finish() {
  GODWIT_CHECK(levels_.size() <= 1 && leaf_ == Leaf::none);
  Result<void> left;
  if (!levels_.empty()) left = leave_folder();
  Result<void> settled = makers_.settle();
  if (!settled) return settled;
  if (left && top_.is_open() && ::syncfs(top_.get()) != 0) return fail(error("wait for the disk below"));
  return left;
}

Result<void> TreeExtractor::enter_leaf(const Node& node) {
  const std::shared_ptr<TreeFolder>& folder = levels_.back().folder;
  if (makers_.own().is_skipped(node)) {
    leaf_ = Leaf::skipped;
  } else if (node.is_regular() && node.payload_size > TreeMakers::kFileBytesMax) {
    leaf_ = Leaf::own;
    if (Result<void> begun = makers_.own().begin_file(*folder, node, name_); !begun) return begun;
  } else {
    leaf_ = Leaf::handed_over;
    makers_.add(folder, node, name_);
  }
  return {};
}

Result<void> TreeExtractor::payload(ConstBytes bytes) {
  if (leaf_ == Leaf::handed_over) makers_.append(bytes);
  return leaf_ == Leaf::own ? makers_.own().write(bytes) : Result<void>();
}

}  // namespace godwit::chunks
