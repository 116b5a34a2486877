// Which addresses of a sparse storage (a machine's memory, say) are kept where in a volume: an id per slot, slots of one size
// from the volume's beginning. It travels with the blocks (WriteAtWithMap, RemoveFromMap). Source: silo.md 5.9, 5.10; that a
// location counts slots is what the recorded session dev-mapped shows.
//
// Whoever keeps such a storage puts an id before it writes the slot for the first time: that write makes the block dirty, so it
// travels again with its ids.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "volume/core/packet.h"

namespace godwit::volume {

class AddressMap {
 public:
  // The size is not 0.
  explicit AddressMap(std::uint32_t slot_size_bytes) : slot_size_bytes_(slot_size_bytes) {}

  // An id has one slot and a slot one id: what was said of either before is forgotten.
  void put(std::uint64_t id, std::uint64_t slot);
  // False: it was not there.
  bool remove(std::uint64_t id);
  bool contains(std::uint64_t id) const { return slots_.contains(id); }
  std::size_t size() const { return slots_.size(); }

  // Those whose slot begins in [offset, offset + length), by slot.
  std::vector<WriteAtWithMap::Entry> within(std::uint64_t offset, std::uint64_t length) const;

 private:
  std::uint32_t slot_size_bytes_;
  std::map<std::uint64_t, std::uint64_t> ids_;    // by slot
  std::map<std::uint64_t, std::uint64_t> slots_;  // by id
};

}  // namespace godwit::volume
