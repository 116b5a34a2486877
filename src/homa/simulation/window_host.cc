#include "homa/simulation/window_host.h"

#include <algorithm>

namespace godwit::homa::simulation {

namespace {
constexpr std::uint32_t kAckSize = 33;  // 99 bytes on the wire, as a GRANT
}

void WindowHost::start(std::uint32_t message, std::uint32_t destination, std::uint32_t length) {
  if (message >= sending_.size()) sending_.resize(message + 1);
  sending_[message] = {destination, length};
  give_turn(message);
}

void WindowHost::give_turn(std::uint32_t message) {
  Sending& s = sending_[message];
  if (s.has_turn || !may_send(s)) return;
  s.has_turn = true;
  turn_.push(message);
}

std::optional<WindowHost::Out> WindowHost::poll(std::int64_t now_ns) {
  if (!acks_.empty()) {
    link_.charge({now_ns}, kAckSize, true);
    return acks_.pop();
  }
  if (turn_.empty() || !link_.may_send({now_ns})) return std::nullopt;
  const std::uint32_t message = turn_.pop();
  Sending& s = sending_[message];
  const Out out{s.destination, message, std::min(config_.max_data, s.length - s.sent), false};
  s.sent += out.length;
  s.has_turn = false;
  give_turn(message);
  link_.charge({now_ns}, static_cast<std::uint32_t>(kDataHeaderSize) + out.length, true);
  return out;
}

void WindowHost::handle_data(std::uint32_t source, std::uint32_t message, std::uint32_t length) {
  acks_.push({source, message, length, true});
}

void WindowHost::handle_ack(std::uint32_t message, std::uint32_t length) {
  sending_[message].acked += length;
  give_turn(message);
}

}  // namespace godwit::homa::simulation
