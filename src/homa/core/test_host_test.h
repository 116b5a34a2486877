// For tests: an endpoint with the owner that endpoint.h asks for, keeping bytes in maps. It hands datagrams out and takes them
// in; what lies between two hosts is the test's.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "homa/core/endpoint.h"

namespace godwit::homa {

inline constexpr Port kEchoPort{99};

struct Datagram {
  PeerAddress to;
  std::uint8_t priority = 0;
  Bytes bytes;

  Packet packet() const {
    std::expected<Packet, Malformed> packet = decode_packet(bytes, bytes.size(), UINT32_MAX);
    EXPECT_TRUE(packet.has_value());
    return packet.value_or(Packet{});
  }
};

struct Taken {
  Event event;
  Bytes bytes;
};

// Bytes that tell where they belong: position and owner.
inline Bytes pattern(std::uint64_t owner, std::uint32_t length) {
  Bytes bytes(length);
  for (std::uint32_t i = 0; i < length; i += 8) {
    const std::uint64_t word = mix_hash(owner, i);
    std::memcpy(bytes.data() + i, &word, std::min(8u, length - i));
  }
  return bytes;
}

class TestHost {
 public:
  TestHost(const PeerAddress& address, const Config& config, std::uint64_t seed, std::optional<RpcId> first_id = std::nullopt)
      : address_(address), endpoint_(config, Random(seed), first_id) {
    EXPECT_TRUE(endpoint_.open_port(kEchoPort));
    client_port_ = *endpoint_.open_port(kNoPort);
  }

  const PeerAddress& address() const { return address_; }
  Endpoint& endpoint() { return endpoint_; }
  Port client_port() const { return client_port_; }

  StartedCall call(Instant now, const PeerAddress& to, Bytes request, std::uint64_t cookie = 0, Port to_port = kEchoPort) {
    const auto length = static_cast<std::uint32_t>(request.size());
    const Result<StartedCall> started =
        endpoint_.handle_call(now, {client_port_, to, to_port, length, keep(std::move(request)), cookie});
    EXPECT_TRUE(started) << started.error().message();
    return started.value_or(StartedCall{});
  }
  bool reply(Instant now, RpcHandle rpc, Bytes response) {
    const auto length = static_cast<std::uint32_t>(response.size());
    const BufferId buffer = keep(std::move(response));
    if (endpoint_.handle_reply(now, rpc, length, buffer)) return true;
    outbound_.erase(buffer);
    return false;
  }

  void receive(Instant now, const PeerAddress& from, ConstBytes datagram, bool ends_batch = true) {
    const std::size_t seen = std::min<std::size_t>(datagram.size(), kHeaderSizeMax);
    const Placement placement = endpoint_.handle_packet(now, from, datagram.first(seen), datagram.size());
    if (placement.range.length() > 0) place(placement, datagram);
    if (ends_batch) endpoint_.handle_batch_end(now);
  }

  std::optional<Datagram> transmit(Instant now) {
    Transmit out;
    if (!endpoint_.poll_transmit(now, out)) return std::nullopt;
    Datagram datagram{out.to, out.priority, to_bytes(ConstBytes(out.header).first(out.header_size))};
    if (out.length > 0) {
      const auto buffer = outbound_.find(out.buffer);
      EXPECT_NE(buffer, outbound_.end()) << "the endpoint sends bytes that it gave back";
      if (buffer != outbound_.end()) append(datagram.bytes, ConstBytes(buffer->second).subspan(out.offset, out.length));
    }
    return datagram;
  }
  std::vector<Datagram> transmit_all(Instant now) {
    std::vector<Datagram> all;
    while (std::optional<Datagram> datagram = transmit(now)) all.push_back(std::move(*datagram));
    return all;
  }

  std::optional<Taken> take(Port port) {
    const std::optional<Event> event = endpoint_.poll_event(port);
    free_released();
    if (!event) return std::nullopt;
    Taken taken{*event, {}};
    if (event->kind == Event::Kind::failed) return taken;
    taken.bytes = std::move(inbound_[event->rpc]);
    inbound_.erase(event->rpc);
    EXPECT_EQ(taken.bytes.size(), event->length);
    return taken;
  }
  void free_released() {
    Release release;
    while (endpoint_.poll_release(release)) {
      EXPECT_TRUE(!release.sent || outbound_.erase(*release.sent) == 1);
      EXPECT_TRUE(!release.received_is_garbage || inbound_.erase(release.rpc) == 1);
    }
  }
  // What the owner still keeps.
  std::size_t buffers() const { return inbound_.size() + outbound_.size(); }

 private:
  BufferId keep(Bytes bytes) {
    const BufferId buffer{++buffers_made_};
    outbound_[buffer] = std::move(bytes);
    return buffer;
  }
  void place(const Placement& placement, ConstBytes datagram) {
    Bytes& message = inbound_[placement.rpc];
    message.resize(placement.message_length);
    ASSERT_LE(placement.range.end, message.size());
    const ConstBytes bytes = datagram.subspan(placement.datagram_offset, placement.range.length());
    std::copy(bytes.begin(), bytes.end(), message.begin() + placement.range.begin);
  }

  PeerAddress address_;
  Endpoint endpoint_;
  Port client_port_;
  std::map<BufferId, Bytes> outbound_;
  std::map<RpcHandle, Bytes> inbound_;
  std::uint64_t buffers_made_ = 0;
};

}  // namespace godwit::homa
