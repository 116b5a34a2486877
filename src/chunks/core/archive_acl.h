// POSIX ACLs as the kernel keeps them in the attributes system.posix_acl_access and system.posix_acl_default, to and from the
// form an archive has. The kernel's form repeats the mode's nine bits; an archive leaves these to the mode.
#pragma once

#include <cstdint>

#include "chunks/core/archive_node.h"

namespace godwit::chunks {

inline constexpr std::string_view kAccessAclName = "system.posix_acl_access";
inline constexpr std::string_view kDefaultAclName = "system.posix_acl_default";
inline constexpr std::string_view kFcapsName = "security.capability";
inline constexpr std::string_view kSelinuxName = "security.selinux";

// Sorted, without names of users. ErrorKind::invalid for bytes that are no ACL.
Result<Acl> decode_access_acl(ConstBytes attribute);
Result<DefaultAcl> decode_default_acl(ConstBytes attribute);

// `mode` gives what the archive's ACL leaves to it: owner, mask (or group), others.
Bytes encode_access_acl(const Acl& acl, std::uint32_t mode);
Bytes encode_default_acl(const DefaultAcl& acl);

}  // namespace godwit::chunks
