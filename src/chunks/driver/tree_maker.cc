#include "chunks/driver/tree_maker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/tree_flags.h"
#include "chunks/driver/tree_remove.h"

namespace godwit::chunks {
namespace {

constexpr int kFileFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
// A file system wants to know these while a file is still empty.
constexpr FeatureFlags kEarlyFlags = feature::kFlagNoCow | feature::kFlagCompr | feature::kFlagNoComp;

}  // namespace

Error within_tree_path(const TreeExtraction& extraction, std::string_view path, Error error) {
  std::string full = extraction.top;
  if (!path.empty()) full.append("/").append(path);
  return std::move(error).within("'" + escaped(full) + "'");
}

Error tree_error(const TreeExtraction& extraction, std::string_view what) {
  const int number = errno;
  std::string text(what);
  if (number == EPERM && !extraction.options.undo_immutable) text += " (--undo-immutable=yes takes chattr's +i and +a away)";
  return Error::from_errno(number, text);
}

Error TreeMaker::error(std::string_view what) const {
  return tree_error(extraction_, what);
}

Error TreeMaker::within_path(const TreeFolder& folder, std::string_view name, Error error) const {
  std::string path = folder.path;
  if (!path.empty()) path += '/';
  return within_tree_path(extraction_, path.append(name), std::move(error));
}

TreeMaker::~TreeMaker() {
  if (file_) ::unlinkat(folder_->descriptor.get(), made_name_.c_str(), 0);
}

bool TreeMaker::is_skipped(const Node& node) const {
  switch (node.mode & S_IFMT) {
    case S_IFLNK: return !attributes_.is_allowed(feature::kSymlinks);
    case S_IFCHR:
    case S_IFBLK: return !attributes_.is_allowed(feature::kDeviceNodes);
    case S_IFIFO: return !attributes_.is_allowed(feature::kFifos);
    case S_IFSOCK: return !attributes_.is_allowed(feature::kSockets);
    default: return false;
  }
}

std::string TreeMaker::name_to_make(const TreeFolder& folder) {
  return folder.is_new ? name_ : temporary_name();
}

std::string TreeMaker::temporary_name() {
  return fmt::format(".#godwit-{:016x}-{}", extraction_.run, extraction_.temporary_count++);
}

// Until its owner is set, only we may read what others' bits would let them.
Result<void> TreeMaker::begin_file(const TreeFolder& folder, const Node& node, std::string_view name) {
  name_ = name;
  const mode_t wanted = attributes_.mode_of(node, attributes_.fallback_mode(node)) & 0777;
  const bool is_ours = node.uid == euid_ && node.user_name.empty();
  made_name_ = name_to_make(folder);
  const int number =
      ::openat(folder.descriptor.get(), made_name_.c_str(), kFileFlags, is_ours ? wanted | 0200 : (wanted & 0700) | 0200);
  if (number < 0) return fail(within_path(folder, name, error("make file")));
  folder_ = &folder;
  node_ = node;
  file_ = std::make_unique<TreeFile>(Descriptor(number), extraction_.options.punch_holes);
  is_beginning_ = extraction_.seeds != nullptr;
  beginning_.clear();
  twins_ = {};
  // Also off, where the folder gave them: btrfs takes nocow from no file that has bytes. An error counts when the file is ended.
  const FeatureFlags known = node.features & extraction_.options.mask.allowed & kEarlyFlags;
  if (const FeatureFlags early = node.flags & known; early != 0 || (folder.given.chattr && known != 0))
    (void)write_chattr(number, (read_chattr(number) & ~chattr_of_features(known)) | chattr_of_features(early));
  return {};
}

Result<void> TreeMaker::make_file(const TreeFolder& folder, const Node& node, std::string_view name, ConstBytes bytes) {
  const Result<bool> linked = make_link(folder, node, name, bytes);
  if (!linked) return fail(linked.error());
  if (*linked) return {};
  if (Result<void> begun = begin_file(folder, node, name); !begun) return begun;
  if (std::exchange(is_beginning_, false)) share_blocks(bytes);
  if (Result<void> written = write_through(bytes); !written) return written;
  return end_file();
}

// The bytes behind a file's beginning wait for nothing: what is like it is known by then.
Result<void> TreeMaker::write(ConstBytes bytes) {
  if (is_beginning_) {
    const std::uint64_t wanted = std::min(SeedFiles::kBeginningBytes, node_.payload_size);
    const std::size_t missing = std::min<std::size_t>(bytes.size(), wanted - beginning_.size());
    append(beginning_, bytes.first(missing));
    bytes = bytes.subspan(missing);
    if (beginning_.size() < wanted) return {};
    is_beginning_ = false;
    if (may_link(node_)) twins_ = SeedTwins(extraction_.seeds->twins_of(node_, beginning_));
    if (twins_.empty()) share_blocks(beginning_);
    if (Result<void> written = write_through(beginning_); !written) return written;
  }
  return write_through(bytes);
}

Result<void> TreeMaker::write_through(ConstBytes bytes) {
  twins_.compare(bytes);
  if (Result<void> written = file_->write(bytes); !written) return fail(abandon_file(std::move(written).error()));
  return {};
}

Error TreeMaker::abandon_file(Error error) {
  if (file_) ::unlinkat(folder_->descriptor.get(), made_name_.c_str(), 0);
  file_.reset();
  return within_path(*folder_, name_, std::move(error));
}

Result<void> TreeMaker::end_file() {
  Result<void> ended = end_open_file();
  twins_ = {};
  if (!ended) return fail(abandon_file(std::move(ended).error()));
  return {};
}

Result<void> TreeMaker::end_open_file() {
  const Result<bool> linked = end_as_link();
  if (!linked) return fail(linked.error());
  if (*linked) return {};
  const int number = file_->descriptor();
  extraction_.bytes_shared += file_->kept_bytes();
  if (Result<void> finished = file_->finish(); !finished) return finished;
  struct stat status{};
  if (::fstat(number, &status) != 0) return fail(error("look at"));
  Result<void> applied = attributes_.apply(number, node_, status, attributes_.fallback_mode(node_), folder_->given);
  if (!applied) return applied;
  if (made_name_ != name_)
    if (Result<void> renamed = rename_into_place(*folder_, made_name_); !renamed) return renamed;
  const std::unique_ptr<TreeFile> file = std::move(file_);  // it has its place
  return attributes_.apply_flags(number, node_, folder_->given);
}

Result<void> TreeMaker::rename_into_place(const TreeFolder& folder, const std::string& made_name) {
  const int number = folder.descriptor.get();
  if (::renameat(number, made_name.c_str(), number, name_.c_str()) == 0) return {};
  const bool undo = extraction_.options.undo_immutable;
  const bool is_in_the_way = errno == EISDIR || errno == ENOTEMPTY || errno == EEXIST || (errno == EPERM && undo);
  if (!is_in_the_way) return fail(error("rename into place"));
  if (Result<void> removed = remove_tree(number, name_, undo); !removed) return removed;
  if (::renameat(number, made_name.c_str(), number, name_.c_str()) != 0) return fail(error("rename into place"));
  return {};
}

Result<void> TreeMaker::make_special(const TreeFolder& folder, const Node& node, std::string_view name) {
  name_ = name;
  const int number = folder.descriptor.get();
  const std::string made_name = name_to_make(folder);
  int done = 0;
  if (node.is_symlink())
    done = ::symlinkat(node.symlink_target.c_str(), number, made_name.c_str());
  else
    done = ::mknodat(number, made_name.c_str(), (node.mode & S_IFMT) | 0600,
                     makedev(static_cast<unsigned>(node.device_major), static_cast<unsigned>(node.device_minor)));
  if (done != 0) return fail(within_path(folder, name, error(node.is_symlink() ? "make symlink" : "make node")));
  Result<void> placed = apply_special(folder, node, made_name);
  if (placed && made_name != name_) placed = rename_into_place(folder, made_name);
  if (placed) return {};
  ::unlinkat(number, made_name.c_str(), 0);
  return fail(within_path(folder, name, std::move(placed).error()));
}

Result<void> TreeMaker::apply_special(const TreeFolder& folder, const Node& node, const std::string& made_name) {
  const Descriptor made(::openat(folder.descriptor.get(), made_name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  if (!made.is_open()) return fail(error("open"));
  struct stat status{};
  if (::fstat(made.get(), &status) != 0) return fail(error("look at"));
  if ((status.st_mode & S_IFMT) != (node.mode & S_IFMT) || status.st_nlink != 1)
    return fail(ErrorKind::busy, "it was replaced by somebody else while it was made");
  return attributes_.apply(made.get(), node, status, attributes_.fallback_mode(node), folder.given);
}

Result<void> TreeMaker::finish_folder(const TreeFolder& folder) {
  if (!folder.has_node) return {};
  const int number = folder.descriptor.get();
  struct stat status{};
  if (::fstat(number, &status) != 0) return fail(within_tree_path(extraction_, folder.path, error("look at")));
  const mode_t fallback = folder.is_new ? attributes_.fallback_mode(folder.node) : status.st_mode & 07777;
  Result<void> applied = attributes_.apply(number, folder.node, status, fallback, folder.own);
  if (applied) applied = attributes_.apply_flags(number, folder.node, folder.own);
  if (!applied) return fail(within_tree_path(extraction_, folder.path, std::move(applied).error()));
  return {};
}

}  // namespace godwit::chunks
