// The names that volumes, hosts and blocks go by. Sources: silo.md 1, ownership.md 1.
#pragma once

#include <cstdint>

#include "base/id128.h"
#include "base/strong.h"

namespace godwit::volume {

using DeviceId = Strong<struct DeviceIdTag, std::uint32_t>;      // within one connection; 0 is the control channel
using TxId = Strong<struct TxIdTag, std::uint32_t>;              // a request of one side; never 0
using BlockIndex = Strong<struct BlockIndexTag, std::uint64_t>;  // which block of a volume

inline constexpr DeviceId kControlDevice{0};

using HostId = Id128<struct HostIdTag>;              // a data directory
using VolumeId = Id128<struct VolumeIdTag>;          // "uuid": the volume, the same wherever it lives
using CopyId = Id128<struct CopyIdTag>;              // one data file on one host
using HandoverId = Id128<struct HandoverTag>;        // "h": one attempt to hand over; becomes an ownership's tag
using SessionId = Id128<struct SessionTag>;          // one ACCEPT on one connection
using Boot = Strong<struct BootTag, std::uint64_t>;  // how often a host's process has started

// Size and block size of a volume, and the arithmetic between bytes and blocks. The last block may be short.
struct Geometry {
  std::uint64_t size_bytes = 0;
  std::uint32_t block_size_bytes = 0;

  std::uint64_t block_count() const { return (size_bytes + block_size_bytes - 1) / block_size_bytes; }
  std::uint64_t offset_of(BlockIndex block) const { return block.value * block_size_bytes; }
  std::uint32_t length_of(BlockIndex block) const {
    const std::uint64_t left = size_bytes - offset_of(block);
    return left < block_size_bytes ? static_cast<std::uint32_t>(left) : block_size_bytes;
  }
  BlockIndex block_at(std::uint64_t offset) const { return BlockIndex{offset / block_size_bytes}; }
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

}  // namespace godwit::volume
