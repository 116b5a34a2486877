#include "chunks/core/archive_attribute.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/cursor.h"
#include "chunks/core/archive_acl.h"

namespace godwit::chunks {
namespace {

// Which features let a record of this type be there; 0: it needs none.
FeatureFlags features_of(RecordType type) {
  switch (type) {
    case RecordType::user:
    case RecordType::group: return feature::kUserNames;
    case RecordType::xattr: return feature::kXattrs;
    case RecordType::acl_user:
    case RecordType::acl_group:
    case RecordType::acl_group_object:
    case RecordType::acl_default:
    case RecordType::acl_default_user:
    case RecordType::acl_default_group: return feature::kAcl;
    case RecordType::selinux: return feature::kSelinux;
    case RecordType::fcaps: return feature::kFcaps;
    case RecordType::quota_project_id: return feature::kQuotaProjectId;
    default: return 0;
  }
}

// Which features let a node of this type be there; 0: it needs none.
FeatureFlags features_of_type(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFLNK: return feature::kSymlinks;
    case S_IFCHR:
    case S_IFBLK: return feature::kDeviceNodes;
    case S_IFIFO: return feature::kFifos;
    case S_IFSOCK: return feature::kSockets;
    default: return 0;
  }
}

bool is_known_type(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
    case S_IFREG:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK: return true;
    default: return false;
  }
}

Result<void> check_owner(std::uint64_t id, FeatureFlags features) {
  const bool wide = (features & feature::k32BitUids) != 0 && id < 0xffffffff && id != 0xffff;
  const bool narrow = (features & feature::k16BitUids) != 0 && id < 0xffff;
  if (id == 0 || wide || narrow) return {};
  return fail(ErrorKind::invalid, fmt::format("owner {} is not one that feature flags {:#x} allow", id, features));
}

Result<void> check_time(std::int64_t mtime_ns, FeatureFlags features) {
  if (mtime_ns == -1) return fail(ErrorKind::invalid, "the time is the number that stands for none");
  const std::uint64_t unit = time_unit_ns(features);
  if (unit == 0 && mtime_ns != 0) return fail(ErrorKind::invalid, "a time in an archive that keeps none");
  // casync rounds a time before 1970 as an unsigned number; another writer may do it right.
  if (unit > 1 && static_cast<std::uint64_t>(mtime_ns) % unit != 0 && mtime_ns % static_cast<std::int64_t>(unit) != 0)
    return fail(ErrorKind::invalid, fmt::format("the time {} ns is finer than the archive's unit of {} ns", mtime_ns, unit));
  return {};
}

Result<void> check_permissions(AclPermissions permissions) {
  if (permissions > 7) return fail(ErrorKind::invalid, fmt::format("ACL permissions {:#x} are more than rwx", permissions));
  return {};
}

Result<std::string> decode_owner_name(ConstBytes body) {
  const Result<std::string_view> name = decode_text(body);
  if (!name) return fail(name.error());
  for (const char c : *name)
    if (static_cast<unsigned char>(c) <= ' ' || c == ':' || c == '/' || c == '\x7f')
      return fail(ErrorKind::invalid, "'" + escaped(*name) + "' cannot be the name of a user or group");
  return std::string(*name);
}

Result<void> decode_acl_entry(ConstBytes body, FeatureFlags features, std::vector<AclEntry>& entries) {
  Cursor cursor(body);
  AclEntry entry;
  entry.id = cursor.u64_le();
  entry.permissions = cursor.u64_le();
  if (!cursor.ok()) return fail(ErrorKind::invalid, "an ACL entry of fewer than 32 bytes");
  if (Result<void> checked = check_permissions(entry.permissions); !checked) return checked;
  if (Result<void> checked = check_owner(entry.id, features | feature::k32BitUids); !checked) return checked;
  if (cursor.remaining() > 0) {
    Result<std::string> name = decode_owner_name(cursor.rest());
    if (!name) return fail(std::move(name).error());
    entry.name = std::move(*name);
  }
  if (!entries.empty() && entry <= entries.back()) return fail(ErrorKind::invalid, "ACL entries out of order, or twice");
  entries.push_back(std::move(entry));
  return {};
}

Result<void> decode_default_acl_record(ConstBytes body, Node& node) {
  if (!node.is_directory()) return fail(ErrorKind::invalid, "only a folder has an ACL for what is made in it");
  Cursor cursor(body);
  DefaultAcl acl;
  for (AclPermissions* field : {&acl.user_object, &acl.group_object, &acl.other, &acl.mask}) {
    *field = cursor.u64_le();
    if (*field == kAclAbsent) continue;
    if (Result<void> checked = check_permissions(*field); !checked) return checked;
  }
  if (!cursor.at_end()) return fail(ErrorKind::invalid, "an ACL_DEFAULT has 48 bytes");
  node.default_acl = std::move(acl);
  return {};
}

Result<void> decode_xattr(ConstBytes body, Node& node) {
  const std::string_view text = as_text(body);
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos || end == 0 || end > kXattrNameSizeMax)
    return fail(ErrorKind::invalid, "an XATTR whose name is empty, too long or without its zero byte");
  const std::string_view name = text.substr(0, end);
  const ConstBytes value = body.subspan(end + 1);
  if (value.size() > kXattrValueSizeMax) return fail(ErrorKind::limit, "an XATTR whose value has more than 65536 bytes");
  const bool is_desync = node.features == kDesyncArchiveFlags;
  if (!is_desync && !is_archived_xattr(name))
    return fail(ErrorKind::invalid, "an XATTR '" + escaped(name) + "', which is neither user. nor trusted.");
  if (!is_desync && !node.xattrs.empty() && name <= node.xattrs.back().name)
    return fail(ErrorKind::invalid, "an XATTR '" + escaped(name) + "' out of order, or twice");
  node.xattrs.push_back({std::string(name), to_bytes(value)});
  return {};
}

Result<void> decode_number(ConstBytes body, std::uint64_t& number) {
  Cursor cursor(body);
  number = cursor.u64_le();
  if (!cursor.at_end()) return fail(ErrorKind::invalid, "a record of another size than 24 bytes");
  return {};
}

Result<void> decode_device(ConstBytes body, Node& node) {
  Cursor cursor(body);
  node.device_major = cursor.u64_le();
  node.device_minor = cursor.u64_le();
  if (!cursor.at_end()) return fail(ErrorKind::invalid, "a DEVICE has 32 bytes");
  if (node.device_major >= kDeviceMajorEnd || node.device_minor >= kDeviceMinorEnd)
    return fail(ErrorKind::invalid, fmt::format("device {}:{} does not exist", node.device_major, node.device_minor));
  return {};
}

Result<void> decode_into(ConstBytes body, std::string& text) {
  const Result<std::string_view> decoded = decode_text(body);
  if (!decoded) return fail(decoded.error());
  text = *decoded;
  return {};
}

Result<void> decode_owner_into(ConstBytes body, std::string& name) {
  Result<std::string> decoded = decode_owner_name(body);
  if (!decoded) return fail(std::move(decoded).error());
  name = std::move(*decoded);
  return {};
}

Result<void> decode_group_object(ConstBytes body, Node& node) {
  if (Result<void> read = decode_number(body, node.acl.group_object); !read) return read;
  return check_permissions(node.acl.group_object);
}

Result<void> decode_project(ConstBytes body, Node& node) {
  if (!node.has_flags()) return fail(ErrorKind::invalid, "a quota project of what is neither file nor folder");
  if (Result<void> read = decode_number(body, node.quota_project_id); !read) return read;
  if (node.quota_project_id == 0 || node.quota_project_id >= 0xffffffff)
    return fail(ErrorKind::invalid, fmt::format("{} is no quota project", node.quota_project_id));
  return {};
}

}  // namespace

unsigned rank_of_attribute(RecordType type) {
  switch (type) {
    case RecordType::user: return 1;
    case RecordType::group: return 2;
    case RecordType::xattr: return 3;
    case RecordType::acl_user: return 4;
    case RecordType::acl_group: return 5;
    case RecordType::acl_group_object: return 6;
    case RecordType::acl_default: return 7;
    case RecordType::acl_default_user: return 8;
    case RecordType::acl_default_group: return 9;
    case RecordType::selinux: return 10;
    case RecordType::fcaps: return 11;
    case RecordType::quota_project_id: return 12;
    default: return 0;
  }
}

bool may_repeat(RecordType type) {
  return type == RecordType::xattr || type == RecordType::acl_user || type == RecordType::acl_group ||
         type == RecordType::acl_default_user || type == RecordType::acl_default_group;
}

std::size_t record_size_max(RecordType type) {
  switch (type) {
    case RecordType::entry: return kEntrySize;
    case RecordType::user:
    case RecordType::group: return kRecordHeadSize + kUserNameSizeMax + 1;
    case RecordType::xattr: return kRecordHeadSize + kXattrNameSizeMax + 1 + kXattrValueSizeMax;
    case RecordType::acl_user:
    case RecordType::acl_group:
    case RecordType::acl_default_user:
    case RecordType::acl_default_group: return kRecordHeadSize + 16 + kUserNameSizeMax + 1;
    case RecordType::acl_group_object:
    case RecordType::quota_project_id: return kRecordHeadSize + 8;
    case RecordType::acl_default: return kRecordHeadSize + 32;
    case RecordType::selinux: return kRecordHeadSize + kSelinuxSizeMax + 1;
    case RecordType::fcaps: return kRecordHeadSize + kFcapsSizeMax;
    case RecordType::symlink: return kRecordHeadSize + kSymlinkSizeMax + 1;
    case RecordType::device: return kRecordHeadSize + 16;
    case RecordType::filename: return kRecordHeadSize + kFileNameSizeMax + 1;
    case RecordType::payload:
    case RecordType::goodbye: return 0;
  }
  return 0;
}

Result<Node> decode_entry(ConstBytes body) {
  Cursor cursor(body);
  Node node;
  node.features = cursor.u64_le();
  const std::uint64_t mode = cursor.u64_le();
  node.flags = cursor.u64_le();
  node.uid = cursor.u64_le();
  node.gid = cursor.u64_le();
  node.mtime_ns = cursor.i64_le();
  if (!cursor.at_end()) return fail(ErrorKind::invalid, "an ENTRY has 64 bytes");
  if (Result<void> checked = check_feature_flags(node.features); !checked) return fail(std::move(checked).error());
  if (mode > (S_IFMT | 07777) || !is_known_type(static_cast<std::uint32_t>(mode)))
    return fail(ErrorKind::invalid, fmt::format("mode {:#o} is of no known kind of node", mode));
  node.mode = static_cast<std::uint32_t>(mode);
  if (node.is_symlink() && (mode & 07777) != 0777) return fail(ErrorKind::invalid, "a symlink's mode is 0777");
  if (const FeatureFlags needed = features_of_type(node.mode); needed != 0 && (node.features & needed) == 0)
    return fail(ErrorKind::invalid,
                fmt::format("a node of mode {:#o} in an archive whose feature flags {:#x} exclude it", mode, node.features));
  constexpr FeatureFlags kNodeFlags = feature::kChattr | feature::kFatAttrs | feature::kSubvolume | feature::kSubvolumeReadOnly;
  if ((node.flags & ~(node.features & kNodeFlags)) != 0 || (node.flags != 0 && !node.has_flags()))
    return fail(ErrorKind::invalid, fmt::format("flags {:#x} are not ones that this node can have", node.flags));
  for (const std::uint64_t id : {node.uid, node.gid})
    if (Result<void> checked = check_owner(id, node.features); !checked) return fail(std::move(checked).error());
  if (Result<void> checked = check_time(node.mtime_ns, node.features); !checked) return fail(std::move(checked).error());
  return node;
}

Result<void> decode_attribute(RecordType type, ConstBytes body, Node& node) {
  if (const FeatureFlags needed = features_of(type); needed != 0 && (node.features & needed) == 0)
    return fail(ErrorKind::invalid,
                fmt::format("a {} in an archive whose feature flags {:#x} exclude it", name_of(type), node.features));
  switch (type) {
    case RecordType::user: return decode_owner_into(body, node.user_name);
    case RecordType::group: return decode_owner_into(body, node.group_name);
    case RecordType::xattr: return decode_xattr(body, node);
    case RecordType::acl_user: return decode_acl_entry(body, node.features, node.acl.users);
    case RecordType::acl_group: return decode_acl_entry(body, node.features, node.acl.groups);
    case RecordType::acl_group_object: return decode_group_object(body, node);
    case RecordType::acl_default: return decode_default_acl_record(body, node);
    case RecordType::acl_default_user:
    case RecordType::acl_default_group:
      if (!node.default_acl) return fail(ErrorKind::invalid, "an entry of a default ACL without ACL_DEFAULT before it");
      return decode_acl_entry(body, node.features,
                              type == RecordType::acl_default_user ? node.default_acl->users : node.default_acl->groups);
    case RecordType::selinux: return decode_into(body, node.selinux);
    case RecordType::fcaps:
      if (!node.is_regular()) return fail(ErrorKind::invalid, "only a regular file has capabilities");
      node.fcaps = to_bytes(body);
      return {};
    case RecordType::quota_project_id: return decode_project(body, node);
    case RecordType::symlink: return decode_into(body, node.symlink_target);
    case RecordType::device: return decode_device(body, node);
    default: return fail(ErrorKind::invalid, fmt::format("a {} among attributes", name_of(type)));
  }
}

Result<std::string_view> decode_text(ConstBytes body) {
  const std::string_view text = as_text(body);
  if (text.size() < 2 || text.find('\0') != text.size() - 1)
    return fail(ErrorKind::invalid, "a text that is empty, without its zero byte at the end, or with one inside");
  return text.substr(0, text.size() - 1);
}

Result<void> adopt_kernel_attributes(Node& node) {
  std::vector<Xattr> kept;
  for (Xattr& xattr : node.xattrs) {
    if (is_archived_xattr(xattr.name)) {
      kept.push_back(std::move(xattr));
    } else if (xattr.name == kFcapsName && node.is_regular()) {
      node.fcaps = std::move(xattr.value);
    } else if (xattr.name == kSelinuxName) {
      while (!xattr.value.empty() && xattr.value.back() == std::byte{0}) xattr.value.pop_back();
      node.selinux = as_text(xattr.value);
    } else if (xattr.name == kAccessAclName && !node.is_symlink()) {
      Result<Acl> acl = decode_access_acl(xattr.value);
      if (!acl) return fail(std::move(acl).error());
      node.acl = std::move(*acl);
    } else if (xattr.name == kDefaultAclName && node.is_directory()) {
      Result<DefaultAcl> acl = decode_default_acl(xattr.value);
      if (!acl) return fail(std::move(acl).error());
      node.default_acl = std::move(*acl);
    }
  }
  std::sort(kept.begin(), kept.end(), [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  const auto twice =
      std::adjacent_find(kept.begin(), kept.end(), [](const Xattr& a, const Xattr& b) { return a.name == b.name; });
  if (twice != kept.end()) return fail(ErrorKind::invalid, "an XATTR '" + escaped(twice->name) + "' twice");
  node.xattrs = std::move(kept);
  return {};
}

}  // namespace godwit::chunks
