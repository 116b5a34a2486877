// A node of an archive as a value: what ENTRY and the records behind it say about a file, folder, link or device, without its
// place in the tree, its name and its bytes. Also these records as bytes. Source: casync.md 6.1, 6.3.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/archive_format.h"
#include "chunks/core/feature_flags.h"

namespace godwit::chunks {

// r4 w2 x1.
using AclPermissions = std::uint64_t;
inline constexpr AclPermissions kAclAbsent = std::numeric_limits<std::uint64_t>::max();

struct AclEntry {
  std::uint64_t id = 0;
  std::string name;  // may be empty
  AclPermissions permissions = 0;

  // In the order in which the records stand.
  friend auto operator<=>(const AclEntry&, const AclEntry&) = default;
};

// The access ACL beside what the mode already says.
struct Acl {
  std::vector<AclEntry> users;
  std::vector<AclEntry> groups;
  AclPermissions group_object = kAclAbsent;  // present: the mode's group bits are the mask

  bool empty() const { return users.empty() && groups.empty() && group_object == kAclAbsent; }
  friend bool operator==(const Acl&, const Acl&) = default;
};

// What a folder gives to what is made in it.
struct DefaultAcl {
  AclPermissions user_object = kAclAbsent;
  AclPermissions group_object = kAclAbsent;
  AclPermissions other = kAclAbsent;
  AclPermissions mask = kAclAbsent;
  std::vector<AclEntry> users;
  std::vector<AclEntry> groups;

  friend bool operator==(const DefaultAcl&, const DefaultAcl&) = default;
};

struct Xattr {
  std::string name;
  Bytes value;

  friend bool operator==(const Xattr&, const Xattr&) = default;
};

struct Node {
  FeatureFlags features = 0;
  std::uint32_t mode = 0;  // st_mode, type included
  FeatureFlags flags = 0;  // of this node: chattr, FAT, subvolume
  std::uint64_t uid = 0;
  std::uint64_t gid = 0;
  std::int64_t mtime_ns = 0;  // since 1970, negative before; on disk it wraps
  std::string user_name;      // empty: no USER
  std::string group_name;
  std::vector<Xattr> xattrs;  // by name
  Acl acl;
  std::optional<DefaultAcl> default_acl;
  std::string selinux;  // empty: none
  std::optional<Bytes> fcaps;
  std::uint64_t quota_project_id = 0;  // 0: none
  std::string symlink_target;
  std::uint64_t device_major = 0;
  std::uint64_t device_minor = 0;
  std::uint64_t payload_size = 0;  // of a regular file

  bool is_directory() const { return S_ISDIR(mode); }
  bool is_regular() const { return S_ISREG(mode); }
  bool is_symlink() const { return S_ISLNK(mode); }
  bool is_device() const { return S_ISCHR(mode) || S_ISBLK(mode); }
  // Only these two have flags.
  bool has_flags() const { return is_regular() || is_directory(); }

  friend bool operator==(const Node&, const Node&) = default;
};

// Appends ENTRY … up to SYMLINK, DEVICE or the head of PAYLOAD: all of a node but its bytes and its children. What does not fit
// the format (see check_node) is our own bug.
void append_node_head(Bytes& out, const Node& node);
void append_file_name(Bytes& out, std::string_view name);

// What a writer must see to before append_node_head: sizes, ranges, order. ErrorKind::unsupported or invalid.
Result<void> check_node(const Node& node);

// The mode as an archive with these features keeps it: all of it, or only whether one may write, or nothing but the type.
std::uint32_t mode_kept(std::uint32_t mode, FeatureFlags features);
// The time, rounded down to what the features keep; 0 where they keep none. Rounds the unsigned number, as casync does.
std::int64_t mtime_kept(std::int64_t mtime_ns, FeatureFlags features);
// Nanoseconds in a unit of the features' time; 0 where they keep none.
std::uint64_t time_unit_ns(FeatureFlags features);

// "user." and "trusted." with something behind: the attributes that travel as XATTR.
bool is_archived_xattr(std::string_view name);

}  // namespace godwit::chunks
