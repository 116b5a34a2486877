#include "chunks/core/feature_flags.h"

#include <algorithm>

#include <fmt/format.h>

namespace godwit::chunks {

static constexpr FeatureName kNames[] = {
    {"16bit-uids", feature::k16BitUids},
    {"32bit-uids", feature::k32BitUids},
    {"user-names", feature::kUserNames},
    {"sec-time", feature::kSecTime},
    {"usec-time", feature::kUsecTime},
    {"nsec-time", feature::kNsecTime},
    {"2sec-time", feature::k2SecTime},
    {"read-only", feature::kReadOnly},
    {"permissions", feature::kPermissions},
    {"symlinks", feature::kSymlinks},
    {"device-nodes", feature::kDeviceNodes},
    {"fifos", feature::kFifos},
    {"sockets", feature::kSockets},
    {"flag-hidden", feature::kFlagHidden},
    {"flag-system", feature::kFlagSystem},
    {"flag-archive", feature::kFlagArchive},
    {"flag-append", feature::kFlagAppend},
    {"flag-noatime", feature::kFlagNoAtime},
    {"flag-compr", feature::kFlagCompr},
    {"flag-nocow", feature::kFlagNoCow},
    {"flag-nodump", feature::kFlagNoDump},
    {"flag-dirsync", feature::kFlagDirSync},
    {"flag-immutable", feature::kFlagImmutable},
    {"flag-sync", feature::kFlagSync},
    {"flag-nocomp", feature::kFlagNoComp},
    {"flag-projinherit", feature::kFlagProjInherit},
    {"subvolume", feature::kSubvolume},
    {"subvolume-ro", feature::kSubvolumeReadOnly},
    {"xattrs", feature::kXattrs},
    {"acl", feature::kAcl},
    {"selinux", feature::kSelinux},
    {"fcaps", feature::kFcaps},
    {"quota-projid", feature::kQuotaProjectId},
    {"best", feature::kBest},
    {"unix", feature::kUnix},
    {"fat", feature::kFat},
    {"chattr", feature::kChattr},
    {"fat-attrs", feature::kFatAttrs},
    {"privileged", feature::kPrivileged},
    {"fuse", feature::kFuse},
    {"all", feature::kWithAll},
};

Result<void> check_feature_flags(FeatureFlags flags) {
  if (const FeatureFlags unknown = flags & ~feature::kAll; unknown != 0)
    return fail(ErrorKind::unsupported,
                fmt::format("feature flags {:#x} have bits that this version does not know: {:#x}", flags, unknown));
  if (normalized(flags) != flags)
    return fail(ErrorKind::invalid,
                fmt::format("feature flags {:#x} contradict themselves: they would be {:#x}", flags, normalized(flags)));
  return {};
}

std::span<const FeatureName> feature_names() {
  return kNames;
}

Result<FeatureFlags> feature_flags_of_name(std::string_view name) {
  const auto* found = std::ranges::find(kNames, name, &FeatureName::name);
  if (found == std::end(kNames)) return fail(ErrorKind::usage, fmt::format("no feature is called \"{}\"", name));
  return found->flags;
}

}  // namespace godwit::chunks
