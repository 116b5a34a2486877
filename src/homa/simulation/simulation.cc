#include "homa/simulation/simulation.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "homa/simulation/oracle.h"

namespace godwit::homa::simulation {

namespace {

constexpr Port kServerPort{1};
constexpr std::uint32_t kFirstAddress = 0x0a000000;
constexpr std::int64_t kSampleInterval = 3070;
constexpr std::uint32_t kWindowAckSize = 33;

std::uint32_t host_of(const PeerAddress& address) {
  std::uint32_t ip = 0;
  for (std::size_t i = 12; i < 16; ++i) ip = ip << 8 | static_cast<std::uint32_t>(address.ip[i]);
  return ip - kFirstAddress;
}

std::uint32_t message_of(RpcId id) {
  return static_cast<std::uint32_t>((id.value & ~1ULL) / 2 - 1);
}

}  // namespace

Simulation::Simulation(const Setup& setup)
    : setup_(setup), fabric_(setup.topology, events_, setup.options.seed * 2 + 1), hosts_(setup.topology.hosts()) {
  Random random(setup.options.seed);
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    Host& host = hosts_[i];
    host.address = ipv4_address(kFirstAddress + i, 9160);
    host.generator = random.fork();
    if (setup.options.transport == Transport::window) {
      host.windowed = std::make_unique<WindowHost>(setup_.config);
      continue;
    }
    host.endpoint = std::make_unique<Endpoint>(setup_.config, random.fork(), RpcId{2});
    GODWIT_CHECK(host.endpoint->open_port(kServerPort).has_value());
    GODWIT_CHECK(host.endpoint->open_port(kNoPort).has_value());
  }
}

Results Simulation::run() {
  const std::int64_t warmup = setup_.warmup.nanoseconds, end_at = setup_.end.nanoseconds;
  for (std::uint32_t i = 0; i < hosts_.size(); ++i)
    events_.schedule(draw_gap_ns(hosts_[i].generator, 1e9 / setup_.messages_per_second), kArrival, i);
  events_.schedule(warmup, kWindowBegins, 0);
  events_.schedule(end_at, kWindowEnds, 0);
  const std::int64_t stop_at = end_at + setup_.drain.nanoseconds;
  while (!events_.empty()) {
    const EventWheel::Event event = events_.pop();
    if (event.when_ns > stop_at || (!generating_ && unfinished_ == 0)) break;
    now_ns_ = event.when_ns;
    handle(event);
  }
  return finish();
}

std::int64_t Simulation::run_alone_ns(std::uint32_t source, std::uint32_t destination, std::uint32_t length) {
  generating_ = false;
  const std::int64_t began = now_ns_;
  start(source, destination, length, 0);
  drain(source);
  while (unfinished_ > 0 && !events_.empty()) {
    const EventWheel::Event event = events_.pop();
    now_ns_ = event.when_ns;
    handle(event);
  }
  return now_ns_ - began;
}

void Simulation::handle(const EventWheel::Event& event) {
  switch (static_cast<EventKind>(event.kind)) {
    case kArrival: return handle_arrival(event.subject);
    case kJoinQueue: return fabric_.handle_join(now_ns_, event.subject);
    case kPortFree: return fabric_.handle_port_free(now_ns_, event.subject);
    case kDeliver: return deliver(event.subject);
    case kMaySend:
      if (hosts_[event.subject].send_wake_ns != now_ns_) return;  // it was moved
      hosts_[event.subject].send_wake_ns = kNoWake;
      return drain(event.subject);
    case kTick: return handle_tick(event.subject);
    case kSample: return sample();
    case kWindowBegins: return begin_window();
    case kWindowEnds: return end_window();
  }
}

void Simulation::handle_arrival(std::uint32_t source) {
  if (!generating_) return;
  Host& host = hosts_[source];
  events_.schedule(now_ns_ + draw_gap_ns(host.generator, 1e9 / setup_.messages_per_second), kArrival, source);
  const Workload::Drawn drawn = setup_.workload.draw(host.generator);
  const auto u = static_cast<float>(drawn.u);
  if (in_window_) results_.bytes_generated += drawn.length * (setup_.answers ? 2ULL : 1ULL);
  if (setup_.outstanding_max != 0 && host.outstanding >= setup_.outstanding_max) {
    ++results_.waited_for_room;
    host.waiting.push_back({drawn.length, u});
    return;
  }
  start(source, draw_destination(source, host.generator), drawn.length, u);
  drain(source);
}

std::uint32_t Simulation::draw_destination(std::uint32_t source, Random& random) const {
  const auto other = static_cast<std::uint32_t>(random.below(hosts_.size() - 1));
  return other < source ? other : other + 1;
}

void Simulation::start(std::uint32_t source, std::uint32_t destination, std::uint32_t length, float u) {
  Host& host = hosts_[source];
  Message message{.started_ns = now_ns_, .rpc = {}, .length = length, .destination = destination, .u = u};
  if (host.windowed) {
    host.windowed->start(static_cast<std::uint32_t>(host.messages.size()), destination, length);
  } else {
    const Result<StartedCall> call = host.endpoint->handle_call(
        {now_ns_}, {kFirstClientPort, hosts_[destination].address, kServerPort, length, BufferId{}, 0});
    GODWIT_CHECK(call.has_value() && message_of(call->id) == host.messages.size());
    message.rpc = call->rpc;
  }
  host.messages.push_back(message);
  ++host.outstanding;
  ++unfinished_;
  ++results_.started;
}

void Simulation::deliver(PacketIndex index) {
  const FlyingPacket& packet = fabric_.at(index);
  const std::uint32_t destination = packet.destination;
  Host& host = hosts_[destination];
  if (host.windowed) {
    deliver_windowed(packet);
  } else {
    const std::size_t size = std::size_t{packet.transmit.header_size} + packet.transmit.length;
    const ConstBytes head(packet.transmit.header.data(), std::min(size, kHeaderSizeMax));
    const Placement placement = host.endpoint->handle_packet({now_ns_}, hosts_[packet.source].address, head, size);
    static_cast<void>(placement);  // lengths are all that is simulated
    host.endpoint->handle_batch_end({now_ns_});
  }
  fabric_.give_back(index);
  drain(destination);
}

void Simulation::deliver_windowed(const FlyingPacket& packet) {
  const auto number = static_cast<std::uint32_t>(packet.transmit.buffer.value);
  WindowHost& here = *hosts_[packet.destination].windowed;
  if (packet.transmit.header_size == kWindowAckSize) return here.handle_ack(number, packet.transmit.offset);
  here.handle_data(packet.source, number, packet.transmit.length);
  Message& message = hosts_[packet.source].messages[number];
  message.received += packet.transmit.length;
  windowed_bytes_ += packet.transmit.length;
  if (message.received == message.length) end(packet.source, message);
}

void Simulation::handle_tick(std::uint32_t index) {
  Host& host = hosts_[index];
  host.tick_wake_ns = kNoWake;
  host.endpoint->handle_timeout({now_ns_});
  drain(index);
}

void Simulation::drain(std::uint32_t index) {
  Host& host = hosts_[index];
  if (host.windowed) return drain_windowed(index);
  take_events(index);
  while (true) {
    const PacketIndex packet = fabric_.take();
    Transmit& transmit = fabric_.at(packet).transmit;
    if (!host.endpoint->poll_transmit({now_ns_}, transmit)) {
      fabric_.give_back(packet);
      break;
    }
    fabric_.at(packet).destination = static_cast<std::uint16_t>(host_of(transmit.to));
    send(index, packet);
  }
  wake_later(index);
}

void Simulation::drain_windowed(std::uint32_t index) {
  Host& host = hosts_[index];
  while (const std::optional<WindowHost::Out> out = host.windowed->poll(now_ns_)) {
    const PacketIndex packet = fabric_.take();
    Transmit& transmit = fabric_.at(packet).transmit;
    transmit.priority = 0;
    transmit.header.fill(std::byte{0});
    transmit.header_size = out->is_ack ? kWindowAckSize : kDataHeaderSize;
    transmit.length = out->is_ack ? 0 : out->length;
    transmit.offset = out->length;
    transmit.buffer = BufferId{out->message};
    fabric_.at(packet).destination = static_cast<std::uint16_t>(out->destination);
    ++(out->is_ack ? results_.acks : results_.data_packets);
    send(index, packet);
  }
  wake_later(index);
}

void Simulation::send(std::uint32_t host, PacketIndex index) {
  FlyingPacket& packet = fabric_.at(index);
  packet.source = static_cast<std::uint16_t>(host);
  std::uint64_t words[2];
  std::memcpy(words, packet.transmit.header.data() + 12, sizeof words);
  results_.trace_hash = mix_hash(results_.trace_hash ^ static_cast<std::uint64_t>(now_ns_),
                                 words[0] ^ words[1] ^ std::uint64_t{host} << 48 ^ packet.transmit.offset);
  fabric_.send(now_ns_, index);
}

void Simulation::wake_later(std::uint32_t index) {
  Host& host = hosts_[index];
  const std::int64_t send_at = host.windowed ? host.windowed->next_send_ns() : host.endpoint->next_transmit().nanoseconds;
  if (send_at != INT64_MAX && send_at < host.send_wake_ns) {
    host.send_wake_ns = std::max(send_at, now_ns_);
    events_.schedule(host.send_wake_ns, kMaySend, index);
  }
  if (host.windowed || host.tick_wake_ns != kNoWake) return;  // a tick that comes too early looks again
  const std::int64_t tick_at = host.endpoint->next_tick().nanoseconds;
  if (tick_at == INT64_MAX) return;
  host.tick_wake_ns = std::max(tick_at, now_ns_);
  events_.schedule(host.tick_wake_ns, kTick, index);
}

void Simulation::take_events(std::uint32_t index) {
  Endpoint& endpoint = *hosts_[index].endpoint;
  while (const std::optional<Port> port = endpoint.poll_readable())
    while (const std::optional<Event> event = endpoint.poll_event(*port))
      event->kind == Event::Kind::request ? take_request(index, *event) : take_response(index, *event);
  Release release;
  while (endpoint.poll_release(release)) {
  }
}

void Simulation::take_request(std::uint32_t index, const Event& event) {
  Endpoint& endpoint = *hosts_[index].endpoint;
  if (setup_.answers) {
    const Result<void> replied = endpoint.handle_reply({now_ns_}, event.rpc, event.length, BufferId{});
    GODWIT_CHECK(replied.has_value());
    return;
  }
  const std::uint32_t source = host_of(event.peer);
  Message& message = hosts_[source].messages[message_of(event.id)];
  endpoint.handle_discard({now_ns_}, event.rpc);
  if (message.is_over) return;  // it came twice
  hosts_[source].endpoint->handle_abort({now_ns_}, message.rpc);
  end(source, message);
  drain(source);
}

void Simulation::take_response(std::uint32_t index, const Event& event) {
  Message& message = hosts_[index].messages[message_of(event.id)];
  if (event.kind == Event::Kind::failed) ++results_.failed;
  end(index, message);
  Host& host = hosts_[index];
  if (host.waiting_first == host.waiting.size()) return;
  const auto [length, u] = host.waiting[host.waiting_first++];
  if (generating_) start(index, draw_destination(index, host.generator), length, u);
}

void Simulation::end(std::uint32_t source, Message& message) {
  message.is_over = true;
  --unfinished_;
  --hosts_[source].outstanding;
  if (message.started_ns < setup_.warmup.nanoseconds || message.started_ns >= setup_.end.nanoseconds) return;
  const double slowdown = static_cast<double>(now_ns_ - message.started_ns) / unloaded_ns(source, message);
  results_.tenths[std::min<std::size_t>(9, static_cast<std::size_t>(message.u * 10))].add(slowdown);
  if (message.u < 0.5F) results_.shortest_half.add(slowdown);
  ++results_.measured;
}

double Simulation::unloaded_ns(std::uint32_t source, const Message& message) {
  if (setup_.answers) return static_cast<double>(measured_alone_ns(message.length));
  const std::uint32_t per_rack = setup_.topology.hosts_per_rack;
  return static_cast<double>(ideal_ns(setup_, message.length, source / per_rack == message.destination / per_rack));
}

std::int64_t Simulation::measured_alone_ns(std::uint32_t length) {
  if (setup_.messages_per_second == 0) return 1;  // we are that measurement
  std::int64_t& known = alone_[length];
  if (known == 0) {
    Setup alone = setup_;
    alone.messages_per_second = 0;
    alone.topology.hosts_per_rack = 2;
    known = Simulation(alone).run_alone_ns(0, 1, length);
  }
  return known;
}

void Simulation::sample() {
  if (!in_window_) return;
  for (std::uint32_t i = 0; i < hosts_.size(); ++i) {
    ++samples_;
    if (!hosts_[i].endpoint) continue;
    const Endpoint& endpoint = *hosts_[i].endpoint;
    if (fabric_.is_downlink_idle(now_ns_, i) && endpoint.grantable_peers() > setup_.config.max_overcommit) ++samples_wasted_;
    samples_unused_bytes_ += endpoint.bytes_granted_unused();
    results_.granted_unused_most_bytes = std::max(results_.granted_unused_most_bytes, endpoint.bytes_granted_unused());
  }
  events_.schedule(now_ns_ + kSampleInterval, kSample, 0);
}

std::uint64_t Simulation::received_bytes() const {
  std::uint64_t bytes = windowed_bytes_;
  for (const Host& host : hosts_)
    if (host.endpoint) bytes += host.endpoint->counters().data_bytes_received;
  return bytes;
}

void Simulation::begin_window() {
  in_window_ = true;
  received_before_window_ = received_bytes();
  fabric_.begin_window(now_ns_);
  events_.schedule(now_ns_ + kSampleInterval, kSample, 0);
}

void Simulation::end_window() {
  in_window_ = generating_ = false;
  results_.bytes_received = received_bytes() - received_before_window_;
  results_.queues = fabric_.queue_lengths(now_ns_);
  const double seconds = (setup_.end - setup_.warmup).as_seconds();
  const double link_bytes = setup_.topology.host_mbps * 1e6 / 8 * seconds * setup_.share * static_cast<double>(hosts_.size());
  results_.throughput = static_cast<double>(results_.bytes_received) / link_bytes;
  results_.offered = static_cast<double>(results_.bytes_generated) / link_bytes;
}

Results Simulation::finish() {
  results_.unfinished = unfinished_;
  results_.packets = fabric_.packets_sent();
  results_.simulated_ms = static_cast<double>(now_ns_) / 1e6;
  if (samples_ > 0) {
    results_.wasted = static_cast<double>(samples_wasted_) / static_cast<double>(samples_);
    results_.granted_unused_mean_bytes = static_cast<double>(samples_unused_bytes_) / static_cast<double>(samples_);
  }
  for (const Host& host : hosts_) {
    if (!host.endpoint) continue;
    const Counters& counters = host.endpoint->counters();
    results_.data_packets += counters.sent[index_of(PacketType::data)];
    results_.grants += counters.sent[index_of(PacketType::grant)];
    results_.resends += counters.sent[index_of(PacketType::resend)];
    results_.busies += counters.sent[index_of(PacketType::busy)];
    results_.retransmissions += counters.retransmitted_packets;
  }
  return std::move(results_);
}

Results simulate(const Setup& setup) {
  if (setup.options.transport == Transport::oracle) return run_oracle(setup);
  return Simulation(setup).run();
}

}  // namespace godwit::homa::simulation
