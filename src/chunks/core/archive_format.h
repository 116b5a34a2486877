// The records of an archive (.catar): their types, sizes and limits. A record is {8} size, {8} type, body; the size counts all
// three, numbers are little-endian, nothing is padded. Source: casync.md 6.1, docs/formats/casync-archive.md.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace godwit::chunks {

enum class RecordType : std::uint64_t {
  entry = 0x1396fabcea5bbb51,
  user = 0xf453131aaeeaccb3,
  group = 0x25eb6ac969396a52,
  xattr = 0xb8157091f80bc486,
  acl_user = 0x297dc88b2ef12faf,
  acl_group = 0x36f2acb56cb3dd0b,
  acl_group_object = 0x23047110441f38f3,
  acl_default = 0xfe3eeda6823c8cd0,
  acl_default_user = 0xbdf03df9bd010a91,
  acl_default_group = 0xa0cb1168782d1f51,
  selinux = 0x46faf0602fd26c59,
  fcaps = 0xf7267db0afed0629,
  quota_project_id = 0x161baf2d8772a72b,
  symlink = 0x664a6fb6830e0d6c,
  device = 0xac3dace369dfe643,
  payload = 0x8b9e1d93d6dcffc9,
  filename = 0x6dbb6ebcb3161f0b,
  goodbye = 0xdfd35c5e8327c403,
};

// "ENTRY", "XATTR" …, as the specification calls them; "unknown record" for any other number.
std::string_view name_of(RecordType type);

inline constexpr std::size_t kRecordHeadSize = 16;
inline constexpr std::size_t kEntrySize = 64;
inline constexpr std::size_t kGoodbyeItemSize = 24;
inline constexpr std::uint64_t kGoodbyeTailMarker = 0x57446fa533702943;

inline constexpr std::size_t kFileNameSizeMax = 255;
inline constexpr std::size_t kUserNameSizeMax = 255;
inline constexpr std::size_t kXattrNameSizeMax = 255;
inline constexpr std::size_t kXattrValueSizeMax = 65536;
inline constexpr std::size_t kFcapsSizeMax = 65536;
inline constexpr std::size_t kSelinuxSizeMax = 4095;
inline constexpr std::size_t kSymlinkSizeMax = 4095;
inline constexpr std::uint64_t kDeviceMajorEnd = 1U << 12;
inline constexpr std::uint64_t kDeviceMinorEnd = 1U << 20;
// Of a record that is not a PAYLOAD or a GOODBYE.
inline constexpr std::size_t kSmallRecordSizeMax = kRecordHeadSize + kXattrNameSizeMax + 1 + kXattrValueSizeMax;
// A node with more attributes than these bytes hold is refused: its head lies in memory as a whole.
inline constexpr std::size_t kNodeHeadSizeMax = std::size_t{32} << 20;
// A folder in a folder, so many times: every level costs whoever walks it an open descriptor.
inline constexpr std::size_t kArchiveDepthMax = 2000;
inline constexpr std::uint64_t kPayloadSizeMax = (std::uint64_t{1} << 63) - 1 - kRecordHeadSize;

// 1 to 255 bytes, neither "." nor "..", without '/' and NUL: what may be joined to a folder without leaving it.
// ErrorKind::invalid with the reason and the escaped name.
Result<void> check_file_name(std::string_view name);

}  // namespace godwit::chunks
