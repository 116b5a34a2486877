#include "homa/core/sender.h"

#include <algorithm>

namespace godwit::homa {

Sender::Key Sender::key_of(const Rpc& rpc) const {
  return config_.srpt ? Key{rpc.out.remaining(), rpc.sending.arrival} : Key{rpc.created, 0};
}

void Sender::handle_permission(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  if (!rpc.out.has_permitted_unsent()) return withdraw(index);
  const bool throttled = shortest_positions_.of(index.value) != HeapPositions::kOutside;
  if (bypasses(rpc)) {
    if (throttled) unthrottle(index);
    if (rpc.sending.is_bypassing) return;
    rpc.sending.is_bypassing = true;
    bypassing_.push(rpcs_.handle(index));
  } else if (throttled) {
    shortest_.update(shortest_positions_, index.value, key_of(rpc));
  } else {
    rpc.sending.is_bypassing = false;  // a restart made it long again; its place in that queue is stale now
    throttle(index);
  }
}

void Sender::withdraw(RpcIndex index) {
  if (shortest_positions_.of(index.value) != HeapPositions::kOutside) unthrottle(index);
  rpcs_.at(index).sending.is_bypassing = false;
}

void Sender::throttle(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  rpc.sending.arrival = ++arrivals_;
  shortest_.push(shortest_positions_, index.value, key_of(rpc));
  if (config_.pacer_fifo_permille > 0) oldest_.push(oldest_positions_, index.value, rpc.created);
}

void Sender::unthrottle(RpcIndex index) {
  shortest_.erase(shortest_positions_, index.value);
  if (config_.pacer_fifo_permille > 0) oldest_.erase(oldest_positions_, index.value);
}

void Sender::handle_resend(RpcIndex index, std::uint32_t begin, std::uint32_t end, std::uint8_t priority) {
  Rpc& rpc = rpcs_.at(index);
  SenderState& sending = rpc.sending;
  const std::uint32_t first = begin / config_.max_data * config_.max_data;
  const std::uint64_t most =
      std::uint64_t{first} + rpc.out.rounded(std::min(config_.rtt_bytes, rpc.out.length), config_.max_data);
  const bool waiting = sending.again.begin < sending.again.end;
  sending.again = {first, static_cast<std::uint32_t>(std::min<std::uint64_t>({most, end, rpc.out.length}))};
  sending.again_priority = priority;
  if (!waiting && sending.again.begin < sending.again.end) resends_.push(rpcs_.handle(index));
}

std::optional<Sender::Choice> Sender::poll(Instant now) {
  if (!resends_.empty())
    if (std::optional<Choice> choice = next_resend()) return choice;
  if (!bypassing_.empty())
    if (std::optional<Choice> choice = next_bypassing()) return choice;
  if (shortest_.empty() || !link_.may_send(now)) return std::nullopt;
  return next_throttled();
}

std::optional<Sender::Choice> Sender::next_resend() {
  for (; !resends_.empty(); resends_.pop()) {
    const RpcHandle handle = resends_.front();
    Rpc* rpc = rpcs_.find(handle);
    if (rpc == nullptr) continue;
    ByteRange& again = rpc->sending.again;
    if (again.begin >= again.end) continue;
    const std::uint32_t offset = again.begin;
    const std::uint32_t length = std::min(config_.max_data, rpc->out.length - offset);
    again.begin = offset + length;
    if (again.begin >= again.end) {
      again = {};
      resends_.pop();
    }
    // Packets that were never sent need not go twice; a range that starts behind them only raised the grant.
    if (offset == rpc->out.sent) {
      rpc->out.sent = offset + length;
      handle_permission(handle.index);
    }
    return Choice{handle.index, offset, length, true, rpc->sending.again_priority};
  }
  return std::nullopt;
}

std::optional<Sender::Choice> Sender::next_bypassing() {
  for (; !bypassing_.empty(); bypassing_.pop()) {
    const RpcHandle handle = bypassing_.front();
    Rpc* rpc = rpcs_.find(handle);
    if (rpc == nullptr || !rpc->sending.is_bypassing) continue;
    const Choice choice = advance(handle.index);
    if (!rpc->out.has_permitted_unsent()) {
      rpc->sending.is_bypassing = false;
      bypassing_.pop();
    }
    return choice;
  }
  return std::nullopt;
}

RpcIndex Sender::serve_oldest_or_shortest() {
  until_oldest_ -= static_cast<std::int32_t>(config_.pacer_fifo_permille);
  if (config_.pacer_fifo_permille == 0 || until_oldest_ > 0) return RpcIndex{shortest_.front().index};
  until_oldest_ += 1000;
  return RpcIndex{oldest_.front().index};
}

std::optional<Sender::Choice> Sender::next_throttled() {
  const RpcIndex index = serve_oldest_or_shortest();
  const Choice choice = advance(index);
  handle_permission(index);  // its new place, or its end
  return choice;
}

Sender::Choice Sender::advance(RpcIndex index) {
  OutboundMessage& out = rpcs_.at(index).out;
  const Choice choice{index, out.sent, std::min(config_.max_data, out.remaining()), false, 0};
  out.sent += choice.length;
  return choice;
}

}  // namespace godwit::homa
