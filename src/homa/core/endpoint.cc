// Calls, replies, ends, time. The other two thirds: endpoint_receive.cc, endpoint_transmit.cc.
#include "homa/core/endpoint.h"

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::homa {

namespace {

constexpr std::uint64_t kFirstIdMax = 1ULL << 62;

std::uint64_t first_even_id(Random& random, std::optional<RpcId> given) {
  if (given) return given->value;
  return 2 + 2 * random.below((kFirstIdMax - 2) / 2 + 1);
}

}  // namespace

Endpoint::Endpoint(const Config& config, Random random, std::optional<RpcId> first_id)
    : config_(config),
      way_(config_),
      peers_(config_, random.next()),
      rpcs_(random.next()),
      sender_(config_, rpcs_),
      grants_(config_, rpcs_, peers_),
      allocator_(config_),
      resender_(config_, rpcs_, peers_),
      retired_(config_, random),
      outbox_(config_),
      trace_(config_.trace_packets),
      next_id_(first_even_id(random, first_id)) {
  GODWIT_CHECK(check(config_).has_value());
  GODWIT_CHECK(next_id_ != 0 && is_client_id(RpcId{next_id_}));
}

Result<Port> Endpoint::open_port(Port port) {
  Result<std::uint32_t> socket = sockets_.open(port);
  if (!socket) return fail(std::move(socket).error());
  return sockets_.at(*socket).port;
}

void Endpoint::close_port(Instant now, Port port) {
  const std::uint32_t socket = sockets_.find(port);
  if (socket == SocketTable::kNone) return;
  for (std::uint32_t i = 0; i < rpcs_.index_end(); ++i) {
    const Rpc& rpc = rpcs_.at(RpcIndex{i});
    if (rpc.state != RpcState::dead && rpc.socket == socket) end_rpc(now, RpcIndex{i}, Retire::other);
  }
  sockets_.close(socket);
  run_grants();
}

Result<StartedCall> Endpoint::handle_call(Instant now, const Call& call) {
  if (call.length == 0 || call.length > config_.max_message_length)
    return fail(ErrorKind::invalid,
                fmt::format("a request of {} bytes: 1 to {} can be sent", call.length, config_.max_message_length));
  const std::uint32_t socket = sockets_.find(call.from);
  if (socket == SocketTable::kNone)
    return fail(ErrorKind::invalid, fmt::format("Homa port {} is not open here", call.from.value));
  if (client_rpcs_ >= config_.limits.client_rpcs_max)
    return fail(ErrorKind::limit, fmt::format("{} calls are under way already; wait for some to end", client_rpcs_));
  const PeerIndex peer = peers_.find_or_create(call.to);
  if (peer == kNoPeer)
    return fail(ErrorKind::limit, fmt::format("calls to {} peers are under way already; wait for some to end", peers_.count()));
  const RpcIndex index = rpcs_.create(RpcId{next_id_}, peer, call.from, call.to_port);
  next_id_ += 2;
  if (next_id_ == 0) next_id_ = 2;  // 0 means "no RPC" in an acknowledgement
  Rpc& rpc = rpcs_.at(index);
  rpc.socket = socket;
  rpc.cookie = call.cookie;
  ++client_rpcs_;
  ++counters_.calls_started;
  ++peers_.at(peer).rpcs;
  peers_.note_use(peer);
  start_sending(now, index, call.length, call.buffer);
  return StartedCall{rpcs_.handle(index), rpc.id};
}

Result<void> Endpoint::handle_reply(Instant now, RpcHandle handle, std::uint32_t length, BufferId buffer) {
  if (length == 0 || length > config_.max_message_length)
    return fail(ErrorKind::invalid,
                fmt::format("a response of {} bytes: 1 to {} can be sent", length, config_.max_message_length));
  const Rpc* rpc = rpcs_.find(handle);
  if (rpc == nullptr || rpc->is_client() || rpc->state != RpcState::in_service)
    return fail(ErrorKind::not_found, "the request is over, or was answered already");
  start_sending(now, handle.index, length, buffer);
  return {};
}

bool Endpoint::handle_abort(Instant now, RpcHandle handle) {
  const Rpc* rpc = rpcs_.find(handle);
  if (rpc == nullptr || !rpc->is_client()) return false;
  end_rpc(now, handle.index, Retire::other);
  run_grants();
  return true;
}

bool Endpoint::handle_discard(Instant now, RpcHandle handle) {
  const Rpc* rpc = rpcs_.find(handle);
  if (rpc == nullptr || rpc->is_client()) return false;
  end_rpc(now, handle.index, Retire::other);
  run_grants();
  return true;
}

void Endpoint::start_sending(Instant now, RpcIndex index, std::uint32_t length, BufferId buffer) {
  Rpc& rpc = rpcs_.at(index);
  rpc.state = RpcState::outgoing;
  rpc.way = {};
  rpc.out.start(length, config_.rtt_bytes, config_.max_data, buffer);
  start_aging(now, index);
  sender_.handle_permission(index);
}

void Endpoint::start_aging(Instant now, RpcIndex index) {
  // Time in which nothing aged ages nobody.
  if (!rpcs_.any_aging()) next_tick_ = now + config_.tick;
  rpcs_.start_aging(index);
  rpcs_.at(index).timing.last_resend = resender_.ticks();
}

std::optional<Event> Endpoint::poll_event(Port port) {
  const std::uint32_t at = sockets_.find(port);
  if (at == SocketTable::kNone) return std::nullopt;
  Socket& socket = sockets_.at(at);
  while (!socket.ready.empty()) {
    const RpcHandle handle = socket.ready.pop();
    Rpc* rpc = rpcs_.find(handle);
    if (rpc == nullptr) {
      --socket.stale;
      continue;
    }
    Event event{.rpc = handle,
                .id = rpc->id,
                .peer = peers_.at(rpc->peer).address,
                .peer_port = rpc->remote_port,
                .cookie = rpc->cookie,
                .length = rpc->in.length(),
                .error = rpc->error};
    if (!rpc->is_client()) {
      event.kind = Event::Kind::request;
      rpc->state = RpcState::in_service;
      rpc->in.clear();  // the bytes are the application's now
      release_admission(*rpc);
      return event;
    }
    event.kind = rpc->error == CallError::none ? Event::Kind::response : Event::Kind::failed;
    if (event.kind == Event::Kind::response)
      rpc->in.clear();
    else
      event.length = 0;
    rpc->state = RpcState::outgoing;           // it waits for nobody any more
    end_rpc({}, handle.index, Retire::other);  // a client's end leaves no tombstone, so the time is not needed
    return event;
  }
  socket.is_announced = false;
  return std::nullopt;
}

bool Endpoint::poll_release(Release& out) {
  if (releases_.empty()) return false;
  out = releases_.pop();
  return true;
}

Instant Endpoint::next_deadline() const {
  return std::min(next_tick(), next_transmit());
}

void Endpoint::handle_timeout(Instant now) {
  if (!rpcs_.any_aging() || now < *next_tick_) return;
  const std::int64_t periods = (now - *next_tick_).nanoseconds / config_.tick.nanoseconds;
  counters_.ticks_skipped += static_cast<std::uint64_t>(periods);
  next_tick_ = *next_tick_ + config_.tick * (periods + 1);
  run_tick(now);
}

void Endpoint::run_tick(Instant now) {
  const Resender::Findings& findings = resender_.handle_tick();
  const auto top = static_cast<std::uint8_t>(config_.num_priorities - 1);
  for (const RpcIndex index : findings.need_acks) send_control(rpcs_.at(index), NeedAck{});
  for (const Resender::Ask& ask : findings.resends) {
    send_control(rpcs_.at(ask.rpc), homa::Resend{ask.range.begin, ask.range.length(), top});
    if (rpcs_.at(ask.rpc).in.exists()) grants_.set_stalled(ask.rpc, true);
  }
  for (const RpcHandle handle : findings.over)
    if (rpcs_.find(handle) != nullptr) give_up(now, handle.index, CallError::timed_out);
  for (const PeerIndex peer : findings.dead) {
    ++counters_.peers_dead;
    end_peer(now, peer, CallError::timed_out);
  }
  run_grants();
}

void Endpoint::handle_unreachable(Instant now, const PeerAddress& address, CallError error) {
  const PeerIndex peer = peers_.find(address);
  if (peer == kNoPeer) return;
  end_peer(now, peer, error);
  run_grants();
}

void Endpoint::end_peer(Instant now, PeerIndex peer, CallError error) {
  peers_.at(peer).outstanding_resends = 0;
  for (std::uint32_t i = 0; i < rpcs_.index_end(); ++i) {
    const Rpc& rpc = rpcs_.at(RpcIndex{i});
    if (rpc.state != RpcState::dead && rpc.peer == peer) give_up(now, RpcIndex{i}, error);
  }
}

// A call that is not complete fails; a request is forgotten.
void Endpoint::give_up(Instant now, RpcIndex index, CallError error) {
  const Rpc& rpc = rpcs_.at(index);
  if (!rpc.is_client()) return end_rpc(now, index, Retire::other);
  if (rpc.state != RpcState::ready) fail_call(index, error);
}

void Endpoint::fail_call(RpcIndex index, CallError error) {
  Rpc& rpc = rpcs_.at(index);
  rpc.error = error;
  rpc.sending.again = {};
  sender_.withdraw(index);
  if (rpc.in.exists()) grants_.handle_end(index);
  ++counters_.calls_failed;
  push_ready(index);
}

void Endpoint::push_ready(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  rpc.state = RpcState::ready;
  rpcs_.stop_aging(index);
  sockets_.push_ready(rpc.socket, rpcs_.handle(index));
}

void Endpoint::release_admission(Rpc& rpc) {
  if (!rpc.is_admitted) return;
  rpc.is_admitted = false;
  Peer& peer = peers_.at(rpc.peer);
  --peer.inbound_rpcs;
  peer.inbound_bytes -= rpc.admitted_bytes;
  inbound_bytes_ -= rpc.admitted_bytes;
}

void Endpoint::end_rpc(Instant now, RpcIndex index, Retire retire) {
  Rpc& rpc = rpcs_.at(index);
  sender_.withdraw(index);
  if (rpc.in.exists()) grants_.handle_end(index);
  release_admission(rpc);
  Peer& peer = peers_.at(rpc.peer);
  if (rpc.is_client())
    --client_rpcs_;
  else
    retired_.insert(now, peer.address, rpc.remote_port, rpc.id, retire == Retire::acked);
  const bool garbage = rpc.in.exists() && rpc.in.received() > 0;
  if (rpc.out.exists() || garbage)
    releases_.push({rpcs_.handle(index), rpc.out.exists() ? std::optional(rpc.out.buffer) : std::nullopt, garbage});
  --peer.rpcs;
  peers_.note_use(rpc.peer);
  const bool was_waiting = rpc.state == RpcState::ready;
  const std::uint32_t socket = rpc.socket;
  rpcs_.erase(index);
  if (was_waiting) sockets_.note_stale(socket, [this](RpcHandle handle) { return rpcs_.find(handle) != nullptr; });
}

}  // namespace godwit::homa
