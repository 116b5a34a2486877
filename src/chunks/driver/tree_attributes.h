// What the system knows about a node, as an archive keeps it: mode, owner, time, extended attributes, ACLs, capabilities, flags.
// Source: casync.md 6.3.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/tree_flags.h"
#include "chunks/driver/tree_owners.h"

namespace godwit::chunks {

class AttributeReader {
 public:
  AttributeReader(FeatureFlags features, UidShift shift) : features_(features), shift_(shift) {}

  // `descriptor` is the node's own: opened for reading if it is a file or folder, else by O_PATH (or -1 for a symlink).
  // `chattr` are its bits if they are known already. Payload size of a file and target of a link are the caller's.
  Result<Node> read(int descriptor, const struct stat& status, const FileSystemTraits& traits, std::uint32_t chattr);
  // Whether read() has use for a file's or folder's chattr bits.
  bool wants_chattr() const { return (features_ & (feature::kChattr | feature::kExcludeNoDump)) != 0; }

 private:
  Result<void> read_owner(const struct stat& status, Node& node);
  Result<void> read_extended(int descriptor, Node& node);
  Result<void> take_extended(int descriptor, const char* name, Node& node);
  Result<Bytes> value_of(int descriptor, bool by_path, const char* name);
  Result<void> name_entries(std::vector<AclEntry>& users, std::vector<AclEntry>& groups);

  FeatureFlags features_;
  UidShift shift_;
  OwnerNames names_;
  std::vector<char> buffer_;
};

}  // namespace godwit::chunks
