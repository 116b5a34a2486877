// One endpoint of the transport: the composition of its roles. It decodes what comes in, finds the RPC that is meant, and routes
// to the role that decides: sender.h, grant_scheduler.h, resender.h, cutoffs.h, acks.h, retired_set.h. No I/O, no clock, no
// threads; one thread owns it. The same calls give the same packets, byte for byte. Source: homa.md 13, in the verbs of all our
// cores.
//
// Bulk bytes never pass through it:
//   - what is sent is named by the owner's BufferId and a range; the buffer stays valid until poll_release() gives it back;
//   - what is received stays in the datagram: handle_packet() returns which of its bytes go where in which message, and the owner
//     copies them before it calls again. The owner keeps a message's bytes under its RpcHandle, from the first placement until
//     the Event (then they are the application's) or the Release (then they are garbage).
//
// The owner's loop:
//   for each datagram that waits: copy(handle_packet(now, from, its first 90 bytes, its size));   handle_batch_end(now);
//   handle_timeout(now) when next_deadline() <= now — only after all waiting datagrams have been handed in, or a process that was
//   stopped for a while would take its peers for dead;
//   while (poll_transmit(now, transmit)) send it;   while (poll_release(release)) free it;
//   poll_readable() tells which ports have events, poll_event(port) is the application's taking.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/random.h"
#include "homa/core/cutoffs.h"
#include "homa/core/grant_scheduler.h"
#include "homa/core/outbox.h"
#include "homa/core/packet_trace.h"
#include "homa/core/peer_table.h"
#include "homa/core/resender.h"
#include "homa/core/retired_set.h"
#include "homa/core/rpc_table.h"
#include "homa/core/sender.h"
#include "homa/core/socket_table.h"
#include "homa/core/way_estimate.h"

namespace godwit::homa {

// Which bytes of a datagram to keep: copy `range.length()` bytes from `datagram_offset` to offset `range.begin` of the message
// that `rpc` receives, `message_length` bytes in all. An empty range: nothing to keep.
struct Placement {
  RpcHandle rpc;
  std::uint32_t message_length = 0;
  ByteRange range;
  std::uint32_t datagram_offset = 0;
};

// One datagram to send: `header_size` bytes of `header`, then `length` bytes at `offset` of `buffer` (0 for control packets).
struct Transmit {
  PeerAddress to;
  std::uint8_t priority = 0;
  std::uint8_t header_size = 0;
  std::array<std::byte, kHeaderSizeMax> header;
  RpcHandle rpc;  // of DATA: packets of one message that follow one another may become one system call
  BufferId buffer;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};

// What the application gets. The message's bytes are those placed under `rpc`.
struct Event {
  enum class Kind : std::uint8_t {
    request,   // to be answered by handle_reply(rpc)
    response,  // of our call; the RPC is over
    failed,    // our call, by `error`; the RPC is over
  };
  Kind kind = Kind::request;
  RpcHandle rpc;
  RpcId id;  // of our call as handle_call() returned it, or the server's name of it
  PeerAddress peer;
  Port peer_port;
  std::uint64_t cookie = 0;  // of our call
  std::uint32_t length = 0;
  CallError error = CallError::none;
};

// An RPC is over; what the owner kept for it can go.
struct Release {
  RpcHandle rpc;
  std::optional<BufferId> sent;      // the buffer of handle_call() or handle_reply()
  bool received_is_garbage = false;  // bytes were placed under `rpc` that no Event has given or will give to anybody
};

struct Call {
  Port from;  // an open port of ours
  PeerAddress to;
  Port to_port;
  std::uint32_t length = 0;  // 1 … Config::max_message_length
  BufferId buffer;           // the request's bytes
  std::uint64_t cookie = 0;  // comes back with the response or the error
};
struct StartedCall {
  RpcHandle rpc;
  RpcId id;
};

// Everything that happened, for metrics and tests. Arrays by index_of(PacketType).
struct Counters {
  std::array<std::uint64_t, kPacketTypeCount> sent{}, received{};
  std::array<std::uint64_t, kMalformedCount> malformed{};
  std::array<std::uint64_t, kPriorityCount> sent_bytes_by_priority{};  // UDP payload
  std::uint64_t data_bytes_sent = 0;
  std::uint64_t data_bytes_received = 0;  // new ones
  std::uint64_t redundant_bytes = 0;      // received once more
  std::uint64_t retransmitted_packets = 0;
  std::uint64_t calls_started = 0, calls_completed = 0, calls_failed = 0;
  std::uint64_t requests_delivered = 0, replies_acked = 0;
  std::uint64_t dropped_unknown_rpc = 0;   // nothing here bears that name
  std::uint64_t dropped_other_names = 0;   // right id, but from another peer or port
  std::uint64_t dropped_unknown_port = 0;  // a request for a port that takes none
  std::uint64_t dropped_duplicate = 0;     // DATA of a message that is complete
  std::uint64_t dropped_length_changed = 0;
  std::uint64_t dropped_retired = 0;  // DATA or RESEND for an RPC that is over
  std::uint64_t dropped_gaps = 0;     // Limits::gaps_per_message_max
  std::uint64_t refused_limit = 0;    // requests beyond the inbound limits, or no room for a peer
  std::uint64_t ignored_acks = 0;     // for RPCs that are not wholly answered
  std::uint64_t ignored_resends = 0;  // that name a range behind the message's end
  std::uint64_t ticks_skipped = 0;
  std::uint64_t peers_dead = 0;
};

class Endpoint {
 public:
  // `config` must pass check(); it is copied. `random` gives the hash seeds and, unless `first_id` does, the first RPC id: a
  // client that starts again must not use the ids of its past.
  Endpoint(const Config& config, Random random, std::optional<RpcId> first_id);
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;

  // kNoPort: a client's port that is free; else a server's, 1…32767. exists, invalid, limit.
  Result<Port> open_port(Port port);
  // Its calls end without a word, what it serves is forgotten (and not executed again). Nothing for a port that is not open.
  void close_port(Instant now, Port port);

  // `head`: the whole datagram, or its first kHeaderSizeMax bytes or more; read during the call only.
  [[nodiscard]] Placement handle_packet(Instant now, const PeerAddress& from, ConstBytes head, std::size_t datagram_size);
  // After the packets of one receive batch: decides on grants.
  void handle_batch_end(Instant now);
  // When next_deadline() has come. At most one tick per call; those that were missed are skipped.
  void handle_timeout(Instant now);
  // The network says that the peer's UDP port is not there (refused) or not reachable.
  void handle_unreachable(Instant now, const PeerAddress& peer, CallError error);

  // invalid (length, port not open), limit (too many calls, or peers with RPCs).
  Result<StartedCall> handle_call(Instant now, const Call& call);
  // Answers a Request. invalid (length), not_found (it is over, or was answered): then the buffer is not taken.
  Result<void> handle_reply(Instant now, RpcHandle rpc, std::uint32_t length, BufferId buffer);
  // Our call ends without an event; the server is not told. False: it is over already.
  bool handle_abort(Instant now, RpcHandle rpc);
  // A request will not be answered: it is forgotten, and not executed again. False: it is over already.
  bool handle_discard(Instant now, RpcHandle rpc);

  // The next datagram that may go out now; false: none may.
  bool poll_transmit(Instant now, Transmit& out);
  // A port that has events, once when its first comes after poll_event() gave none.
  std::optional<Port> poll_readable() { return sockets_.poll_readable(); }
  // The application takes the next message of the port, in the order of completion; nothing if there is none.
  std::optional<Event> poll_event(Port port);
  bool poll_release(Release& out);
  // What FREEZE kept of the packet trace, once.
  std::optional<std::vector<PacketTrace::Record>> poll_frozen_trace() { return trace_.take_frozen(); }

  // When to call handle_timeout() or, for the link's pace, poll_transmit() again; Instant::never() if nothing waits for time.
  Instant next_deadline() const;
  // Its two parts: the timers', and that of the link's pace.
  Instant next_tick() const { return rpcs_.any_aging() ? *next_tick_ : Instant::never(); }
  Instant next_transmit() const { return sender_.next_deadline(); }

  // As it is now: rtt_bytes and link_mbps may have been found out meanwhile.
  const Config& config() const { return config_; }
  const WayEstimate& way() const { return way_; }
  const Counters& counters() const { return counters_; }
  const Cutoffs& cutoffs() const { return allocator_.current(); }
  std::uint32_t rpc_count() const { return rpcs_.count(); }
  std::uint32_t peer_count() const { return peers_.count(); }
  std::uint32_t retired_count() const { return retired_.count(); }
  std::uint64_t retired_evicted() const { return retired_.evicted(); }
  std::uint64_t control_packets_dropped() const { return outbox_.dropped(); }
  std::uint64_t pity_grants() const { return grants_.pity_grants(); }
  // What the port's queue of events holds, those included whose RPC is over.
  std::size_t waiting_handles(Port port) { return sockets_.at(sockets_.find(port)).ready.size(); }
  std::uint64_t inbound_bytes() const { return inbound_bytes_; }
  // Peers from which more could be granted; for the measurement of wasted bandwidth.
  std::size_t grantable_peers() const { return grants_.grantable_peers(); }
  std::uint64_t bytes_granted_unused() const { return grants_.bytes_granted_unused(); }
  bool is_waiting_for_link() const { return !sender_.is_idle(); }

 private:
  enum class Retire : std::uint8_t { acked, other };
  // What the header says, besides the packet itself.
  struct Arrival {
    Instant now;
    const PeerAddress& from;
    PeerIndex peer;  // kNoPeer if it is not known yet
    const Packet& packet;
    RpcId local_id;
  };

  RpcIndex find_rpc(const Arrival& in);
  Placement handle_data(const Arrival& in, const Data& data, RpcIndex index);
  Placement merge(const Arrival& in, const Data& data, RpcIndex index);
  RpcIndex admit(const Arrival& in, const Data& data);
  void complete(Instant now, RpcIndex index);
  void handle_grant(const Arrival& in, const Grant& grant, RpcIndex index);
  void handle_resend(const Arrival& in, const Resend& resend, RpcIndex index);
  void resend_range(const Resend& resend, RpcIndex index);
  void handle_unknown(const Arrival& in, RpcIndex index);
  void handle_busy(RpcIndex index);
  void handle_cutoffs(const Arrival& in, const CutoffsUpdate& update);
  void handle_need_ack(const Arrival& in, RpcIndex index);
  void handle_ack(const Arrival& in, const Ack& ack, RpcIndex index);
  void honour_ack(const Arrival& in, const AckRecord& record);
  void free_acked(Instant now, RpcIndex index);
  void tell_cutoffs(const Arrival& in, const Data& data, PeerIndex peer);

  void reply(const Arrival& in, const PacketBody& body);
  void send_control(const Rpc& rpc, const PacketBody& body);
  bool transmit_control(Instant now, Transmit& out);
  void transmit_data(Instant now, const Sender::Choice& choice, Transmit& out);
  void count_sent(Instant now, const Transmit& out, PacketType type, bool is_ipv4);
  void learn_from_answer(Instant now, Rpc& rpc);
  void learn_from_grant(Instant now, Rpc& rpc, std::uint32_t offset);
  void adapt();

  void run_tick(Instant now);
  void run_grants();
  void start_sending(Instant now, RpcIndex index, std::uint32_t length, BufferId buffer);
  void start_aging(Instant now, RpcIndex index);
  void push_ready(RpcIndex index);
  void fail_call(RpcIndex index, CallError error);
  void give_up(Instant now, RpcIndex index, CallError error);
  void end_peer(Instant now, PeerIndex peer, CallError error);
  void end_rpc(Instant now, RpcIndex index, Retire retire);
  void release_admission(Rpc& rpc);

  Config config_;  // the roles look at it; only adapt() changes it
  WayEstimate way_;
  PeerTable peers_;
  RpcTable rpcs_;
  SocketTable sockets_;
  Sender sender_;
  GrantScheduler grants_;
  CutoffAllocator allocator_;
  Resender resender_;
  RetiredSet retired_;
  Outbox outbox_;
  PacketTrace trace_;
  RingQueue<Release> releases_;
  Counters counters_;
  std::uint64_t next_id_;
  std::uint32_t client_rpcs_ = 0;
  std::uint64_t inbound_bytes_ = 0;  // declared by requests that are not taken
  std::optional<Instant> next_tick_;
};

}  // namespace godwit::homa
