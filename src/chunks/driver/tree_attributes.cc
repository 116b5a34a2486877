#include "chunks/driver/tree_attributes.h"

#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "chunks/core/archive_acl.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {
namespace {

constexpr std::size_t kListSizeMax = 65536;  // XATTR_LIST_MAX
constexpr FeatureFlags kExtended = feature::kXattrs | feature::kAcl | feature::kSelinux | feature::kFcaps;

bool is_unsupported(int error) {
  return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ENOTTY;
}

}  // namespace

Result<Node> AttributeReader::read(int descriptor, const struct stat& status, const FileSystemTraits& traits,
                                   std::uint32_t chattr) {
  Node node;
  node.features = features_;
  node.mode = mode_kept(status.st_mode, features_);
  const std::int64_t mtime_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  node.mtime_ns = mtime_kept(mtime_ns, features_);
  if (Result<void> owned = read_owner(status, node); !owned) return fail(std::move(owned).error());
  if (node.is_device()) {
    node.device_major = major(status.st_rdev);
    node.device_minor = minor(status.st_rdev);
  }
  if (node.has_flags()) {
    node.flags = features_of_chattr(chattr);
    if (traits.is_fat) node.flags |= read_fat_attributes(descriptor);
    if (traits.is_btrfs && node.is_directory()) node.flags |= read_subvolume(descriptor, status.st_ino);
    node.flags &= features_;
    if ((features_ & feature::kQuotaProjectId) != 0) node.quota_project_id = read_project(descriptor);
  }
  if ((features_ & (node.is_symlink() ? feature::kSelinux : kExtended)) != 0 && descriptor >= 0)
    if (Result<void> extended = read_extended(descriptor, node); !extended) return fail(std::move(extended).error());
  return node;
}

// A name belongs to the number here; the archive's number is the shifted one.
Result<void> AttributeReader::read_owner(const struct stat& status, Node& node) {
  const Result<std::uint64_t> uid = shift_.to_archive(status.st_uid);
  if (!uid) return fail(uid.error());
  const Result<std::uint64_t> gid = shift_.to_archive(status.st_gid);
  if (!gid) return fail(gid.error());
  const bool has_numbers = (features_ & feature::kUidBits) != 0;
  if (has_numbers) {
    node.uid = *uid;
    node.gid = *gid;
  }
  if ((features_ & feature::kUserNames) == 0) return {};
  if (status.st_uid != 0) node.user_name = names_.user(status.st_uid);
  if (status.st_gid != 0) node.group_name = names_.group(status.st_gid);
  if (has_numbers) return {};
  if (*uid != 0 && node.user_name.empty()) node.user_name = std::to_string(*uid);
  if (*gid != 0 && node.group_name.empty()) node.group_name = std::to_string(*gid);
  return {};
}

Result<void> AttributeReader::read_extended(int descriptor, Node& node) {
  const bool by_path = !node.has_flags();
  buffer_.resize(kListSizeMax);
  const ssize_t size = by_path ? ::listxattr(path_of_descriptor(descriptor).c_str(), buffer_.data(), buffer_.size())
                               : ::flistxattr(descriptor, buffer_.data(), buffer_.size());
  if (size < 0) {
    if (is_unsupported(errno)) return {};
    return fail(Error::from_errno(errno, "list the extended attributes"));
  }
  if (size == 0) return {};
  const std::string list(buffer_.data(), static_cast<std::size_t>(size));  // buffer_ takes the values
  for (std::size_t at = 0; at < list.size(); at += std::strlen(list.c_str() + at) + 1)
    if (Result<void> taken = take_extended(descriptor, list.c_str() + at, node); !taken) return taken;
  std::sort(node.xattrs.begin(), node.xattrs.end(), [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  return {};
}

Result<void> AttributeReader::take_extended(int descriptor, const char* name, Node& node) {
  const std::string_view text = name;
  const bool is_plain = (features_ & feature::kXattrs) != 0 && node.has_flags() && is_archived_xattr(text);
  const bool is_fcaps = (features_ & feature::kFcaps) != 0 && text == kFcapsName && node.is_regular();
  const bool is_label = (features_ & feature::kSelinux) != 0 && text == kSelinuxName;
  const bool is_access = (features_ & feature::kAcl) != 0 && text == kAccessAclName && !node.is_symlink();
  const bool is_default = (features_ & feature::kAcl) != 0 && text == kDefaultAclName && node.is_directory();
  if (!is_plain && !is_fcaps && !is_label && !is_access && !is_default) return {};
  Result<Bytes> value = value_of(descriptor, !node.has_flags(), name);
  if (!value) {
    // It was taken away since the list was made.
    if (value.error().kind() == ErrorKind::not_found) return {};
    return fail(std::move(value).error());
  }
  if (is_plain) node.xattrs.push_back({std::string(text), std::move(*value)});
  if (is_fcaps) node.fcaps = std::move(*value);
  if (is_label) node.selinux = as_text(*value).substr(0, as_text(*value).find('\0'));
  if (is_access) {
    Result<Acl> acl = decode_access_acl(*value);
    if (!acl) return fail(std::move(acl).error());
    node.acl = std::move(*acl);
    return name_entries(node.acl.users, node.acl.groups);
  }
  if (is_default) {
    Result<DefaultAcl> acl = decode_default_acl(*value);
    if (!acl) return fail(std::move(acl).error());
    node.default_acl = std::move(*acl);
    return name_entries(node.default_acl->users, node.default_acl->groups);
  }
  return {};
}

Result<Bytes> AttributeReader::value_of(int descriptor, bool by_path, const char* name) {
  buffer_.resize(kXattrValueSizeMax);
  const ssize_t size = by_path ? ::getxattr(path_of_descriptor(descriptor).c_str(), name, buffer_.data(), buffer_.size())
                               : ::fgetxattr(descriptor, name, buffer_.data(), buffer_.size());
  if (size < 0) {
    if (errno == ENODATA) return fail(ErrorKind::not_found, "the attribute is gone");
    return fail(errno_error("read the extended attribute", name));
  }
  return to_bytes(as_bytes(std::string_view(buffer_.data(), static_cast<std::size_t>(size))));
}

// Root has a number but no name. Without numbers, the name stands for all others: their number as text where they have none.
Result<void> AttributeReader::name_entries(std::vector<AclEntry>& users, std::vector<AclEntry>& groups) {
  const bool has_names = (features_ & feature::kUserNames) != 0;
  const bool has_numbers = (features_ & feature::kUidBits) != 0;
  for (std::vector<AclEntry>* entries : {&users, &groups}) {
    for (AclEntry& entry : *entries) {
      const std::uint64_t id = entry.id;
      const Result<std::uint64_t> shifted = shift_.to_archive(id);
      if (!shifted) return fail(shifted.error());
      entry.id = *shifted;
      if (id == 0 || !has_names) continue;
      entry.name = entries == &users ? names_.user(id) : names_.group(id);
      if (has_numbers) continue;
      if (entry.name.empty()) entry.name = std::to_string(*shifted);
      entry.id = 0;
    }
    std::sort(entries->begin(), entries->end());
  }
  return {};
}

}  // namespace godwit::chunks
