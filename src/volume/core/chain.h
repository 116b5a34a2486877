// Every ownership a volume has had, oldest first. Decisions compare tags, never epochs. Source: ownership.md 1, 8.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "volume/core/ids.h"

namespace godwit::volume {

enum class OwnershipKind : std::uint8_t { created = 1, moved = 2, returned = 3, forced = 4, adopted = 5 };

struct ChainEntry {
  std::uint64_t epoch = 0;
  OwnershipKind kind = OwnershipKind::created;
  HandoverId tag;
  HostId owner;
  friend bool operator==(const ChainEntry&, const ChainEntry&) = default;
};

inline constexpr std::size_t kChainEntriesMax = 64;

class Chain {
 public:
  std::vector<ChainEntry> entries;  // at most 64, the newest
  std::vector<HandoverId> over;     // forced entries: tags overruled, at most 64, the newest

  bool empty() const { return entries.empty(); }
  const ChainEntry* tip() const { return entries.empty() ? nullptr : &entries.back(); }
  const ChainEntry* find(const HandoverId& tag) const;
  bool contains(const HandoverId& tag) const { return find(tag) != nullptr; }
  // Appends with epoch = highest known + 1, dropping the oldest past 64.
  void add(OwnershipKind kind, const HandoverId& tag, const HostId& owner);
  std::uint64_t highest_epoch() const;
  // This chain is an ancestor of `other`: it is empty, or its tip is an entry of the other.
  bool is_ancestor_of(const Chain& other) const;

  friend bool operator==(const Chain&, const Chain&) = default;
};

// Tag 8 of ownership.md 15: u16 n, n × (u64 epoch, u8 kind, 16 B tag, 16 B owner), u16 m, m × 16 B.
void encode_chain(const Chain& chain, Bytes& out);
Result<Chain> decode_chain(ConstBytes bytes);

}  // namespace godwit::volume
