#include "volume/core/address_map.h"

namespace godwit::volume {

void AddressMap::put(std::uint64_t id, std::uint64_t slot) {
  remove(id);
  if (const auto other = ids_.find(slot); other != ids_.end()) slots_.erase(other->second);
  ids_[slot] = id;
  slots_[id] = slot;
}

bool AddressMap::remove(std::uint64_t id) {
  const auto it = slots_.find(id);
  if (it == slots_.end()) return false;
  ids_.erase(it->second);
  slots_.erase(it);
  return true;
}

std::vector<WriteAtWithMap::Entry> AddressMap::within(std::uint64_t offset, std::uint64_t length) const {
  std::vector<WriteAtWithMap::Entry> entries;
  const std::uint64_t first = offset / slot_size_bytes_ + (offset % slot_size_bytes_ != 0);
  for (auto it = ids_.lower_bound(first);
       it != ids_.end() && it->first < (offset + length + slot_size_bytes_ - 1) / slot_size_bytes_; ++it)
    entries.push_back({it->second, it->first});
  return entries;
}

}  // namespace godwit::volume
