// The bytes of `NAME.cow.base`: the hash of the base image below an overlay, with what tells whether the image is still the one
// that was hashed. A hint: where it does not fit, the image is hashed again. Format: docs/formats/base-hash.md.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace godwit::host {

struct BaseFile {
  std::uint32_t block_size_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;  // the image's mtime, since 1970
  Sha256 hash{};

  // The same image, as far as the file system tells.
  bool fits(const BaseFile& now) const {
    return block_size_bytes == now.block_size_bytes && size_bytes == now.size_bytes && modified_ns == now.modified_ns;
  }
  friend bool operator==(const BaseFile&, const BaseFile&) = default;
};

Bytes encode_base_file(const BaseFile& file);
// Errors: truncated, corrupt (magic, checksum, length), unsupported (another version, named).
Result<BaseFile> decode_base_file(ConstBytes bytes);

}  // namespace godwit::host
