// The headers of the last packets, for FREEZE: somebody saw something odd and wants what led to it kept. Off unless configured.
// Source: homa.md 3.5.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.h"
#include "homa/core/packet.h"

namespace godwit::homa {

class PacketTrace {
 public:
  struct Record {
    Instant when;
    bool outgoing = false;
    PeerAddress peer;
    std::uint8_t header_size = 0;
    std::array<std::byte, kHeaderSizeMax> header{};
  };

  explicit PacketTrace(std::uint32_t packets) : capacity_(packets) {}

  bool is_on() const { return capacity_ > 0; }
  void add(Instant now, bool outgoing, const PeerAddress& peer, ConstBytes header);
  // Keeps what there is, oldest first, for take_frozen(), and begins anew; at most once per second.
  void freeze(Instant now);
  // What freeze() kept; nothing if it was taken already.
  std::optional<std::vector<Record>> take_frozen();

 private:
  const std::uint32_t capacity_;
  std::vector<Record> records_;
  std::size_t next_ = 0;
  std::optional<Instant> frozen_at_;
  std::optional<std::vector<Record>> frozen_;
};

}  // namespace godwit::homa
