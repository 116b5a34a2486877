#include "chunks/core/archive_acl.h"

#include <algorithm>

#include "base/cursor.h"

namespace godwit::chunks {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kNoId = 0xffffffff;
constexpr std::size_t kEntriesMax = 8192;  // of 8 bytes: what an attribute of 64 KiB can hold

enum Tag : std::uint16_t { user_object = 1, user = 2, group_object = 4, group = 8, mask = 0x10, other = 0x20 };

// All there can be, each of the four single entries absent or given.
Result<DefaultAcl> decode(ConstBytes attribute) {
  Cursor cursor(attribute);
  if (cursor.u32_le() != kVersion || cursor.remaining() % 8 != 0 || cursor.remaining() / 8 > kEntriesMax)
    return fail(ErrorKind::invalid, "an ACL attribute of another version or size than the kernel's");
  DefaultAcl acl;
  while (cursor.remaining() > 0) {
    const std::uint16_t tag = cursor.u16_le();
    const AclPermissions permissions = cursor.u16_le();
    const std::uint32_t id = cursor.u32_le();
    if (permissions > 7) return fail(ErrorKind::invalid, "an ACL attribute with permissions beyond rwx");
    switch (tag) {
      case user_object: acl.user_object = permissions; break;
      case group_object: acl.group_object = permissions; break;
      case mask: acl.mask = permissions; break;
      case other: acl.other = permissions; break;
      case user: acl.users.push_back({id, {}, permissions}); break;
      case group: acl.groups.push_back({id, {}, permissions}); break;
      default: return fail(ErrorKind::invalid, "an ACL attribute with an unknown kind of entry");
    }
  }
  std::sort(acl.users.begin(), acl.users.end());
  std::sort(acl.groups.begin(), acl.groups.end());
  return acl;
}

class AclWriter {
 public:
  explicit AclWriter(Bytes& out) : writer_(out) { writer_.u32_le(kVersion); }

  void one(Tag tag, AclPermissions permissions, std::uint32_t id = kNoId) {
    if (permissions == kAclAbsent) return;
    writer_.u16_le(tag);
    writer_.u16_le(static_cast<std::uint16_t>(permissions));
    writer_.u32_le(id);
  }
  void all(Tag tag, const std::vector<AclEntry>& entries) {
    for (const AclEntry& entry : entries) one(tag, entry.permissions, static_cast<std::uint32_t>(entry.id));
  }

 private:
  Writer writer_;
};

}  // namespace

Result<Acl> decode_access_acl(ConstBytes attribute) {
  Result<DefaultAcl> all = decode(attribute);
  if (!all) return fail(std::move(all).error());
  Acl acl{std::move(all->users), std::move(all->groups), kAclAbsent};
  if (all->mask != kAclAbsent) acl.group_object = all->group_object;
  return acl;
}

Result<DefaultAcl> decode_default_acl(ConstBytes attribute) {
  return decode(attribute);
}

Bytes encode_access_acl(const Acl& acl, std::uint32_t mode) {
  const AclPermissions group_bits = mode >> 3 & 7;
  const bool has_mask = !acl.empty();
  Bytes out;
  AclWriter writer(out);
  writer.one(user_object, mode >> 6 & 7);
  writer.all(user, acl.users);
  writer.one(group_object, acl.group_object != kAclAbsent ? acl.group_object : group_bits);
  writer.all(group, acl.groups);
  if (has_mask) writer.one(mask, group_bits);
  writer.one(other, mode & 7);
  return out;
}

Bytes encode_default_acl(const DefaultAcl& acl) {
  Bytes out;
  AclWriter writer(out);
  writer.one(user_object, acl.user_object);
  writer.all(user, acl.users);
  writer.one(group_object, acl.group_object);
  writer.all(group, acl.groups);
  writer.one(mask, acl.mask);
  writer.one(other, acl.other);
  return out;
}

}  // namespace godwit::chunks
