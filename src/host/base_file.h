// The bytes of `NAME.cow.base`: where the base image below an overlay is, its hash, and what tells whether the image is still the
// one that was hashed. Format: docs/formats/base-hash.md.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace godwit::host {

inline constexpr std::size_t kBasePathSizeMax = 4096;

struct BaseFile {
  std::uint32_t block_size_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;  // the image's mtime, since 1970
  Sha256 hash{};
  std::string path;  // absolute; "": a file of version 1 did not say

  // The same image, as far as the file system tells.
  bool fits(const BaseFile& now) const {
    return block_size_bytes == now.block_size_bytes && size_bytes == now.size_bytes && modified_ns == now.modified_ns &&
           (path.empty() || path == now.path);
  }
  friend bool operator==(const BaseFile&, const BaseFile&) = default;
};

// Of the newest version; the path has 1 to kBasePathSizeMax bytes.
Bytes encode_base_file(const BaseFile& file);
// Errors: truncated, corrupt (magic, checksum, length, path), unsupported (a newer version, named).
Result<BaseFile> decode_base_file(ConstBytes bytes);

}  // namespace godwit::host
