// The bytes of a data directory's file `host`: who this host is, and how often its process has started. Format:
// docs/formats/host-file.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"
#include "volume/core/ids.h"

namespace godwit::host {

struct HostFile {
  volume::HostId id;
  volume::Boot boot;

  friend bool operator==(const HostFile&, const HostFile&) = default;
};

inline constexpr std::size_t kHostSlotSize = 40;
inline constexpr std::size_t kHostFileSize = 1024;

// Where the slot of a boot lies: the one before stays untouched.
constexpr std::uint64_t host_slot_offset(volume::Boot boot) {
  return boot.value % 2 * 512;
}
// Exactly kHostSlotSize bytes.
Bytes encode_host_slot(const HostFile& host);

// The newest valid slot. Errors: not_found for an empty file or one of zeros (a directory that never had a host), unsupported for
// a newer version, corrupt where no slot can be read.
Result<HostFile> decode_host_file(ConstBytes file);

}  // namespace godwit::host
