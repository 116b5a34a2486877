// Any sequence of packets, calls, replies and ticks at an endpoint: nothing trips an assertion, what is placed lies inside its
// message and its datagram, and when all is given up nothing is left. The input is a program: an operation byte and its operands.
#include <map>
#include <memory>

#include "base/check.h"
#include "homa/core/endpoint.h"

using namespace godwit;
using namespace godwit::homa;

namespace {

constexpr std::uint32_t kLengthMax = 100'000;

class Program {
 public:
  explicit Program(ConstBytes bytes) : bytes_(bytes) {}
  bool at_end() const { return at_ >= bytes_.size(); }
  std::uint8_t u8() { return at_end() ? std::uint8_t{0} : static_cast<std::uint8_t>(bytes_[at_++]); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(u8() << 8 | u8()); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(u16()) << 16 | u16(); }
  ConstBytes take(std::size_t count) {
    const std::size_t size = std::min(count, bytes_.size() - at_);
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }

 private:
  ConstBytes bytes_;
  std::size_t at_ = 0;
};

Config small_config() {
  Config config;
  config.max_message_length = kLengthMax;
  config.limits.inbound_rpcs_per_peer_max = 8;
  config.limits.inbound_bytes_per_peer_max = 300'000;
  config.limits.peers_max = 4;
  config.limits.retired_max = 8;
  config.limits.gaps_per_message_max = 4;
  config.limits.control_packets_max = 32;
  config.grant_increment = 2000;
  config.allow_freeze = true;
  config.trace_packets = 4;
  return config;
}

class Owner {
 public:
  explicit Owner(Program& program) : program_(program), endpoint_(small_config(), Random(1), RpcId{2}) {
    GODWIT_CHECK(endpoint_.open_port(Port{1}).has_value());
    client_port_ = *endpoint_.open_port(kNoPort);
  }

  void run() {
    while (!program_.at_end()) {
      step(program_.u8());
      drain();
    }
    endpoint_.close_port(now_, Port{1});
    endpoint_.close_port(now_, client_port_);
    drain();
    GODWIT_CHECK(endpoint_.rpc_count() == 0 && endpoint_.inbound_bytes() == 0);
    GODWIT_CHECK(placed_.empty() && sent_ == 0);
    GODWIT_CHECK(endpoint_.next_deadline() == Instant::never());
  }

 private:
  PeerAddress peer() { return ipv4_address(program_.u8() % 6, 9); }

  void step(std::uint8_t operation) {
    switch (operation % 8) {
      case 0: return pass_time(Duration{program_.u16()});
      case 1: return pass_time(Duration::milliseconds(program_.u8()));
      case 2: return call();
      case 3: return take();
      case 4: return reply();
      case 5: return raw_packet();
      default: return packet();
    }
  }
  void pass_time(Duration duration) {
    now_ = now_ + duration;
    endpoint_.handle_timeout(now_);
  }
  void call() {
    const Result<StartedCall> started =
        endpoint_.handle_call(now_, {client_port_, peer(), Port{1}, 1 + program_.u32() % kLengthMax, BufferId{7}, 0});
    if (!started) return;
    ++sent_;
    calls_.push_back(started->rpc);
  }
  void take() {
    for (const Port port : {Port{1}, client_port_}) {
      const std::optional<Event> event = endpoint_.poll_event(port);
      if (!event) continue;
      if (event->kind != Event::Kind::failed) placed_.erase(event->rpc);  // a failure gives nothing: its bytes are released
      if (event->kind == Event::Kind::request) requests_.push_back(event->rpc);
    }
  }
  void reply() {
    if (requests_.empty()) return;
    const RpcHandle rpc = requests_.back();
    requests_.pop_back();
    if (endpoint_.handle_reply(now_, rpc, 1 + program_.u32() % kLengthMax, BufferId{8}))
      ++sent_;
    else
      GODWIT_CHECK(!endpoint_.handle_discard(now_, rpc));
  }
  void raw_packet() {
    const ConstBytes datagram = program_.take(program_.u8());
    receive(peer(), datagram);
  }
  void packet() {
    const std::uint8_t type = program_.u8() % kPacketTypeCount;
    const std::uint64_t id = 2 + program_.u8() % 16;
    const PeerAddress from = peer();
    const std::uint32_t a = program_.u32() % (kLengthMax + 10), b = program_.u32() % (kLengthMax + 10);
    Packet packet{
        is_client_id(RpcId{id}) ? Port{40'000} : Port{1}, is_client_id(RpcId{id}) ? Port{1} : client_port_, RpcId{id}, {}};
    std::size_t size = 0;
    switch (static_cast<PacketType>(type + static_cast<std::uint8_t>(PacketType::data))) {
      case PacketType::data: {
        size = 1 + program_.u16() % 3000;
        const AckRecord ack{RpcId{program_.u8() % 20ULL * 2}, Port{40'000}, Port{1}};
        packet.body =
            Data{a, b, program_.u8(), program_.u8() % 2 == 1, program_.u32() % kLengthMax, static_cast<std::uint32_t>(size), ack};
        break;
      }
      case PacketType::grant: packet.body = Grant{a, program_.u8()}; break;
      case PacketType::resend: packet.body = homa::Resend{a, b, program_.u8()}; break;
      case PacketType::unknown: packet.body = Unknown{}; break;
      case PacketType::busy: packet.body = Busy{}; break;
      case PacketType::cutoffs: packet.body = CutoffsUpdate{{a, b, a, b, a, b, a, b}, program_.u8()}; break;
      case PacketType::freeze: packet.body = Freeze{}; break;
      case PacketType::need_ack: packet.body = NeedAck{}; break;
      case PacketType::ack: packet.body = Ack{1, {AckRecord{RpcId{id ^ 2}, Port{40'000}, Port{1}}}}; break;
    }
    std::array<std::byte, kHeaderSizeMax> header;
    Bytes datagram = to_bytes(ConstBytes(header).first(encode_packet(packet, header)));
    datagram.resize(datagram.size() + size);
    receive(from, datagram);
  }
  void receive(const PeerAddress& from, ConstBytes datagram) {
    const Placement placement =
        endpoint_.handle_packet(now_, from, datagram.first(std::min(datagram.size(), kHeaderSizeMax)), datagram.size());
    endpoint_.handle_batch_end(now_);
    if (placement.range.length() == 0) return;
    GODWIT_CHECK(placement.range.end <= placement.message_length && placement.message_length <= kLengthMax);
    GODWIT_CHECK(placement.datagram_offset + placement.range.length() <= datagram.size());
    placed_[placement.rpc] = true;
  }
  void drain() {
    Transmit out;
    for (int i = 0; i < 1000 && endpoint_.poll_transmit(now_, out); ++i)
      GODWIT_CHECK(
          decode_packet(ConstBytes(out.header).first(std::min<std::size_t>(out.header_size + out.length, kHeaderSizeMax)),
                        std::size_t{out.header_size} + out.length, kLengthMax)
              .has_value());
    Release release;
    while (endpoint_.poll_release(release)) {
      if (release.sent) --sent_;
      if (release.received_is_garbage) GODWIT_CHECK(placed_.erase(release.rpc) == 1);
    }
    static_cast<void>(endpoint_.poll_frozen_trace());
  }

  Program& program_;
  Endpoint endpoint_;
  Port client_port_;
  Instant now_{1'000'000'000};
  std::map<RpcHandle, bool> placed_;
  std::vector<RpcHandle> requests_, calls_;
  std::int64_t sent_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Program program(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  Owner(program).run();
  return 0;
}
