// The feature flags of an archive and of an index: which properties of nodes an archive keeps, and how it was made. Every ENTRY
// of an archive carries the same word, and an index repeats it. Source: casync.md 6.2.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace godwit::chunks {

using FeatureFlags = std::uint64_t;

namespace feature {

inline constexpr FeatureFlags k16BitUids = 0x1;
inline constexpr FeatureFlags k32BitUids = 0x2;
inline constexpr FeatureFlags kUserNames = 0x4;
inline constexpr FeatureFlags kSecTime = 0x8;
inline constexpr FeatureFlags kUsecTime = 0x10;
inline constexpr FeatureFlags kNsecTime = 0x20;
inline constexpr FeatureFlags k2SecTime = 0x40;
inline constexpr FeatureFlags kReadOnly = 0x80;
inline constexpr FeatureFlags kPermissions = 0x100;
inline constexpr FeatureFlags kSymlinks = 0x200;
inline constexpr FeatureFlags kDeviceNodes = 0x400;
inline constexpr FeatureFlags kFifos = 0x800;
inline constexpr FeatureFlags kSockets = 0x1000;
inline constexpr FeatureFlags kFlagHidden = 0x2000;
inline constexpr FeatureFlags kFlagSystem = 0x4000;
inline constexpr FeatureFlags kFlagArchive = 0x8000;
inline constexpr FeatureFlags kFlagAppend = 0x1'0000;
inline constexpr FeatureFlags kFlagNoAtime = 0x2'0000;
inline constexpr FeatureFlags kFlagCompr = 0x4'0000;
inline constexpr FeatureFlags kFlagNoCow = 0x8'0000;
inline constexpr FeatureFlags kFlagNoDump = 0x10'0000;
inline constexpr FeatureFlags kFlagDirSync = 0x20'0000;
inline constexpr FeatureFlags kFlagImmutable = 0x40'0000;
inline constexpr FeatureFlags kFlagSync = 0x80'0000;
inline constexpr FeatureFlags kFlagNoComp = 0x100'0000;
inline constexpr FeatureFlags kFlagProjInherit = 0x200'0000;
inline constexpr FeatureFlags kSubvolume = 0x400'0000;
inline constexpr FeatureFlags kSubvolumeReadOnly = 0x800'0000;
inline constexpr FeatureFlags kXattrs = 0x1000'0000;
inline constexpr FeatureFlags kAcl = 0x2000'0000;
inline constexpr FeatureFlags kSelinux = 0x4000'0000;
inline constexpr FeatureFlags kFcaps = 0x8000'0000;
inline constexpr FeatureFlags kQuotaProjectId = 0x1'0000'0000;

inline constexpr FeatureFlags kExcludeFile = 0x1000'0000'0000'0000;
inline constexpr FeatureFlags kSha512_256 = 0x2000'0000'0000'0000;
inline constexpr FeatureFlags kExcludeSubmounts = 0x4000'0000'0000'0000;
inline constexpr FeatureFlags kExcludeNoDump = 0x8000'0000'0000'0000;

// What nodes may have: the bits of --with and --without.
inline constexpr FeatureFlags kWithAll = 0x1'ffff'ffff;
// How it was made.
inline constexpr FeatureFlags kModes = kExcludeFile | kSha512_256 | kExcludeSubmounts | kExcludeNoDump;
inline constexpr FeatureFlags kAll = kWithAll | kModes;

// Kinds of bits that exclude one another or go together.
inline constexpr FeatureFlags kUidBits = k16BitUids | k32BitUids;
inline constexpr FeatureFlags kTimeBits = kSecTime | kUsecTime | kNsecTime | k2SecTime;
inline constexpr FeatureFlags kChattr = 0x3ff'0000;  // kFlagAppend … kFlagProjInherit
inline constexpr FeatureFlags kFatAttrs = kFlagHidden | kFlagSystem | kFlagArchive;

// The groups that --with names.
inline constexpr FeatureFlags kUnix = k16BitUids | kPermissions | kSecTime | kSymlinks | kDeviceNodes | kFifos | kSockets;
inline constexpr FeatureFlags kFat = k2SecTime | kReadOnly | kFatAttrs;
inline constexpr FeatureFlags kBest = kWithAll & ~(k16BitUids | kSecTime | kUsecTime | k2SecTime | kReadOnly | kPermissions);
inline constexpr FeatureFlags kPrivileged = k16BitUids | k32BitUids | kUserNames | kDeviceNodes | kFlagSystem | kFlagAppend |
                                            kFlagImmutable | kSubvolume | kSubvolumeReadOnly | kAcl | kSelinux | kFcaps |
                                            kQuotaProjectId;
inline constexpr FeatureFlags kFuse =
    k32BitUids | kNsecTime | kPermissions | kSymlinks | kDeviceNodes | kFifos | kSockets | kFatAttrs | kChattr | kXattrs;

}  // namespace feature

// The same flags as every writer writes them: finer uids and times drop the coarser, an ACL implies permissions and names, and so
// on. Idempotent. Source: casync.md 6.2, "Normalization".
constexpr FeatureFlags normalized(FeatureFlags flags) {
  using namespace feature;
  if ((flags & kAcl) != 0 && (flags & (kUidBits | kUserNames)) == 0) flags |= k32BitUids | kUserNames;
  if ((flags & k32BitUids) != 0) flags &= ~k16BitUids;
  if ((flags & kNsecTime) != 0) flags &= ~(kUsecTime | kSecTime | k2SecTime);
  if ((flags & kUsecTime) != 0) flags &= ~(kSecTime | k2SecTime);
  if ((flags & kSecTime) != 0) flags &= ~k2SecTime;
  if ((flags & kAcl) != 0) flags &= ~(kPermissions | kReadOnly);
  if ((flags & kPermissions) != 0) flags &= ~kReadOnly;
  if ((flags & kExcludeNoDump) != 0) flags &= ~kFlagNoDump;
  if ((flags & kSubvolumeReadOnly) != 0) flags |= kSubvolume;
  return flags;
}

// What `make` writes where nothing else is said.
inline constexpr FeatureFlags kDefaultModes = feature::kExcludeNoDump | feature::kSha512_256 | feature::kExcludeFile;
inline constexpr FeatureFlags kDefaultBlobFlags = kDefaultModes;
inline constexpr FeatureFlags kDefaultArchiveFlags = normalized(feature::kBest | kDefaultModes);

// Whether a reader may go on with them. ErrorKind::unsupported for a bit nobody knows, ErrorKind::invalid where they are not
// normalized.
Result<void> check_feature_flags(FeatureFlags flags);

// A word of --with and --without: one bit or a group, as casync spells it.
struct FeatureName {
  std::string_view name;
  FeatureFlags flags = 0;
};
// Single bits in the order of their value, then the groups.
std::span<const FeatureName> feature_names();
// ErrorKind::usage for a word that is none.
Result<FeatureFlags> feature_flags_of_name(std::string_view name);

}  // namespace godwit::chunks
