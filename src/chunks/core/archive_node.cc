#include "chunks/core/archive_node.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks {
namespace {

void append_head(Writer& writer, RecordType type, std::uint64_t body_size) {
  writer.u64_le(kRecordHeadSize + body_size);
  writer.u64_le(static_cast<std::uint64_t>(type));
}

void append_text(Writer& writer, RecordType type, std::string_view text) {
  append_head(writer, type, text.size() + 1);
  writer.text(text);
  writer.u8(0);
}

void append_number(Writer& writer, RecordType type, std::uint64_t number) {
  append_head(writer, type, sizeof(number));
  writer.u64_le(number);
}

void append_acl_entries(Writer& writer, RecordType type, const std::vector<AclEntry>& entries) {
  for (const AclEntry& entry : entries) {
    append_head(writer, type, 16 + (entry.name.empty() ? 0 : entry.name.size() + 1));
    writer.u64_le(entry.id);
    writer.u64_le(entry.permissions);
    if (entry.name.empty()) continue;
    writer.text(entry.name);
    writer.u8(0);
  }
}

void append_acls(Writer& writer, const Node& node) {
  append_acl_entries(writer, RecordType::acl_user, node.acl.users);
  append_acl_entries(writer, RecordType::acl_group, node.acl.groups);
  if (node.acl.group_object != kAclAbsent) append_number(writer, RecordType::acl_group_object, node.acl.group_object);
  if (!node.default_acl) return;
  append_head(writer, RecordType::acl_default, 32);
  writer.u64_le(node.default_acl->user_object);
  writer.u64_le(node.default_acl->group_object);
  writer.u64_le(node.default_acl->other);
  writer.u64_le(node.default_acl->mask);
  append_acl_entries(writer, RecordType::acl_default_user, node.default_acl->users);
  append_acl_entries(writer, RecordType::acl_default_group, node.default_acl->groups);
}

void append_content(Writer& writer, const Node& node) {
  if (node.is_symlink()) append_text(writer, RecordType::symlink, node.symlink_target);
  if (node.is_device()) {
    append_head(writer, RecordType::device, 16);
    writer.u64_le(node.device_major);
    writer.u64_le(node.device_minor);
  }
  if (node.is_regular()) append_head(writer, RecordType::payload, node.payload_size);
}

}  // namespace

void append_node_head(Bytes& out, const Node& node) {
  Writer writer(out);
  append_head(writer, RecordType::entry, kEntrySize - kRecordHeadSize);
  writer.u64_le(node.features);
  writer.u64_le(node.mode);
  writer.u64_le(node.flags);
  writer.u64_le(node.uid);
  writer.u64_le(node.gid);
  writer.i64_le(node.mtime_ns);
  if (!node.user_name.empty()) append_text(writer, RecordType::user, node.user_name);
  if (!node.group_name.empty()) append_text(writer, RecordType::group, node.group_name);
  for (const Xattr& xattr : node.xattrs) {
    append_head(writer, RecordType::xattr, xattr.name.size() + 1 + xattr.value.size());
    writer.text(xattr.name);
    writer.u8(0);
    writer.bytes(xattr.value);
  }
  append_acls(writer, node);
  if (!node.selinux.empty()) append_text(writer, RecordType::selinux, node.selinux);
  if (node.fcaps) {
    append_head(writer, RecordType::fcaps, node.fcaps->size());
    writer.bytes(*node.fcaps);
  }
  if (node.quota_project_id != 0) append_number(writer, RecordType::quota_project_id, node.quota_project_id);
  append_content(writer, node);
}

void append_file_name(Bytes& out, std::string_view name) {
  GODWIT_CHECK(check_file_name(name));
  Writer writer(out);
  append_text(writer, RecordType::filename, name);
}

Result<void> check_node(const Node& node) {
  if (node.mtime_ns == -1) return fail(ErrorKind::unsupported, "an archive cannot hold the time one nanosecond before 1970");
  const std::uint64_t id_max = std::max(node.uid, node.gid);
  if ((node.features & feature::k16BitUids) != 0 && id_max >= 0xffff)
    return fail(ErrorKind::unsupported, fmt::format("the owner {} does not fit 16 bits: use --with=32bit-uids", id_max));
  if (node.symlink_target.size() > kSymlinkSizeMax || (node.is_symlink() && node.symlink_target.empty()))
    return fail(ErrorKind::invalid, "the symlink's target is empty or longer than 4095 bytes");
  if (node.device_major >= kDeviceMajorEnd || node.device_minor >= kDeviceMinorEnd)
    return fail(ErrorKind::unsupported, fmt::format("device {}:{} is out of range", node.device_major, node.device_minor));
  if (node.payload_size > kPayloadSizeMax) return fail(ErrorKind::limit, "the file is too large");
  if (node.selinux.size() > kSelinuxSizeMax) return fail(ErrorKind::limit, "the SELinux label has more than 4095 bytes");
  if (std::max(node.user_name.size(), node.group_name.size()) > kUserNameSizeMax)
    return fail(ErrorKind::limit, "the owner's name has more than 255 bytes");
  for (const Xattr& xattr : node.xattrs)
    if (xattr.name.size() > kXattrNameSizeMax || xattr.value.size() > kXattrValueSizeMax)
      return fail(ErrorKind::limit, "the extended attribute '" + escaped(xattr.name) + "' is too large");
  return {};
}

std::uint32_t mode_kept(std::uint32_t mode, FeatureFlags features) {
  const std::uint32_t type = mode & S_IFMT;
  if (type == S_IFLNK) return S_IFLNK | 0777;
  if ((features & (feature::kPermissions | feature::kAcl)) != 0) return type | (mode & 07777);
  const bool is_folder = type == S_IFDIR;
  if ((features & feature::kReadOnly) != 0 && (mode & 0222) == 0) return type | (is_folder ? 0555 : 0444);
  return type | (is_folder ? 0777 : 0666);
}

std::uint64_t time_unit_ns(FeatureFlags features) {
  if ((features & feature::kNsecTime) != 0) return 1;
  if ((features & feature::kUsecTime) != 0) return 1'000;
  if ((features & feature::kSecTime) != 0) return 1'000'000'000;
  if ((features & feature::k2SecTime) != 0) return 2'000'000'000;
  return 0;
}

std::int64_t mtime_kept(std::int64_t mtime_ns, FeatureFlags features) {
  const std::uint64_t unit = time_unit_ns(features);
  if (unit == 0) return 0;
  const auto wrapped = static_cast<std::uint64_t>(mtime_ns);
  return static_cast<std::int64_t>(wrapped - wrapped % unit);
}

bool is_archived_xattr(std::string_view name) {
  for (const std::string_view space : {"user.", "trusted."})
    if (name.starts_with(space) && name.size() > space.size())
      return name.size() <= kXattrNameSizeMax && name.find('\0') == std::string_view::npos;
  return false;
}

}  // namespace godwit::chunks
