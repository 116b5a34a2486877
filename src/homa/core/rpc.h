// One RPC as this endpoint knows it: its names, its state, its outbound and inbound message, and what the roles (sender, grants,
// resender) keep about it. The roles own the fields that bear their name; the endpoint moves `state`. Source: homa.md 2, 8.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "homa/core/ids.h"
#include "homa/core/inbound_message.h"
#include "homa/core/outbound_message.h"

namespace godwit::homa {

enum class RpcState : std::uint8_t {
  dead,        // the record is free
  outgoing,    // our message is being sent, or waits for its answer (client) or its acknowledgement (server)
  incoming,    // part of the other side's message is here
  ready,       // complete or failed; the application has not taken it yet
  in_service,  // servers only: the application works on it
};

// Why an RPC ended without a response; what the application is told.
enum class CallError : std::uint8_t {
  none,
  timed_out,          // the peer, or this RPC at the peer, does not answer
  server_lost_state,  // timed out, too: the server forgot the RPC after it had sent part of the response
  refused,            // nobody listens at the peer's UDP port
  unreachable,        // the network says so
};

struct SenderState {
  std::uint64_t arrival = 0;  // breaks ties among messages with as much to send
  bool is_bypassing = false;  // in the queue of what is not paced
  // What a RESEND asked for and has not gone out yet; empty: nothing.
  ByteRange again;
  std::uint8_t again_priority = 0;
};

struct GrantState {
  std::uint64_t birth = 0;         // order of creation of inbound messages
  std::uint64_t contribution = 0;  // what it adds to the sum of bytes expected by messages that are not grantable
  std::uint32_t on_the_way = 0;    // what it adds to the sum of bytes granted and not used
  std::uint32_t list_position = 0xffff'ffff;
  bool is_grantable = false;
  bool is_stalled = false;  // from a RESEND or BUSY until the next DATA
};

// What the sending of our message says about the way; see WayEstimate.
struct WayState {
  Instant since;                 // its first packet's time; then that of the first grant of the stretch
  std::uint32_t from = 0;        // how far that one granted
  bool awaits_answer = false;    // the first packet went out, nothing came back, nothing was sent again
  bool measures_grants = false;  // `since` and `from` begin a stretch of grants
};

struct TimerState {
  std::uint32_t silent_ticks = 0;
  std::uint32_t unanswered = 0;     // RESENDs for it since it was last heard of
  std::uint32_t unknowns = 0;       // UNKNOWNs since DATA last added bytes
  std::uint64_t last_resend = 0;    // tick; at first that of its creation
  std::uint64_t next_need_ack = 0;  // tick; 0: its response is not all sent yet
  std::uint32_t need_ack_gap = 0;   // ticks until the one after
  std::uint32_t need_acks = 0;
};

struct Rpc {
  RpcId id;  // as we know it
  std::uint32_t generation = 0;
  RpcState state = RpcState::dead;
  CallError error = CallError::none;
  PeerIndex peer = kNoPeer;
  Port local_port;
  Port remote_port;
  std::uint32_t socket = 0;          // the record of the local port
  std::uint64_t cookie = 0;          // the application's
  std::uint64_t created = 0;         // order of creation within the endpoint
  bool is_admitted = false;          // its request counts towards the inbound limits,
  std::uint32_t admitted_bytes = 0;  // with so many bytes

  OutboundMessage out;
  SenderState sending;
  WayState way;
  InboundMessage in;
  GrantState granting;
  TimerState timing;
  // The list of RPCs that age: those that are outgoing or incoming, in order of joining.
  RpcIndex next_aging = kNoRpcIndex, previous_aging = kNoRpcIndex;
  bool is_aging = false;

  bool is_client() const { return is_client_id(id); }
};

}  // namespace godwit::homa
