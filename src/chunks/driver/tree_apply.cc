#include "chunks/driver/tree_apply.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {
namespace {

constexpr FeatureFlags kOwnerFeatures = feature::kUidBits | feature::kUserNames;
constexpr FeatureFlags kModeFeatures = feature::kPermissions | feature::kAcl;
constexpr std::size_t kListSizeMax = 65536;

Result<void> set_attribute(int descriptor, bool by_path, const char* name, ConstBytes value) {
  const int done = by_path ? ::setxattr(path_of_descriptor(descriptor).c_str(), name, value.data(), value.size(), 0)
                           : ::fsetxattr(descriptor, name, value.data(), value.size(), 0);
  if (done != 0) return fail(errno_error("set the extended attribute", name));
  return {};
}

int remove_attribute(int descriptor, bool by_path, const char* name) {
  return by_path ? ::removexattr(path_of_descriptor(descriptor).c_str(), name) : ::fremovexattr(descriptor, name);
}

bool is_absent(int error) {
  return error == ENODATA || error == EOPNOTSUPP || error == ENOSYS;
}

}  // namespace

mode_t AttributeWriter::mode_of(const Node& node, mode_t fallback) const {
  if ((node.features & kModeFeatures) != 0 && is_allowed(kModeFeatures)) return node.mode & 07777;
  if ((node.features & feature::kReadOnly) != 0 && is_allowed(kModeFeatures | feature::kReadOnly))
    return (node.mode & 0222) == 0 ? fallback & ~mode_t{0222} : fallback;
  return fallback;
}

// FAT passes over a mode that it can not keep; of the one it shows it can be without the write bits. casync leaves such files
// writable there.
Result<void> AttributeWriter::keep_read_only(int descriptor, const Node& node, mode_t wanted) const {
  struct stat now{};
  if ((node.features & feature::kReadOnly) == 0 || (wanted & 0222) != 0) return {};
  if (::fstat(descriptor, &now) != 0) return fail(Error::from_errno(errno, "look at the mode"));
  if ((now.st_mode & 0222) == 0) return {};
  const mode_t mode = now.st_mode & 07555;
  const int done = node.has_flags() ? ::fchmod(descriptor, mode) : ::chmod(path_of_descriptor(descriptor).c_str(), mode);
  if (done != 0) return fail(Error::from_errno(errno, "set the mode"));
  return {};
}

Result<void> AttributeWriter::apply(int descriptor, const Node& node, const struct stat& status, mode_t fallback_mode,
                                    Inherited inherited) {
  bool owner_changed = false;
  if (Result<void> done = apply_owner(descriptor, node, status, owner_changed); !done) return done;
  if (!node.is_symlink()) {
    const mode_t wanted = mode_of(node, fallback_mode);
    if (wanted != (status.st_mode & 07777) || owner_changed) {  // a new owner takes the set-id bits away
      const int done = node.has_flags() ? ::fchmod(descriptor, wanted) : ::chmod(path_of_descriptor(descriptor).c_str(), wanted);
      if (done != 0) return fail(Error::from_errno(errno, "set the mode"));
      if (Result<void> kept = keep_read_only(descriptor, node, wanted); !kept) return kept;
    }
    if (Result<void> done = apply_acl(descriptor, node, inherited.acl); !done) return done;
  }
  if (Result<void> done = apply_extended(descriptor, node, inherited.xattrs); !done) return done;
  return apply_time(descriptor, node);
}

// Names count for more than numbers, where this system knows them. In an archive without numbers, an unknown owner's number
// stands as text where the name would.
Result<std::uint32_t> AttributeWriter::owner(const std::string& name, std::uint64_t id, bool is_group, bool has_numbers) {
  std::optional<std::uint64_t> known;
  if (!name.empty() && is_allowed(feature::kUserNames)) known = is_group ? names_.gid(name) : names_.uid(name);
  if (!known && !name.empty() && !has_numbers) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size())
      return fail(ErrorKind::not_found, fmt::format("this system has no {} '{}' (--without=privileged leaves the owner)",
                                                    is_group ? "group" : "user", escaped(name)));
    known = number;
  }
  return static_cast<std::uint32_t>(mask_.shift.from_archive(known.value_or(id)));
}

Result<void> AttributeWriter::apply_owner(int descriptor, const Node& node, const struct stat& status, bool& changed) {
  if ((node.features & kOwnerFeatures) == 0 || !is_allowed(kOwnerFeatures)) return {};
  const bool has_numbers = (node.features & feature::kUidBits) != 0;
  const Result<std::uint32_t> uid = owner(node.user_name, node.uid, false, has_numbers);
  if (!uid) return fail(uid.error());
  const Result<std::uint32_t> gid = owner(node.group_name, node.gid, true, has_numbers);
  if (!gid) return fail(gid.error());
  changed = *uid != status.st_uid || *gid != status.st_gid;
  if (changed && ::fchownat(descriptor, "", *uid, *gid, AT_EMPTY_PATH) != 0)
    return fail(Error::from_errno(errno, fmt::format("give it to {}:{} (--without=privileged leaves the owner)", *uid, *gid)));
  return {};
}

Result<void> AttributeWriter::resolve(std::vector<AclEntry>& entries, bool are_groups, bool has_numbers) {
  for (AclEntry& entry : entries) {
    const Result<std::uint32_t> id = owner(entry.name, entry.id, are_groups, has_numbers);
    if (!id) return fail(id.error());
    entry.id = *id;
  }
  return {};
}

Result<void> AttributeWriter::apply_acl(int descriptor, const Node& node, bool may_inherit) {
  if (!is_allowed(feature::kAcl)) return {};
  const bool by_path = !node.has_flags();
  const bool has_numbers = (node.features & feature::kUidBits) != 0;
  if (!node.acl.empty()) {
    Acl acl = node.acl;
    if (Result<void> resolved = resolve(acl.users, false, has_numbers); !resolved) return resolved;
    if (Result<void> resolved = resolve(acl.groups, true, has_numbers); !resolved) return resolved;
    const Bytes value = encode_access_acl(acl, node.mode);
    if (Result<void> set = set_attribute(descriptor, by_path, std::string(kAccessAclName).c_str(), value); !set) return set;
  } else if (may_inherit) {
    if (remove_attribute(descriptor, by_path, std::string(kAccessAclName).c_str()) != 0 && !is_absent(errno))
      return fail(Error::from_errno(errno, "take the inherited ACL away"));
  }
  if (!node.is_directory()) return {};
  if (node.default_acl) {
    DefaultAcl acl = *node.default_acl;
    if (Result<void> resolved = resolve(acl.users, false, has_numbers); !resolved) return resolved;
    if (Result<void> resolved = resolve(acl.groups, true, has_numbers); !resolved) return resolved;
    return set_attribute(descriptor, by_path, std::string(kDefaultAclName).c_str(), encode_default_acl(acl));
  }
  if (may_inherit && remove_attribute(descriptor, by_path, std::string(kDefaultAclName).c_str()) != 0 && !is_absent(errno))
    return fail(Error::from_errno(errno, "take the inherited default ACL away"));
  return {};
}

Result<void> AttributeWriter::apply_extended(int descriptor, const Node& node, bool remove_others) {
  const bool by_path = !node.has_flags();
  if (is_allowed(feature::kXattrs)) {
    for (const Xattr& xattr : node.xattrs)
      if (Result<void> set = set_attribute(descriptor, by_path, xattr.name.c_str(), xattr.value); !set) return set;
    if (remove_others && (node.features & feature::kXattrs) != 0) {
      std::string list(kListSizeMax, '\0');
      const ssize_t size = ::flistxattr(descriptor, list.data(), list.size());
      list.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
      for (std::size_t at = 0; at < list.size(); at += std::strlen(list.c_str() + at) + 1) {
        const char* name = list.c_str() + at;
        if (!is_archived_xattr(name)) continue;
        if (std::any_of(node.xattrs.begin(), node.xattrs.end(), [&](const Xattr& xattr) { return xattr.name == name; })) continue;
        if (remove_attribute(descriptor, by_path, name) != 0 && !is_absent(errno))
          return fail(errno_error("remove the extended attribute", name));
      }
    }
  }
  if (!node.selinux.empty() && is_allowed(feature::kSelinux))
    if (Result<void> set = set_attribute(descriptor, by_path, std::string(kSelinuxName).c_str(),
                                         as_bytes(std::string_view(node.selinux.c_str(), node.selinux.size() + 1)));
        !set)
      return set;
  if (node.fcaps && is_allowed(feature::kFcaps))
    return set_attribute(descriptor, by_path, std::string(kFcapsName).c_str(), *node.fcaps);
  return {};
}

Result<void> AttributeWriter::apply_time(int descriptor, const Node& node) {
  if ((node.features & feature::kTimeBits) == 0 || !is_allowed(feature::kTimeBits)) return {};
  constexpr std::int64_t kSecond = 1'000'000'000;
  timespec times[2];
  times[0] = {0, UTIME_OMIT};
  const std::int64_t nanoseconds = (node.mtime_ns % kSecond + kSecond) % kSecond;
  times[1].tv_sec = (node.mtime_ns - nanoseconds) / kSecond;
  times[1].tv_nsec = nanoseconds;
  const int done = node.has_flags() ? ::futimens(descriptor, times) : ::utimensat(descriptor, "", times, AT_EMPTY_PATH);
  if (done != 0) return fail(Error::from_errno(errno, fmt::format("set the time {} s", times[1].tv_sec)));
  return {};
}

Result<void> AttributeWriter::apply_flags(int descriptor, const Node& node, Inherited inherited) {
  if (node.quota_project_id != 0 && is_allowed(feature::kQuotaProjectId))
    if (Result<void> set = write_project(descriptor, static_cast<std::uint32_t>(node.quota_project_id)); !set) return set;
  const FeatureFlags flags = node.flags & mask_.allowed;
  // Also where all are off: FAT turns one on for every new file.
  if (const FeatureFlags known = node.features & mask_.allowed & feature::kFatAttrs; known != 0)
    if (Result<void> set = write_fat_attributes(descriptor, flags, known); !set) return set;
  const FeatureFlags known = node.features & mask_.allowed & feature::kChattr;
  const std::uint32_t wanted = chattr_of_features(flags & feature::kChattr);
  if (wanted != 0 || (inherited.chattr && known != 0)) {
    const std::uint32_t present = read_chattr(descriptor);
    const std::uint32_t bits = (present & ~chattr_of_features(known)) | wanted;
    if (bits != present)
      if (Result<void> set = write_chattr(descriptor, bits); !set) return set;
  }
  if ((flags & feature::kSubvolumeReadOnly) != 0 && node.is_directory()) return make_subvolume_read_only(descriptor);
  return {};
}

}  // namespace godwit::chunks
