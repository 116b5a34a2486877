// A node's attributes, given to what stands for it on this system: as many as the archive has and the mask of --with and
// --without lets through. Source: casync.md 6.3, 7.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/tree_flags.h"
#include "chunks/driver/tree_owners.h"

namespace godwit::chunks {

struct TreeMask {
  FeatureFlags allowed = feature::kWithAll;
  UidShift shift;
  mode_t umask = 022;  // for what has no mode of its own
};

// What a node may have that the archive did not give it: a new one from the folder it was made in, an old one from its past.
struct Inherited {
  bool acl = false;
  bool chattr = false;
  bool xattrs = false;
};

class AttributeWriter {
 public:
  explicit AttributeWriter(const TreeMask& mask) : mask_(mask) {}

  // `descriptor` is the node's own: open for reading or writing if it is a file or folder, else by O_PATH. `status` is its
  // present one; `fallback_mode` is for an archive or a mask without modes. Errors say what was tried, not on whom.
  // All but what apply_flags() does.
  Result<void> apply(int descriptor, const Node& node, const struct stat& status, mode_t fallback_mode, Inherited inherited);
  // Of a file or folder: chattr, FAT attributes, quota project. To be done when the node has its name and all else: what is
  // immutable can no more be renamed than written.
  Result<void> apply_flags(int descriptor, const Node& node, Inherited inherited);

  // What the node's nine bits, set-id and sticky bits will be; `fallback` where nothing says.
  mode_t mode_of(const Node& node, mode_t fallback) const;
  // For a new node of this kind.
  mode_t fallback_mode(const Node& node) const { return (node.is_directory() ? 0777 : 0666) & ~mask_.umask; }
  bool is_allowed(FeatureFlags flags) const { return (mask_.allowed & flags) != 0; }

 private:
  Result<std::uint32_t> owner(const std::string& name, std::uint64_t id, bool is_group, bool has_numbers);
  Result<void> resolve(std::vector<AclEntry>& entries, bool are_groups, bool has_numbers);
  Result<void> keep_read_only(int descriptor, const Node& node, mode_t wanted) const;
  Result<void> apply_owner(int descriptor, const Node& node, const struct stat& status, bool& changed);
  Result<void> apply_acl(int descriptor, const Node& node, bool may_inherit);
  Result<void> apply_extended(int descriptor, const Node& node, bool remove_others);
  Result<void> apply_time(int descriptor, const Node& node);

  TreeMask mask_;
  OwnerNames names_;
};

}  // namespace godwit::chunks
