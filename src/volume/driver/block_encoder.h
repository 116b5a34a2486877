// Which form a block travels in: by hash where the destination can have it elsewhere, nothing for zeros, else the smaller of raw
// and the configured compressed form. Source: silo.md 6.5.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/hash.h"
#include "net/buffer_pool.h"
#include "volume/core/address_map.h"
#include "volume/core/packet.h"

namespace godwit::volume {

struct FormPolicy {
  WriteForm form = WriteForm::raw;  // raw, rle, gzip, zeroes: the compressed form to try
  bool hash_only = false;           // "no data": every block by hash (silo.md 8.3)
};

struct EncodedBlock {
  Bytes head;  // the whole frame up to its payload
  ConstBytes payload;
  net::Lease buffer;  // keeps the payload alive
  WriteForm form{};
};

class BlockEncoder {
 public:
  explicit BlockEncoder(FormPolicy policy) : policy_(policy) {}

  // Blocks that the destination can fetch elsewhere, by offset; forgotten when dirty rounds begin.
  void set_alternates(std::map<std::uint64_t, AlternateSources::Entry> alternates) { alternates_ = std::move(alternates); }
  void forget_alternates() { alternates_.clear(); }
  const std::map<std::uint64_t, AlternateSources::Entry>& alternates() const { return alternates_; }
  // Where a block announced by hash is, for ReadByHash. An entry may be stale after a write: verify.
  std::optional<std::pair<std::uint64_t, std::uint32_t>> find_hash(const Sha256& hash) const;

  EncodedBlock encode(DeviceId device, TxId tx, std::uint64_t offset, net::Lease data);
  // Raw, with the addresses that are kept in it: the other forms have no room for them.
  static EncodedBlock encode_mapped(DeviceId device, TxId tx, std::uint64_t offset, const AddressMap& map, net::Lease data);
  EncodedBlock encode_zeroes_run(DeviceId device, TxId tx, std::uint64_t offset, std::uint64_t length);

 private:
  FormPolicy policy_;
  std::map<std::uint64_t, AlternateSources::Entry> alternates_;
  std::map<Sha256, std::pair<std::uint64_t, std::uint32_t>> announced_;
  Bytes scratch_;
};

}  // namespace godwit::volume
