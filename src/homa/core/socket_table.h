// The Homa ports of an endpoint, and for each the RPCs that wait for its application, in the order of their completion.
// Source: homa.md 2 (ports).
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "homa/core/hash_index.h"
#include "homa/core/ids.h"
#include "homa/core/ring_queue.h"
#include "homa/core/stable_slots.h"

namespace godwit::homa {

struct Socket {
  Port port;
  RingQueue<RpcHandle> ready;  // handles of RPCs that are over meanwhile are skipped
  std::size_t stale = 0;       // of them, those whose RPC is over
  bool is_announced = false;   // poll_readable() has or will have it
};

class SocketTable {
 public:
  static constexpr std::uint32_t kNone = HashIndex::kNone;

  // kNoPort: one that is free in the upper half. exists, invalid (a client port by number), limit (none is free).
  Result<std::uint32_t> open(Port port);
  void close(std::uint32_t socket);
  // kNone if the port is not open.
  std::uint32_t find(Port port) const;

  Socket& at(std::uint32_t socket) { return sockets_[socket]; }
  void push_ready(std::uint32_t socket, RpcHandle rpc);
  // An RPC that waited for the application is over before it was taken. Once half of the handles are such, they are dropped:
  // a peer could otherwise fill the queue of an application that does not poll.
  template <class IsLive>
  void note_stale(std::uint32_t socket, IsLive&& is_live) {
    Socket& s = at(socket);
    if (++s.stale < 32 || 2 * s.stale < s.ready.size()) return;
    for (std::size_t left = s.ready.size(); left > 0; --left)
      if (const RpcHandle rpc = s.ready.pop(); is_live(rpc)) s.ready.push(rpc);
    s.stale = 0;
  }
  // A socket that got its first RPC to take since it was last polled empty.
  std::optional<Port> poll_readable() { return readable_.empty() ? std::nullopt : next_readable(); }

 private:
  std::optional<Port> next_readable();

  StableSlots<Socket> sockets_;
  HashIndex by_port_;
  RingQueue<Port> readable_;
  std::uint16_t next_client_port_ = kFirstClientPort.value;
};

}  // namespace godwit::homa
