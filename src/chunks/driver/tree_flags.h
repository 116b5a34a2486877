// Where a node's flags live in Linux: chattr's bits, FAT's attributes, btrfs's subvolumes, quota projects; to and from an
// archive's feature flags. Source: casync.md 6.3.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "chunks/core/feature_flags.h"

namespace godwit::chunks {

// FS_IOC_GETFLAGS bits that an archive keeps, as feature flags, and back.
FeatureFlags features_of_chattr(std::uint32_t bits);
std::uint32_t chattr_of_features(FeatureFlags flags);
// All bits of chattr that an archive keeps.
std::uint32_t chattr_kept();

inline constexpr std::uint32_t kChattrNoDump = 0x40;
inline constexpr std::uint32_t kChattrImmutable = 0x10;
inline constexpr std::uint32_t kChattrAppend = 0x20;

// What kind of file system a device number stands for, and what it can tell.
struct FileSystemTraits {
  bool is_api = false;  // proc, sysfs, cgroup …: its contents are the kernel's, not files
  bool is_fat = false;
  bool is_btrfs = false;
  bool tells_changes = false;  // a change of a file shows in its times, whoever makes it
  std::uint64_t id = 0;        // as statfs() has it
};
Result<FileSystemTraits> traits_of_file_system(int descriptor);

// 0 where the file system has none of them.
std::uint32_t read_chattr(int descriptor);
Result<void> write_chattr(int descriptor, std::uint32_t bits);
FeatureFlags read_fat_attributes(int descriptor);
// Sets those of `known` to what `flags` has. A file system without such attributes is an error only if one is to be on.
Result<void> write_fat_attributes(int descriptor, FeatureFlags flags, FeatureFlags known);
// Of a folder on btrfs.
FeatureFlags read_subvolume(int descriptor, std::uint64_t inode);
Result<void> make_subvolume(int parent, std::string_view name);
Result<void> make_subvolume_read_only(int descriptor);
// Of any folder: nothing is done where it is no read-only subvolume.
Result<void> make_subvolume_writable(int descriptor);
std::uint32_t read_project(int descriptor);
Result<void> write_project(int descriptor, std::uint32_t project);

}  // namespace godwit::chunks
