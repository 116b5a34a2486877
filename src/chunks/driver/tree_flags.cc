#include "chunks/driver/tree_flags.h"

#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/msdos_fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace godwit::chunks {
namespace {

struct ChattrBit {
  std::uint32_t bit;
  FeatureFlags feature;
};

constexpr ChattrBit kChattrBits[] = {
    {FS_APPEND_FL, feature::kFlagAppend},       {FS_NOATIME_FL, feature::kFlagNoAtime},
    {FS_COMPR_FL, feature::kFlagCompr},         {FS_NOCOW_FL, feature::kFlagNoCow},
    {FS_NODUMP_FL, feature::kFlagNoDump},       {FS_DIRSYNC_FL, feature::kFlagDirSync},
    {FS_IMMUTABLE_FL, feature::kFlagImmutable}, {FS_SYNC_FL, feature::kFlagSync},
    {FS_NOCOMP_FL, feature::kFlagNoComp},       {FS_PROJINHERIT_FL, feature::kFlagProjInherit},
};

// linux/magic.h lacks some of them.
constexpr std::uint64_t kMqueueMagic = 0x19800202;
constexpr std::uint64_t kConfigfsMagic = 0x62656570;
constexpr std::uint64_t kFusectlMagic = 0x65735543;
constexpr std::uint64_t kRpcPipeMagic = 0x67596969;
constexpr std::uint64_t kNfsdMagic = 0x6e667364;

constexpr std::uint64_t kApiFileSystems[] = {
    PROC_SUPER_MAGIC, SYSFS_MAGIC,        CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, SECURITYFS_MAGIC,
    SELINUX_MAGIC,    DEBUGFS_MAGIC,      TRACEFS_MAGIC,      PSTOREFS_MAGIC,      BPF_FS_MAGIC,       EFIVARFS_MAGIC,
    BINFMTFS_MAGIC,   SMACK_MAGIC,        kMqueueMagic,       kConfigfsMagic,      kFusectlMagic,      kRpcPipeMagic,
    kNfsdMagic,       AUTOFS_SUPER_MAGIC, NSFS_MAGIC,
};

// Those whose kernel sets a file's ctime at every change, by its own clock. Not tmpfs: writing through a mapping sets nothing
// there.
constexpr std::uint64_t kZfsMagic = 0x2fc12fc1;
constexpr std::uint64_t kBcachefsMagic = 0xca451a4e;
constexpr std::uint64_t kChangesShow[] = {
    EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, kZfsMagic, kBcachefsMagic,
};

constexpr std::uint64_t kBtrfsSubvolumeInode = 256;

Error ioctl_error(std::string_view what) {
  return Error::from_errno(errno, what);
}

}  // namespace

FeatureFlags features_of_chattr(std::uint32_t bits) {
  FeatureFlags flags = 0;
  for (const ChattrBit& known : kChattrBits)
    if ((bits & known.bit) != 0) flags |= known.feature;
  return flags;
}

std::uint32_t chattr_of_features(FeatureFlags flags) {
  std::uint32_t bits = 0;
  for (const ChattrBit& known : kChattrBits)
    if ((flags & known.feature) != 0) bits |= known.bit;
  return bits;
}

std::uint32_t chattr_kept() {
  return chattr_of_features(feature::kChattr);
}

Result<FileSystemTraits> traits_of_file_system(int descriptor) {
  struct statfs status{};
  if (::fstatfs(descriptor, &status) != 0) return fail(ioctl_error("ask for the kind of file system"));
  const auto magic = static_cast<std::uint32_t>(status.f_type);
  FileSystemTraits traits;
  traits.is_api = std::find(std::begin(kApiFileSystems), std::end(kApiFileSystems), magic) != std::end(kApiFileSystems);
  traits.is_fat = magic == MSDOS_SUPER_MAGIC;
  traits.is_btrfs = magic == BTRFS_SUPER_MAGIC;
  // What is mounted for reading only may be an image whose maker has set all times, and another one tomorrow.
  traits.tells_changes = (status.f_flags & ST_RDONLY) == 0 && std::ranges::find(kChangesShow, magic) != std::end(kChangesShow);
  std::memcpy(&traits.id, &status.f_fsid, sizeof(traits.id));
  return traits;
}

std::uint32_t read_chattr(int descriptor) {
  unsigned int bits = 0;
  return ::ioctl(descriptor, FS_IOC_GETFLAGS, &bits) == 0 ? bits : 0;
}

Result<void> write_chattr(int descriptor, std::uint32_t bits) {
  unsigned int value = bits;
  if (::ioctl(descriptor, FS_IOC_SETFLAGS, &value) != 0)
    return fail(ioctl_error("set chattr flags (--without=chattr leaves them)"));
  return {};
}

FeatureFlags read_fat_attributes(int descriptor) {
  __u32 bits = 0;
  if (::ioctl(descriptor, FAT_IOCTL_GET_ATTRIBUTES, &bits) != 0) return 0;
  return ((bits & ATTR_HIDDEN) != 0 ? feature::kFlagHidden : 0) | ((bits & ATTR_SYS) != 0 ? feature::kFlagSystem : 0) |
         ((bits & ATTR_ARCH) != 0 ? feature::kFlagArchive : 0);
}

Result<void> write_fat_attributes(int descriptor, FeatureFlags flags, FeatureFlags known) {
  constexpr std::pair<FeatureFlags, __u32> kBits[] = {
      {feature::kFlagHidden, ATTR_HIDDEN}, {feature::kFlagSystem, ATTR_SYS}, {feature::kFlagArchive, ATTR_ARCH}};
  constexpr const char* kWhat = "set FAT attributes (--without=fat-attrs leaves them)";
  __u32 present = 0;
  if (::ioctl(descriptor, FAT_IOCTL_GET_ATTRIBUTES, &present) != 0) {
    if ((flags & known & feature::kFatAttrs) == 0) return {};
    return fail(ioctl_error(kWhat));
  }
  __u32 bits = present;
  for (const auto& [flag, bit] : kBits)
    if ((known & flag) != 0) bits = (flags & flag) != 0 ? bits | bit : bits & ~bit;
  if (bits != present && ::ioctl(descriptor, FAT_IOCTL_SET_ATTRIBUTES, &bits) != 0) return fail(ioctl_error(kWhat));
  return {};
}

FeatureFlags read_subvolume(int descriptor, std::uint64_t inode) {
  if (inode != kBtrfsSubvolumeInode) return 0;
  __u64 bits = 0;
  const bool is_read_only = ::ioctl(descriptor, BTRFS_IOC_SUBVOL_GETFLAGS, &bits) == 0 && (bits & BTRFS_SUBVOL_RDONLY) != 0;
  return feature::kSubvolume | (is_read_only ? feature::kSubvolumeReadOnly : 0);
}

Result<void> make_subvolume(int parent, std::string_view name) {
  btrfs_ioctl_vol_args arguments{};
  if (name.size() >= sizeof(arguments.name)) return fail(ErrorKind::limit, "the subvolume's name is too long");
  std::memcpy(arguments.name, name.data(), name.size());
  if (::ioctl(parent, BTRFS_IOC_SUBVOL_CREATE, &arguments) != 0) return fail(ioctl_error("make a subvolume"));
  return {};
}

Result<void> make_subvolume_read_only(int descriptor) {
  __u64 bits = BTRFS_SUBVOL_RDONLY;
  if (::ioctl(descriptor, BTRFS_IOC_SUBVOL_SETFLAGS, &bits) != 0) return fail(ioctl_error("make the subvolume read-only"));
  return {};
}

Result<void> make_subvolume_writable(int descriptor) {
  struct stat status{};
  if (::fstat(descriptor, &status) != 0) return fail(ioctl_error("look at the folder"));
  if ((read_subvolume(descriptor, status.st_ino) & feature::kSubvolumeReadOnly) == 0) return {};
  __u64 bits = 0;
  if (::ioctl(descriptor, BTRFS_IOC_SUBVOL_SETFLAGS, &bits) != 0) return fail(ioctl_error("make the subvolume writable"));
  return {};
}

std::uint32_t read_project(int descriptor) {
  fsxattr attributes{};
  return ::ioctl(descriptor, FS_IOC_FSGETXATTR, &attributes) == 0 ? attributes.fsx_projid : 0;
}

Result<void> write_project(int descriptor, std::uint32_t project) {
  fsxattr attributes{};
  constexpr const char* kWhat = "set the quota project (--without=quota-projid leaves it)";
  if (::ioctl(descriptor, FS_IOC_FSGETXATTR, &attributes) != 0) return fail(ioctl_error(kWhat));
  if (attributes.fsx_projid == project) return {};
  attributes.fsx_projid = project;
  if (::ioctl(descriptor, FS_IOC_FSSETXATTR, &attributes) != 0) return fail(ioctl_error(kWhat));
  return {};
}

}  // namespace godwit::chunks
