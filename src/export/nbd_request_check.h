// Which requests an export takes: the rules of doc/proto.md about flags, alignment, lengths and the device's end, as one
// function.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "export/nbd_protocol.h"

namespace godwit::exports {

struct RequestRules {
  std::uint64_t size = 0;   // of the device
  std::uint16_t flags = 0;  // transmission flags as they were offered
  nbd::BlockSizes sizes;
  bool allocation_context = false;
};

struct Refusal {
  std::uint32_t error = 0;
  std::string_view text;  // static; for people
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

// Why `request` is not executed, or nothing. kDisconnect is not asked about.
std::optional<Refusal> check_request(const nbd::Request& request, const RequestRules& rules);

}  // namespace godwit::exports
