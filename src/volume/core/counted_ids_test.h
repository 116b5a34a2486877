// Ids that can be told apart at a glance in golden bytes.
#pragma once

#include "volume/core/ids.h"

namespace godwit::volume {

// Its bytes count up from `first`.
template <class Id>
Id counted(std::uint8_t first) {
  Id id;
  for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::byte>(first + i);
  return id;
}

}  // namespace godwit::volume
