#include "volume/core/chain.h"

#include <algorithm>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::volume {

const ChainEntry* Chain::find(const HandoverId& tag) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const ChainEntry& entry) { return entry.tag == tag; });
  return found == entries.end() ? nullptr : &*found;
}

void Chain::add(OwnershipKind kind, const HandoverId& tag, const HostId& owner) {
  entries.push_back({.epoch = highest_epoch() + 1, .kind = kind, .tag = tag, .owner = owner});
  if (entries.size() > kChainEntriesMax) entries.erase(entries.begin(), entries.end() - kChainEntriesMax);
}

std::uint64_t Chain::highest_epoch() const {
  std::uint64_t highest = 0;
  for (const ChainEntry& entry : entries) highest = std::max(highest, entry.epoch);
  return highest;
}

bool Chain::is_ancestor_of(const Chain& other) const {
  return empty() || other.contains(tip()->tag);
}

void encode_chain(const Chain& chain, Bytes& out) {
  GODWIT_CHECK(chain.entries.size() <= kChainEntriesMax && chain.over.size() <= kChainEntriesMax);
  Writer writer(out);
  writer.u16_le(static_cast<std::uint16_t>(chain.entries.size()));
  for (const ChainEntry& entry : chain.entries) {
    writer.u64_le(entry.epoch);
    writer.u8(static_cast<std::uint8_t>(entry.kind));
    writer.bytes(entry.tag.view());
    writer.bytes(entry.owner.view());
  }
  writer.u16_le(static_cast<std::uint16_t>(chain.over.size()));
  for (const HandoverId& tag : chain.over) writer.bytes(tag.view());
}

static std::optional<OwnershipKind> ownership_kind(std::uint8_t value) {
  if (value < static_cast<std::uint8_t>(OwnershipKind::created) || value > static_cast<std::uint8_t>(OwnershipKind::adopted))
    return std::nullopt;
  return static_cast<OwnershipKind>(value);
}

template <class Id>
static Id take_id(Cursor& cursor) {
  const ConstBytes sixteen = cursor.take(16);
  return cursor.ok() ? Id::from(sixteen) : Id{};
}

Result<Chain> decode_chain(ConstBytes bytes) {
  Chain chain;
  Cursor cursor(bytes);
  const std::size_t entry_count = cursor.u16_le();
  if (entry_count > kChainEntriesMax) return fail(ErrorKind::limit, "a chain of " + std::to_string(entry_count) + " entries");
  for (std::size_t i = 0; i < entry_count && cursor.ok(); ++i) {
    ChainEntry entry;
    entry.epoch = cursor.u64_le();
    const std::uint8_t kind = cursor.u8();
    entry.tag = take_id<HandoverId>(cursor);
    entry.owner = take_id<HostId>(cursor);
    if (!cursor.ok()) break;
    const std::optional<OwnershipKind> named = ownership_kind(kind);
    if (!named) return fail(ErrorKind::invalid, "an ownership of unknown kind " + std::to_string(kind));
    entry.kind = *named;
    chain.entries.push_back(entry);
  }
  const std::size_t over_count = cursor.u16_le();
  if (over_count > kChainEntriesMax) return fail(ErrorKind::limit, "a chain that overrules " + std::to_string(over_count));
  for (std::size_t i = 0; i < over_count && cursor.ok(); ++i) chain.over.push_back(take_id<HandoverId>(cursor));
  if (!cursor.ok()) return fail(ErrorKind::truncated, "a chain that ends too early");
  if (!cursor.at_end()) return fail(ErrorKind::invalid, "bytes behind a chain");
  return chain;
}

}  // namespace godwit::volume
