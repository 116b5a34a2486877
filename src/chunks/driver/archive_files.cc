#include "chunks/driver/archive_files.h"

#include <linux/msdos_fs.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_flags.h"

namespace godwit::chunks {

using exports::FileAttribute;
using exports::FileChild;
using exports::FileId;
using exports::FileStatus;
using net::Done;

namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;
// Whose name this system does not know and whose number the archive does not have: "nobody", as the kernel has it.
constexpr std::uint64_t kUnknownOwner = 65534;

ArchiveMap::Number number_of(FileId file) {
  return static_cast<ArchiveMap::Number>(file.value - exports::kTopFile.value);
}
FileId id_of(ArchiveMap::Number number) {
  return FileId{number + exports::kTopFile.value};
}

}  // namespace

// Names count for more than numbers where this system knows them, as when the archive is extracted.
struct ArchiveFiles::Owners {
  OwnerNames names;
  UidShift shift;

  std::uint32_t number(const std::string& name, std::uint64_t id, bool is_group, bool has_numbers) {
    std::optional<std::uint64_t> known;
    if (!name.empty()) known = is_group ? names.gid(name) : names.uid(name);
    if (!known && !name.empty() && !has_numbers) {
      std::uint32_t as_text = 0;
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), as_text);
      known = error == std::errc() && end == name.data() + name.size() ? as_text : kUnknownOwner;
    }
    return static_cast<std::uint32_t>(shift.from_archive(known.value_or(id)));
  }
};

class ArchiveFiles::Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(store::BlockDevice& archive, net::Scheduler& scheduler, const Options& options, Done<std::unique_ptr<ArchiveFiles>> done)
      : archive_(archive),
        scheduler_(scheduler),
        owners_(std::make_shared<Owners>(Owners{{}, options.shift})),
        mapper_([owners = owners_](const std::string& name, std::uint64_t id, bool is_group,
                                   bool has_numbers) { return owners->number(name, id, is_group, has_numbers); },
                options.entries_max, part_of(options)),
        end_(options.subtree ? options.subtree->end : archive.size()),
        piece_(kPieceBytes),
        done_(std::move(done)) {}

  void go_on() {
    const std::uint64_t at = mapper_.position();
    if (mapper_.is_done() || at >= end_) return end();
    const MutableBytes into =
        MutableBytes(piece_).first(static_cast<std::size_t>(std::min<std::uint64_t>(piece_.size(), end_ - at)));
    archive_.read(at, into, [self = shared_from_this(), into](Result<void> read) {
      if (read) read = self->mapper_.feed(into);
      if (!read) return self->done_(fail(std::move(read).error()));
      self->go_on();
    });
  }

 private:
  static ArchiveDecoderOptions part_of(const Options& options) {
    // A whole archive says itself where it ends.
    if (!options.subtree || options.subtree->path.empty()) return {};
    return {.start_offset = options.subtree->start, .end_offset = options.subtree->end};
  }

  void end() {
    Result<ArchiveMap> map = mapper_.finish(end_);
    Result<std::unique_ptr<ArchiveFiles>> files = nullptr;
    if (map)
      files->reset(new ArchiveFiles(archive_, scheduler_, owners_, std::move(*map)));
    else
      files = fail(std::move(map).error());
    scheduler_.post([self = shared_from_this(), files = std::move(files)]() mutable { self->done_(std::move(files)); });
  }

  store::BlockDevice& archive_;
  net::Scheduler& scheduler_;
  std::shared_ptr<Owners> owners_;
  ArchiveMapper mapper_;
  const std::uint64_t end_;  // of what is mapped
  Bytes piece_;
  Done<std::unique_ptr<ArchiveFiles>> done_;
};

void ArchiveFiles::open(store::BlockDevice& archive, net::Scheduler& scheduler, const Options& options,
                        Done<std::unique_ptr<ArchiveFiles>> done) {
  std::make_shared<Walk>(archive, scheduler, options, std::move(done))->go_on();
}

ArchiveFiles::ArchiveFiles(store::BlockDevice& archive, net::Scheduler& scheduler, std::shared_ptr<Owners> owners, ArchiveMap map)
    : archive_(archive), scheduler_(scheduler), owners_(std::move(owners)), map_(std::move(map)) {}

std::optional<FileStatus> ArchiveFiles::status(FileId file) const {
  if (file < exports::kTopFile || file.value - exports::kTopFile.value >= map_.size()) return std::nullopt;
  const ArchiveMapEntry& entry = map_[number_of(file)];
  return FileStatus{.mode = entry.mode,
                    .uid = entry.uid,
                    .gid = entry.gid,
                    .size = entry.size,
                    .mtime_ns = entry.mtime_ns,
                    .device_major = static_cast<std::uint32_t>(entry.device / kDeviceMinorEnd),
                    .device_minor = static_cast<std::uint32_t>(entry.device % kDeviceMinorEnd)};
}

FileId ArchiveFiles::parent(FileId file) const {
  return id_of(map_[number_of(file)].parent);
}

std::optional<FileId> ArchiveFiles::find(FileId folder, std::string_view name) const {
  const std::optional<ArchiveMap::Number> found = map_.find(number_of(folder), name);
  return found ? std::optional(id_of(*found)) : std::nullopt;
}

std::optional<FileChild> ArchiveFiles::child(FileId folder, std::uint64_t place) const {
  if (place >= map_[number_of(folder)].child_count) return std::nullopt;
  const ArchiveMap::Number number = map_.child(number_of(folder), static_cast<std::uint32_t>(place));
  return FileChild{map_.name(number), id_of(number), map_[number].mode};
}

void ArchiveFiles::read(FileId file, std::uint64_t offset, MutableBytes into, Done<void> done) {
  const ArchiveMapEntry& entry = map_[number_of(file)];
  archive_.read(entry.head_offset + entry.head_size + offset, into, std::move(done));
}

void ArchiveFiles::with_node(FileId file, std::move_only_function<void(Result<Node>)> use) {
  const ArchiveMapEntry entry = map_[number_of(file)];
  auto head = std::make_shared<Bytes>(static_cast<std::size_t>(mapped_head_bytes(entry)));
  const MutableBytes into = *head;
  archive_.read(entry.head_offset, into, [entry, head = std::move(head), use = std::move(use)](Result<void> read) mutable {
    use(read ? decode_mapped_node(entry, *head) : Result<Node>(fail(std::move(read).error())));
  });
}

void ArchiveFiles::read_link(FileId file, Done<std::string> done) {
  with_node(file, [done = std::move(done)](Result<Node> node) mutable {
    done(node ? Result<std::string>(std::move(node->symlink_target)) : Result<std::string>(fail(std::move(node).error())));
  });
}

void ArchiveFiles::attributes(FileId file, Done<std::vector<FileAttribute>> done) {
  if (!map_[number_of(file)].has_attributes)
    return scheduler_.post([done = std::move(done)]() mutable { done(std::vector<FileAttribute>()); });
  with_node(file, [owners = owners_, done = std::move(done)](Result<Node> node) mutable {
    if (!node) return done(fail(std::move(node).error()));
    const bool has_numbers = (node->features & feature::kUidBits) != 0;
    const auto resolve = [&](std::vector<AclEntry>& entries, bool are_groups) {
      for (AclEntry& entry : entries) entry.id = owners->number(entry.name, entry.id, are_groups, has_numbers);
      std::ranges::sort(entries, {}, &AclEntry::id);  // the kernel takes them in this order only
    };
    std::vector<FileAttribute> all;
    for (Xattr& xattr : node->xattrs) all.push_back({std::move(xattr.name), std::move(xattr.value)});
    if (!node->acl.empty()) {
      resolve(node->acl.users, false);
      resolve(node->acl.groups, true);
      all.push_back({std::string(kAccessAclName), encode_access_acl(node->acl, node->mode)});
    }
    if (node->default_acl) {
      resolve(node->default_acl->users, false);
      resolve(node->default_acl->groups, true);
      all.push_back({std::string(kDefaultAclName), encode_default_acl(*node->default_acl)});
    }
    if (!node->selinux.empty()) {
      node->selinux.push_back('\0');
      all.push_back({std::string(kSelinuxName), to_bytes(as_bytes(node->selinux))});
    }
    if (node->fcaps) all.push_back({std::string(kFcapsName), std::move(*node->fcaps)});
    done(std::move(all));
  });
}

std::optional<std::uint32_t> ArchiveFiles::flags(FileId file) const {
  if ((map_.features() & feature::kChattr) == 0) return std::nullopt;
  return chattr_of_features(map_[number_of(file)].flags & feature::kChattr);
}

std::optional<std::uint32_t> ArchiveFiles::fat_attributes(FileId file) const {
  if ((map_.features() & feature::kFatAttrs) == 0) return std::nullopt;
  const FeatureFlags flags = map_[number_of(file)].flags;
  return ((flags & feature::kFlagHidden) != 0 ? ATTR_HIDDEN : 0U) | ((flags & feature::kFlagSystem) != 0 ? ATTR_SYS : 0U) |
         ((flags & feature::kFlagArchive) != 0 ? ATTR_ARCH : 0U) | (S_ISDIR(map_[number_of(file)].mode) ? ATTR_DIR : 0U);
}

std::string ArchiveFiles::path(FileId file) const {
  return map_.path(number_of(file));
}

}  // namespace godwit::chunks
