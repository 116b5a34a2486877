// Chooses which data packet goes out next: retransmissions and the ends of messages first, unpaced; then, at the link's pace, the
// message with the fewest bytes left, except that a share goes to the oldest. This *is* the pacer: the choice is made anew for
// every packet. Control packets are not its business, but they are charged to its link. Source: homa.md 5, 7 (RESEND).
#pragma once

#include <cstdint>
#include <optional>

#include "homa/core/indexed_heap.h"
#include "homa/core/link_pacer.h"
#include "homa/core/ring_queue.h"
#include "homa/core/rpc_table.h"

namespace godwit::homa {

class Sender {
 public:
  Sender(const Config& config, RpcTable& rpcs) : config_(config), rpcs_(rpcs), link_(config) {}

  LinkPacer& link() { return link_; }

  // The message may have permitted unsent packets now: it was started, granted or restarted.
  void handle_permission(RpcIndex index);
  // The RPC is over, or its message needs no more sending.
  void withdraw(RpcIndex index);
  // A RESEND asked for [begin, end), sent before or not; at most rtt_bytes of it, in whole packets, go out now.
  void handle_resend(RpcIndex index, std::uint32_t begin, std::uint32_t end, std::uint8_t priority);

  struct Choice {
    RpcIndex rpc;
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
    bool is_resend = false;  // asked for by a RESEND, whose priority it has
    std::uint8_t resend_priority = 0;
  };
  // The next packet that may go out at `now`; the message has then advanced past it. The caller charges the link.
  std::optional<Choice> poll(Instant now);
  // When poll() will have something that it has not now; never if nothing waits for the link.
  Instant next_deadline() const { return shortest_.empty() ? Instant::never() : link_.ready_at(); }

  bool is_idle() const { return shortest_.empty() && resends_.empty() && bypassing_.empty(); }

 private:
  struct Key {
    std::uint64_t order = 0;
    std::uint64_t arrival = 0;

    friend auto operator<=>(const Key&, const Key&) = default;
  };

  Key key_of(const Rpc& rpc) const;
  bool bypasses(const Rpc& rpc) const { return rpc.out.remaining() < config_.throttle_min_bytes; }
  void throttle(RpcIndex index);
  void unthrottle(RpcIndex index);
  std::optional<Choice> next_resend();
  std::optional<Choice> next_bypassing();
  std::optional<Choice> next_throttled();
  RpcIndex serve_oldest_or_shortest();
  Choice advance(RpcIndex index);

  const Config& config_;
  RpcTable& rpcs_;
  LinkPacer link_;
  RingQueue<RpcHandle> resends_;
  RingQueue<RpcHandle> bypassing_;
  // The throttled list, in both its orders.
  IndexedHeap<Key> shortest_;
  IndexedHeap<std::uint64_t> oldest_;
  HeapPositions shortest_positions_, oldest_positions_;
  std::uint64_t arrivals_ = 0;
  std::int32_t until_oldest_ = 1;  // falls by the FIFO share per packet; at 0 the oldest is served
};

}  // namespace godwit::homa
