#include "host/base_file.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/cursor.h"

namespace godwit::host {

namespace {

constexpr std::string_view kMagic = "GDWTBASE";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kSize = 8 + 4 + 4 + 8 + 8 + 32 + 4;

}  // namespace

Bytes encode_base_file(const BaseFile& file) {
  Bytes bytes;
  Writer writer(bytes);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(file.block_size_bytes);
  writer.u64_le(file.size_bytes);
  writer.u64_le(static_cast<std::uint64_t>(file.modified_ns));
  writer.bytes(file.hash);
  writer.u32_le(crc32c(bytes));
  return bytes;
}

Result<BaseFile> decode_base_file(ConstBytes bytes) {
  Cursor cursor(bytes);
  const ConstBytes magic = cursor.take(kMagic.size());
  const std::uint32_t version = cursor.u32_le();
  if (!cursor.ok()) return fail(ErrorKind::truncated, "a base's hash file without a header");
  if (as_text(magic) != kMagic) return fail(ErrorKind::corrupt, "not a base's hash file: bad magic");
  if (version != kVersion)
    return fail(ErrorKind::unsupported,
                fmt::format("a base's hash file of version {}; this program knows {}", version, kVersion));
  if (bytes.size() != kSize) return fail(ErrorKind::corrupt, fmt::format("a base's hash file of {} bytes", bytes.size()));
  BaseFile file;
  file.block_size_bytes = cursor.u32_le();
  file.size_bytes = cursor.u64_le();
  file.modified_ns = static_cast<std::int64_t>(cursor.u64_le());
  std::ranges::copy(cursor.take(file.hash.size()), file.hash.begin());
  if (cursor.u32_le() != crc32c(bytes.first(kSize - 4)))
    return fail(ErrorKind::corrupt, "the checksum of a base's hash file does not match");
  return file;
}

}  // namespace godwit::host
