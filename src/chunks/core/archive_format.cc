#include "chunks/core/archive_format.h"

#include "base/bytes.h"

namespace godwit::chunks {

std::string_view name_of(RecordType type) {
  switch (type) {
    case RecordType::entry: return "ENTRY";
    case RecordType::user: return "USER";
    case RecordType::group: return "GROUP";
    case RecordType::xattr: return "XATTR";
    case RecordType::acl_user: return "ACL_USER";
    case RecordType::acl_group: return "ACL_GROUP";
    case RecordType::acl_group_object: return "ACL_GROUP_OBJ";
    case RecordType::acl_default: return "ACL_DEFAULT";
    case RecordType::acl_default_user: return "ACL_DEFAULT_USER";
    case RecordType::acl_default_group: return "ACL_DEFAULT_GROUP";
    case RecordType::selinux: return "SELINUX";
    case RecordType::fcaps: return "FCAPS";
    case RecordType::quota_project_id: return "QUOTA_PROJID";
    case RecordType::symlink: return "SYMLINK";
    case RecordType::device: return "DEVICE";
    case RecordType::payload: return "PAYLOAD";
    case RecordType::filename: return "FILENAME";
    case RecordType::goodbye: return "GOODBYE";
  }
  return "unknown record";
}

Result<void> check_file_name(std::string_view name) {
  if (name.empty()) return fail(ErrorKind::invalid, "a file name is empty");
  if (name.size() > kFileNameSizeMax) return fail(ErrorKind::invalid, "a file name has more than 255 bytes");
  if (name == "." || name == "..")
    return fail(ErrorKind::invalid, "the file name '" + std::string(name) + "' would leave its folder");
  if (name.find('/') != std::string_view::npos)
    return fail(ErrorKind::invalid, "the file name '" + escaped(name) + "' has a slash");
  if (name.find('\0') != std::string_view::npos)
    return fail(ErrorKind::invalid, "the file name '" + escaped(name) + "' has a zero byte");
  return {};
}

}  // namespace godwit::chunks
