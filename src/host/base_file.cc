#include "host/base_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::host {

namespace {

constexpr std::string_view kMagic = "GDWTBASE";
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kChecksumSize = 4;

}  // namespace

Bytes encode_base_file(const BaseFile& file) {
  GODWIT_CHECK(!file.path.empty() && file.path.size() <= kBasePathSizeMax);
  Bytes bytes;
  Writer writer(bytes);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(file.block_size_bytes);
  writer.u64_le(file.size_bytes);
  writer.u64_le(static_cast<std::uint64_t>(file.modified_ns));
  writer.bytes(file.hash);
  writer.u16_le(static_cast<std::uint16_t>(file.path.size()));
  writer.text(file.path);
  writer.u32_le(crc32c(bytes));
  return bytes;
}

Result<BaseFile> decode_base_file(ConstBytes bytes) {
  Cursor cursor(bytes);
  const ConstBytes magic = cursor.take(kMagic.size());
  const std::uint32_t version = cursor.u32_le();
  if (!cursor.ok()) return fail(ErrorKind::truncated, "a base's file without a header");
  if (as_text(magic) != kMagic) return fail(ErrorKind::corrupt, "not a base's file: bad magic");
  if (version > kVersion)
    return fail(ErrorKind::unsupported,
                fmt::format("a base's file of version {}; this program knows up to {}", version, kVersion));
  BaseFile file;
  file.block_size_bytes = cursor.u32_le();
  file.size_bytes = cursor.u64_le();
  file.modified_ns = static_cast<std::int64_t>(cursor.u64_le());
  const ConstBytes hash = cursor.take(file.hash.size());
  if (version >= 2) file.path = as_text(cursor.take(cursor.u16_le()));
  const std::uint32_t checksum = cursor.u32_le();
  if (version == 0 || !cursor.at_end()) return fail(ErrorKind::corrupt, fmt::format("a base's file of {} bytes", bytes.size()));
  if (checksum != crc32c(bytes.first(bytes.size() - kChecksumSize)))
    return fail(ErrorKind::corrupt, "the checksum of a base's file does not match");
  const bool sound = file.path.starts_with('/') && file.path.size() <= kBasePathSizeMax && !file.path.contains('\0');
  if (version >= 2 && !sound) return fail(ErrorKind::corrupt, "a base's file without an absolute path");
  std::ranges::copy(hash, file.hash.begin());
  return file;
}

}  // namespace godwit::host
