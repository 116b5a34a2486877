// For tests of one endpoint against packets that the test itself makes: what it answers to what, and when.
#pragma once

#include "homa/core/test_host_test.h"

namespace godwit::homa {

inline constexpr std::uint32_t kMaxData = 1412;

class Scene {
 public:
  explicit Scene(const Config& config = unpaced()) : host(ipv4_address(0x0a000001, 9160), config, 1, RpcId{2}) {}

  // Nothing waits for the link.
  static Config unpaced() {
    Config config;
    config.link_mbps = 0;
    return config;
  }

  TestHost host;
  Instant now{1'000'000'000};
  PeerAddress peer = ipv4_address(0x0a000002, 9160);

  Endpoint& endpoint() { return host.endpoint(); }
  StartedCall call(std::uint32_t length) { return host.call(now, peer, pattern(7, length)); }

  // A packet of the peer, to our server's port or to our client's. DATA gets bytes of pattern(9, …).
  void give(RpcId sender_id, const PacketBody& body) { give_from(peer, sender_id, body); }
  void give_from(const PeerAddress& from, RpcId sender_id, const PacketBody& body, bool ends_batch = true) {
    const bool from_client = is_client_id(sender_id);
    Packet packet{from_client ? Port{40'000} : kEchoPort, from_client ? kEchoPort : host.client_port(), sender_id, body};
    std::array<std::byte, kHeaderSizeMax> header;
    Bytes datagram = to_bytes(ConstBytes(header).first(encode_packet(packet, header)));
    if (const auto* data = std::get_if<Data>(&body))
      append(datagram, ConstBytes(pattern(9, data->message_length)).subspan(data->offset, data->segment_length));
    host.receive(now, from, datagram, ends_batch);
  }
  // One packet of a message, `incoming` as an honest sender with `rtt_bytes` would say.
  static Data data(std::uint32_t length, std::uint32_t offset = 0, std::uint32_t rtt_bytes = 10'000) {
    const std::uint32_t size = std::min(kMaxData, length - offset);
    const std::uint32_t unscheduled = std::min(length, (std::min(length, rtt_bytes) + kMaxData - 1) / kMaxData * kMaxData);
    return {length, std::max(unscheduled, offset + size), 1, false, offset, size, {}};
  }

  std::vector<Datagram> sent_datagrams() { return host.transmit_all(now); }
  std::vector<Packet> sent() {
    std::vector<Packet> packets;
    for (const Datagram& datagram : sent_datagrams()) packets.push_back(datagram.packet());
    return packets;
  }
  // The one packet that goes out now.
  Packet sent_one() {
    const std::vector<Packet> packets = sent();
    EXPECT_EQ(packets.size(), 1u);
    return packets.empty() ? Packet{} : packets.front();
  }
  template <class Body>
  Body sent_body() {
    const Packet packet = sent_one();
    const Body* body = std::get_if<Body>(&packet.body);
    EXPECT_NE(body, nullptr) << describe(packet);
    return body == nullptr ? Body{} : *body;
  }
  std::size_t count_sent(PacketType type) {
    std::size_t count = 0;
    for (const Packet& packet : sent()) count += packet.type() == type;
    return count;
  }

  // The next tick, which the endpoint must want.
  void tick() {
    EXPECT_NE(endpoint().next_tick(), Instant::never());
    now = std::max(now, endpoint().next_tick());
    endpoint().handle_timeout(now);
  }
  void ticks(int count) {
    for (int i = 0; i < count; ++i) tick();
  }

  // A request of the peer, whole, taken by the application.
  RpcHandle take_request(std::uint64_t id = 2, std::uint32_t length = 100) {
    for (std::uint32_t offset = 0; offset < length; offset += kMaxData) give(RpcId{id}, data(length, offset, length));
    const std::optional<Taken> taken = host.take(kEchoPort);
    EXPECT_TRUE(taken && taken->event.kind == Event::Kind::request);
    return taken ? taken->event.rpc : RpcHandle{};
  }
  // A request that is answered, every packet of the response sent.
  RpcHandle answer_request(std::uint64_t id = 2, std::uint32_t length = 100) {
    const RpcHandle rpc = take_request(id);
    EXPECT_TRUE(host.reply(now, rpc, pattern(3, length)));
    sent();
    return rpc;
  }
};

}  // namespace godwit::homa
