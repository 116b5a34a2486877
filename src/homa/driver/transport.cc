// The public interface over the driver: calls with completions, services, deadlines, and a thread if wanted.
#include <cstring>
#include <semaphore>

#include <fmt/format.h>

#include "base/check.h"
#include "homa/driver/datagram_text.h"
#include "homa/driver/kernel_address.h"
#include "homa/driver/metrics_text.h"
#include "homa/driver/time_slice.h"
#include "homa/driver/transport_impl.h"

namespace godwit::homa {

namespace {

Instant after(Instant now, std::chrono::nanoseconds patience) {
  const Duration d{std::max<std::int64_t>(patience.count(), 0)};
  return d >= Instant::never() - now ? Instant::never() : now + d;
}

std::unexpected<Failure> fail_with(Reason reason, std::string text) {
  return std::unexpected(Failure{reason, std::move(text)});
}

std::string_view text_of(Origin origin) {
  constexpr std::array<std::string_view, 4> kTexts = {"as said", "as the card says", "measured", "assumed"};
  return kTexts[static_cast<std::size_t>(origin)];
}

std::unexpected<Failure> fail_stopped() {
  return fail_with(Reason::shut_down, "the transport was stopped");
}

}  // namespace

// --- beginning and end ---

Outcome<std::unique_ptr<Transport>> Transport::open(const TransportOptions& options) {
  auto impl = std::make_unique<Impl>();
  Result<DriverOptions> settings = driver_options(options, impl->facts);
  if (!settings) return std::unexpected(failure_of(settings.error()));
  Result<std::unique_ptr<Driver>> driver = Driver::open(*settings);
  if (!driver) return std::unexpected(failure_of(driver.error()));
  impl->driver = std::move(*driver);
  Result<Port> port = impl->driver->open_port(kNoPort);
  if (!port) return std::unexpected(failure_of(port.error()));
  impl->client_port = *port;
  impl->is_link_said = options.link_mbps.has_value();
  impl->is_rtt_said = options.rtt_bytes.has_value();
  impl->is_threaded = options.threaded;
  std::unique_ptr<Transport> transport(new Transport(std::move(impl)));
  if (options.threaded) {
    Impl& i = *transport->impl_;
    std::latch running(1);
    i.thread = std::thread([&i, &running, self = transport.get()] {
      i.thread_id.store(std::this_thread::get_id(), std::memory_order_release);
      running.count_down();
      i.run_thread(*self);
    });
    running.wait();
  }
  return transport;
}

Transport::Transport(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Transport::~Transport() {
  stop();
  if (impl_->thread.joinable()) {
    GODWIT_CHECK(impl_->thread.get_id() != std::this_thread::get_id());  // a handler destroys its own transport
    impl_->thread.join();
  }
  impl_->is_threaded = false;
  impl_->end_all_calls();
}

void Transport::stop() {
  impl_->stopping.store(true);
  impl_->driver->wake();
}

void Transport::Impl::run_thread(Transport& self) {
  while (!stopping.load()) {
    execute_commands();
    driver->transmit();
    if (!commands.begin_sleep()) continue;
    turn(self, Instant::never());
  }
  commands.close();
  execute_commands();
  driver->transmit();
  end_all_calls();
}

void Transport::Impl::end_all_calls() {
  for (std::uint32_t i = 0; i < calls.index_end(); ++i) {
    CallSlot& slot = calls.at(i);
    if (!slot.in_use) continue;
    if (slot.is_started) driver->abort(slot.rpc);
    finish(i, fail_stopped());
  }
}

void Transport::Impl::run_there(const std::function<void()>& task) {
  if (is_own_thread()) return task();
  std::latch done(1);
  Command command;
  command.task = [&] {
    task();
    done.count_down();
  };
  switch (commands.push(std::move(command), false)) {
    case CommandQueue::Pushed::closed: return task();  // its thread touches nothing any more
    case CommandQueue::Pushed::queued_wake: driver->wake(); break;
    default: break;
  }
  done.wait();
}

// --- one turn ---

void Transport::Impl::turn(Transport& self, Instant latest) {
  if (!deadlines.empty()) latest = std::min(latest, deadlines.front().key);
  driver->wait(latest);
  if (!deadlines.empty()) expire(Driver::now());
  deliver(self);
  driver->transmit();
  ended_services.clear();
}

void Transport::Impl::execute_commands() {
  commands.take(taken);
  for (Command& command : taken) {
    switch (command.kind) {
      case Command::Kind::start_call:
        if (const std::optional<std::uint32_t> slot = calls.find(command.id))
          if (Outcome<void> started = start(*slot); !started) finish(*slot, std::unexpected(std::move(started).error()));
        break;
      case Command::Kind::cancel_call: cancel(command.id); break;
      case Command::Kind::reply:
        if (!reply(command.id, std::move(command.message))) ++replies_refused;
        break;
      case Command::Kind::discard: driver->discard(handle_of(command.id)); break;
      case Command::Kind::run: command.task(); break;
    }
  }
  taken.clear();
}

void Transport::Impl::expire(Instant now) {
  while (!deadlines.empty() && deadlines.front().key <= now) {
    const std::uint32_t slot = deadlines.front().index;
    const PeerAddress to = peer_of(calls.at(slot).to);
    driver->abort(calls.at(slot).rpc);
    finish(slot,
           fail_with(Reason::timed_out, text_of(to) + " did not answer before the deadline; the request may have been executed"));
  }
}

void Transport::Impl::deliver(Transport& self) {
  while (const std::optional<Port> port = driver->poll_readable())
    while (std::optional<Delivery> delivery = driver->poll_event(*port))
      delivery->event.kind == Event::Kind::request ? deliver_request(self, std::move(*delivery), *port)
                                                   : deliver_response(std::move(*delivery));
}

void Transport::Impl::deliver_request(Transport& self, Delivery delivery, Port port) {
  for (const std::unique_ptr<Service>& service : services) {
    if (service->port != port.value) continue;
    Request request;
    request.transport_ = &self;
    request.rpc_ = number_of(delivery.event.rpc);
    request.from_ = address_of(delivery.event.peer);
    request.message_ = message_of(std::move(delivery.bytes), delivery.event.length);
    service->handler(std::move(request));
    return;
  }
  driver->discard(delivery.event.rpc);
}

void Transport::Impl::deliver_response(Delivery delivery) {
  const std::optional<std::uint32_t> slot = calls.find(delivery.event.cookie);
  if (!slot) return;
  if (delivery.event.kind == Event::Kind::failed)
    return finish(*slot, std::unexpected(failure_of(delivery.event.error, delivery.event.peer, driver->narrow_mtu())));
  latencies.record(Driver::now() - calls.at(*slot).made);
  finish(*slot, message_of(std::move(delivery.bytes), delivery.event.length));
}

// --- calls ---

Outcome<CallId> Transport::call(const Address& to, std::uint16_t port, Message request, Completion done,
                                const CallOptions& options) {
  if (request.size() == 0) return fail_with(Reason::invalid, "an empty request: 1 byte to 1,000,000 can be sent");
  if (port == 0) return fail_with(Reason::invalid, "Homa port 0 can not be called");
  const std::optional<std::uint32_t> index = impl_->calls.take();
  if (!index) return fail_with(Reason::busy, "a million calls are under way; wait for some to end");
  CallSlot& slot = impl_->calls.at(*index);
  slot.to = to;
  slot.port = port;
  slot.request = std::move(request);
  slot.done = std::move(done);
  slot.made = Driver::now();
  if (options.deadline) {
    slot.has_deadline = true;
    slot.deadline = after(slot.made, *options.deadline);
  }
  return impl_->submit(*index);
}

Outcome<CallId> Transport::Impl::submit(std::uint32_t index) {
  const CallId id = calls.id_of(index);
  if (is_own_thread()) {
    if (Outcome<void> started = start(index); !started) {
      calls.give_back(index);
      return std::unexpected(std::move(started).error());
    }
    return id;
  }
  Command command;
  command.kind = Command::Kind::start_call;
  command.id = id;
  switch (commands.push(std::move(command), true)) {
    case CommandQueue::Pushed::closed: calls.give_back(index); return fail_stopped();
    case CommandQueue::Pushed::full:
      calls.give_back(index);
      return fail_with(Reason::busy, "the transport's thread does not keep up with the calls; wait for some to end");
    case CommandQueue::Pushed::queued_wake: driver->wake(); break;
    case CommandQueue::Pushed::queued: break;
  }
  return id;
}

Outcome<void> Transport::Impl::start(std::uint32_t index) {
  CallSlot& slot = calls.at(index);
  const auto length = static_cast<std::uint32_t>(slot.request.size_);
  MessageBuffer bytes = MessageBuffer::adopt_raw(std::exchange(slot.request.owner_, nullptr));
  Result<StartedCall> started =
      driver->call(client_port, peer_of(slot.to), Port{slot.port}, std::move(bytes), length, calls.id_of(index));
  if (!started) return std::unexpected(failure_of(started.error()));
  slot.rpc = started->rpc;
  slot.is_started = true;
  if (slot.has_deadline) deadlines.push(deadline_positions, index, slot.deadline);
  return {};
}

void Transport::Impl::finish(std::uint32_t index, Outcome<Message> outcome) {
  CallSlot& slot = calls.at(index);
  if (slot.is_started && slot.has_deadline) deadlines.erase(deadline_positions, index);
  Completion done = std::move(slot.done);
  calls.give_back(index);
  if (done) done(std::move(outcome));
}

bool Transport::cancel(CallId call) {
  if (impl_->is_own_thread()) return impl_->cancel(call);
  Command command;
  command.kind = Command::Kind::cancel_call;
  command.id = call;
  const CommandQueue::Pushed pushed = impl_->commands.push(std::move(command), false);
  if (pushed == CommandQueue::Pushed::queued_wake) impl_->driver->wake();
  return pushed != CommandQueue::Pushed::closed;
}

bool Transport::Impl::cancel(CallId call) {
  const std::optional<std::uint32_t> index = calls.find(call);
  if (!index) return false;
  const CallSlot& slot = calls.at(*index);
  if (slot.is_started) driver->abort(slot.rpc);
  if (slot.is_started && slot.has_deadline) deadlines.erase(deadline_positions, *index);
  calls.give_back(*index);
  return true;
}

Outcome<CallId> Transport::call(const Address& to, std::uint16_t port, std::span<const std::byte> request, Completion done,
                                const CallOptions& options) {
  return call(to, port, make_message(request), std::move(done), options);
}

Outcome<Message> Transport::call_and_wait(const Address& to, std::uint16_t port, std::span<const std::byte> request,
                                          const CallOptions& options) {
  Outcome<Message> result = fail_stopped();
  if (!impl_->is_threaded) {
    bool is_done = false;
    Outcome<CallId> made = call(
        to, port, request,
        [&](Outcome<Message> outcome) {
          result = std::move(outcome);
          is_done = true;
        },
        options);
    if (!made) return std::unexpected(std::move(made).error());
    while (!is_done) {
      run_once(std::chrono::seconds(1));
      // stop() from another thread; the references above must not outlive this call.
      if (!is_done && impl_->stopping.load() && cancel(*made)) return fail_stopped();
    }
    return result;
  }
  std::binary_semaphore done(0);
  Outcome<CallId> made = call(
      to, port, request,
      [&](Outcome<Message> outcome) {
        result = std::move(outcome);
        done.release();
      },
      options);
  if (!made) return std::unexpected(std::move(made).error());
  done.acquire();
  return result;
}

// --- services ---

Outcome<void> Transport::serve(std::uint16_t port, Handler handler) {
  Outcome<void> outcome;
  impl_->run_there([&] {
    if (port == 0 || port >= kFirstClientPort.value) {
      outcome = fail_with(Reason::invalid, fmt::format("Homa port {}: servers have 1 to {}", port, kFirstClientPort.value - 1));
      return;
    }
    if (Result<Port> opened = impl_->driver->open_port(Port{port}); !opened) {
      outcome = std::unexpected(failure_of(opened.error()));
      return;
    }
    impl_->services.push_back(std::make_unique<Impl::Service>(Impl::Service{port, std::move(handler)}));
  });
  return outcome;
}

void Transport::stop_serving(std::uint16_t port) {
  impl_->run_there([&] {
    for (std::unique_ptr<Impl::Service>& service : impl_->services) {
      if (service->port != port) continue;
      impl_->driver->close_port(Port{port});
      impl_->ended_services.push_back(std::move(service));
      std::erase(impl_->services, nullptr);
      return;
    }
  });
}

Outcome<void> Request::reply(Message response) {
  if (transport_ == nullptr) return fail_with(Reason::over, "the request was answered already");
  Transport::Impl& impl = *transport_->impl_;
  if (impl.is_own_thread()) {
    Outcome<void> replied = impl.reply(rpc_, std::move(response));
    if (replied) transport_ = nullptr;
    return replied;
  }
  Command command;
  command.kind = Command::Kind::reply;
  command.id = rpc_;
  command.message = std::move(response);
  transport_ = nullptr;
  switch (impl.commands.push(std::move(command), false)) {
    case CommandQueue::Pushed::closed: return fail_stopped();
    case CommandQueue::Pushed::queued_wake: impl.driver->wake(); break;
    default: break;
  }
  return {};
}

Outcome<void> Request::reply(std::span<const std::byte> response) {
  if (transport_ == nullptr) return fail_with(Reason::over, "the request was answered already");
  return reply(transport_->make_message(response));
}

Outcome<void> Transport::Impl::reply(std::uint64_t rpc, Message response) {
  const auto length = static_cast<std::uint32_t>(response.size_);
  Result<void> replied = driver->reply(handle_of(rpc), MessageBuffer::adopt_raw(std::exchange(response.owner_, nullptr)), length);
  if (!replied) return std::unexpected(failure_of(replied.error()));
  return {};
}

void Request::discard() {
  if (transport_ == nullptr) return;
  Transport::Impl& impl = *std::exchange(transport_, nullptr)->impl_;
  if (impl.is_own_thread()) {
    impl.driver->discard(handle_of(rpc_));
    return;
  }
  Command command;
  command.kind = Command::Kind::discard;
  command.id = rpc_;
  if (impl.commands.push(std::move(command), false) == CommandQueue::Pushed::queued_wake) impl.driver->wake();
}

// --- running it ---

void Transport::run_once(std::chrono::nanoseconds patience) {
  if (impl_->is_threaded) return;
  impl_->driver->transmit();
  impl_->turn(*this, after(Driver::now(), patience));
}

void Transport::run() {
  ask_for_short_slices();
  while (!impl_->is_threaded && !impl_->stopping.load()) {
    impl_->driver->transmit();
    impl_->turn(*this, Instant::never());
  }
}

// --- the rest ---

Message Transport::Impl::message_of(MessageBuffer bytes, std::uint32_t length) {
  Message message;
  message.data_ = bytes.data();
  message.size_ = length;
  message.owner_ = bytes.release_raw();
  return message;
}

Message Transport::make_message(std::size_t size) {
  if (size == 0 || size > 0xffff'ffff) return {};  // call() and reply() refuse it, by its length
  return impl_->message_of(impl_->driver->pool().take(static_cast<std::uint32_t>(size)), static_cast<std::uint32_t>(size));
}

Message Transport::make_message(std::span<const std::byte> bytes) {
  Message message = make_message(bytes.size());
  if (message.size() > 0) std::memcpy(message.data_, bytes.data(), bytes.size());
  return message;
}

void Message::release(void* owner) {
  MessageBuffer::adopt_raw(owner);
}

Address Transport::local_address() const {
  return address_of(impl_->driver->socket().local_address());
}

std::string Transport::metrics() const {
  std::string text;
  impl_->run_there([&] { text = metrics_text(*impl_->driver, impl_->latencies); });
  return text;
}

Latencies Transport::latencies() const {
  Latencies out;
  impl_->run_there([&] { out = latencies_of(impl_->latencies); });
  return out;
}

Totals Transport::totals() const {
  Totals out;
  impl_->run_there([&] {
    const Counters& core = impl_->driver->endpoint().counters();
    const UdpSocket::Counters& socket = impl_->driver->socket().counters();
    out = {.calls_completed = core.calls_completed,
           .calls_failed = core.calls_failed,
           .requests_delivered = core.requests_delivered,
           .datagrams_sent = socket.datagrams_sent,
           .datagrams_received = socket.datagrams_received,
           .retransmitted_packets = core.retransmitted_packets,
           .resends_sent = core.sent[index_of(PacketType::resend)],
           .system_calls = socket.send_calls + socket.receive_calls + impl_->driver->sleeps()};
  });
  return out;
}

std::optional<std::string> Transport::frozen_trace() {
  std::optional<std::string> text;
  impl_->run_there([&] {
    const auto records = impl_->driver->endpoint().poll_frozen_trace();
    if (!records) return;
    text.emplace();
    for (const PacketTrace::Record& r : *records) {
      *text += fmt::format("{:.9f} {} {} {}\n", static_cast<double>(r.when.nanoseconds) / 1e9, r.outgoing ? "to" : "from",
                           text_of(r.peer), describe_datagram(ConstBytes(r.header).first(r.header_size)));
    }
  });
  return text;
}

Pace Transport::pace() const {
  Pace out;
  impl_->run_there([&] {
    const Endpoint& endpoint = impl_->driver->endpoint();
    const Config& config = endpoint.config();
    const std::optional<Duration> round_trip = endpoint.way().round_trip();
    const bool has_rate = config.adapt_link && endpoint.way().rate_mbps();
    out.link_mbps = config.link_mbps;
    out.link_from = impl_->is_link_said       ? Origin::said
                    : impl_->facts.speed_mbps ? Origin::card
                    : has_rate                ? Origin::measured
                                              : Origin::assumed;
    out.rtt_bytes = config.rtt_bytes;
    const bool has_rtt = config.adapt_rtt_bytes && round_trip && config.link_mbps > 0;
    out.rtt_from = impl_->is_rtt_said ? Origin::said : has_rtt ? Origin::measured : Origin::assumed;
    if (round_trip) out.round_trip = std::chrono::nanoseconds(round_trip->nanoseconds);
  });
  return out;
}

std::size_t Transport::packet_bytes() const {
  return impl_->driver->endpoint().config().max_data;
}

std::string Transport::describe() const {
  const Config& config = impl_->driver->endpoint().config();
  const UdpSocket& socket = impl_->driver->socket();
  const LinkFacts& facts = impl_->facts;
  const Pace now = pace();
  return fmt::format(
      "UDP {}{}, {} bytes of data per packet, link {}, rtt_bytes {} ({}), GSO {}, GRO {}, socket buffers {} and {} KiB (receive, "
      "send)",
      local_address().text(), facts.interface.empty() ? std::string() : " on " + facts.interface, config.max_data,
      now.link_mbps == 0 ? std::string("not paced") : fmt::format("{} Mb/s ({})", now.link_mbps, text_of(now.link_from)),
      now.rtt_bytes, text_of(now.rtt_from), socket.has_gso() ? "on" : "off", socket.has_gro() ? "on" : "off",
      socket.receive_buffer_bytes() / 1024, socket.send_buffer_bytes() / 1024);
}

Outcome<Address> Address::resolve(std::string_view text, std::uint16_t default_port) {
  Result<PeerAddress> peer = resolve_peer(text, default_port);
  if (!peer) return fail_with(Reason::invalid, peer.error().message());
  return address_of(*peer);
}

std::string Address::text() const {
  return text_of(peer_of(*this));
}

}  // namespace godwit::homa
