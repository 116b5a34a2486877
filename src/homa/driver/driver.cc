#include "homa/driver/driver.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <fmt/format.h>

namespace godwit::homa {

namespace {

// Datagrams below go to the core before longer ones of the same batch: grants and short messages stay ahead.
constexpr std::size_t kShortDatagram = 1400;
// So many turns in a row the timers wait while datagrams do: more than a socket's buffer holds, and then they come faster than
// they are handled.
constexpr int kTimerlessTurnsMax = 256;
constexpr Duration kSendAgain = Duration::microseconds(100);
// No wait in the receiving call is longer: a tick of the slowest kernel's timer.
constexpr Duration kReceiveWaitMax = Duration::milliseconds(10);

// How often others got its processor although it had not finished.
std::uint64_t preemptions_of_this_thread() {
  rusage usage{};
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_nivcsw) : 0;
}

timespec timespec_of(Duration d) {
  return {static_cast<time_t>(d.nanoseconds / 1'000'000'000), static_cast<long>(d.nanoseconds % 1'000'000'000)};
}

}  // namespace

Instant Driver::now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

Result<std::unique_ptr<Driver>> Driver::open(const DriverOptions& options) {
  if (Result<void> checked = check(options.config); !checked) return fail(std::move(checked).error());
  Result<std::unique_ptr<UdpSocket>> socket = UdpSocket::open(options.udp);
  if (!socket) return fail(std::move(socket).error());
  const int wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_descriptor < 0) return fail(Error::from_errno(errno, "make an event descriptor"));
  return std::unique_ptr<Driver>(new Driver(options, std::move(*socket), wake_descriptor));
}

Driver::Driver(const DriverOptions& options, std::unique_ptr<UdpSocket> socket, int wake_descriptor)
    : options_(options),
      pool_(options.kept_bytes_max),
      socket_(std::move(socket)),
      wake_descriptor_(wake_descriptor),
      endpoint_(options.config, Random(options.seed), std::nullopt) {}

Driver::~Driver() {
  // What the core still holds are names of buffers.
  while (!ports_.empty()) close_port(ports_.back());
  outgoing_begin_ = outgoing_end_ = 0;
  free_released();
  close(wake_descriptor_);
}

// --- what the application asks for ---

Result<StartedCall> Driver::call(Port from, const PeerAddress& to, Port to_port, MessageBuffer bytes, std::uint32_t length,
                                 std::uint64_t cookie) {
  if (outbound_bytes_ > 0 && outbound_bytes_ + length > options_.outbound_bytes_max)
    return fail(ErrorKind::busy,
                fmt::format("{} bytes of messages wait to be sent; wait for some calls to end", outbound_bytes_));
  const BufferId buffer = bytes.release();
  Result<StartedCall> started = endpoint_.handle_call(now(), {from, to, to_port, length, buffer, cookie});
  if (!started) {
    MessageBuffer::adopt(buffer);
    return started;
  }
  outbound_bytes_ += MessageBuffer::capacity_of(buffer);
  return started;
}

Result<void> Driver::reply(RpcHandle rpc, MessageBuffer bytes, std::uint32_t length) {
  const BufferId buffer = bytes.release();
  Result<void> replied = endpoint_.handle_reply(now(), rpc, length, buffer);
  if (!replied) {
    MessageBuffer::adopt(buffer);
    return replied;
  }
  outbound_bytes_ += MessageBuffer::capacity_of(buffer);
  return replied;
}

bool Driver::abort(RpcHandle rpc) {
  return endpoint_.handle_abort(now(), rpc);
}

bool Driver::discard(RpcHandle rpc) {
  return endpoint_.handle_discard(now(), rpc);
}

Result<Port> Driver::open_port(Port port) {
  Result<Port> opened = endpoint_.open_port(port);
  if (opened) ports_.push_back(*opened);
  return opened;
}

void Driver::close_port(Port port) {
  endpoint_.close_port(now(), port);
  std::erase(ports_, port);
}

std::optional<Delivery> Driver::poll_event(Port port) {
  const std::optional<Event> event = endpoint_.poll_event(port);
  if (!event) return std::nullopt;
  Delivery delivery{*event, {}};
  if (event->kind != Event::Kind::failed && event->rpc.index.value < inbound_.size())
    delivery.bytes = std::move(inbound_[event->rpc.index.value].bytes);
  return delivery;
}

// --- sending ---

// One batch a turn, as one is taken in: whoever waits for an answer does not wait for thousands of other datagrams.
void Driver::transmit() {
  send_again_.reset();
  const bool is_rest = outgoing_begin_ < outgoing_end_;
  if (!is_rest) choose_batch();
  if (outgoing_begin_ < outgoing_end_) {
    outgoing_begin_ += socket_->send({outgoing_.data() + outgoing_begin_, outgoing_end_ - outgoing_begin_});
    if (socket_->blocked() == UdpSocket::Blocked::for_a_while)
      send_again_ = now() + kSendAgain;
    else if (outgoing_begin_ == outgoing_end_ && (is_rest || outgoing_end_ == outgoing_.size()))
      send_again_ = now();
  }
  report_unreachable();
  // Buffers that datagrams of the queue point into must stay.
  if (outgoing_begin_ == outgoing_end_) free_released();
}

void Driver::choose_batch() {
  outgoing_begin_ = outgoing_end_ = 0;
  const Instant at = now();
  while (outgoing_end_ < outgoing_.size() && endpoint_.poll_transmit(at, outgoing_[outgoing_end_].packet)) {
    OutDatagram& datagram = outgoing_[outgoing_end_++];
    datagram.data =
        datagram.packet.length == 0 ? nullptr : MessageBuffer::data_of(datagram.packet.buffer) + datagram.packet.offset;
  }
}

void Driver::free_released() {
  Release release;
  while (endpoint_.poll_release(release)) {
    if (release.sent) {
      outbound_bytes_ -= MessageBuffer::capacity_of(*release.sent);
      MessageBuffer::adopt(*release.sent);
    }
    if (!release.received_is_garbage || release.rpc.index.value >= inbound_.size()) continue;
    Inbound& inbound = inbound_[release.rpc.index.value];
    if (inbound.generation == release.rpc.generation) inbound.bytes = {};
  }
}

void Driver::report_unreachable() {
  Unreachable news;
  while (socket_->poll_unreachable(news)) {
    // 1 says that there is a bound, not which.
    if (news.mtu == 1)
      narrow_mtu_ = std::max(narrow_mtu_, 1U);
    else if (news.mtu > 1)
      narrow_mtu_ = narrow_mtu_ <= 1 ? news.mtu : std::min(narrow_mtu_, news.mtu);
    endpoint_.handle_unreachable(now(), news.peer, news.error);
  }
}

// --- receiving ---

void Driver::place(const Placement& placement, const std::byte* datagram) {
  const std::uint32_t index = placement.rpc.index.value;
  if (index >= inbound_.size()) inbound_.resize(index + index / 2 + 64);
  Inbound& inbound = inbound_[index];
  if (!inbound.bytes || inbound.generation != placement.rpc.generation) {
    inbound.generation = placement.rpc.generation;
    inbound.bytes = pool_.take(placement.message_length);
  }
  std::memcpy(inbound.bytes.data() + placement.range.begin, datagram + placement.datagram_offset, placement.range.length());
}

void Driver::take_in(Instant at, const Arrived& arrived) {
  std::size_t offset = 0;
  do {
    const std::size_t size = std::min(arrived.segment, arrived.bytes.size() - offset);
    const ConstBytes datagram = arrived.bytes.subspan(offset, size);
    const Placement placement = endpoint_.handle_packet(at, arrived.from, datagram.first(std::min(size, kHeaderSizeMax)), size);
    if (placement.range.length() > 0) place(placement, datagram.data());
    offset += size;
  } while (offset < arrived.bytes.size());
}

// False: as many came as one call can bring, so that more may wait.
bool Driver::receive_waiting(Instant& at, bool may_wait) {
  const std::span<const Arrived> batch = socket_->receive(may_wait);
  if (may_wait) at = now();
  last_received_ = batch.size();
  if (batch.empty()) return true;
  for (const Arrived& arrived : batch)
    if (arrived.bytes.size() < kShortDatagram) take_in(at, arrived);
  for (const Arrived& arrived : batch)
    if (arrived.bytes.size() >= kShortDatagram) take_in(at, arrived);
  endpoint_.handle_batch_end(at);
  return batch.size() < UdpSocket::kBatch;
}

Instant Driver::next_due() const {
  Instant due = endpoint_.next_deadline();
  if (send_again_) due = std::min(due, *send_again_);
  return due;
}

// Its timer is coarse: silence is waited for by sleep(), after one such wait that brought nothing.
bool Driver::may_wait_in_receive(Instant at, Instant latest) const {
  if (!options_.wait_in_receive || last_received_ == 0) return false;
  if (is_woken_.load(std::memory_order_relaxed) || outgoing_begin_ < outgoing_end_ || send_again_) return false;
  return endpoint_.next_transmit() == Instant::never() && endpoint_.next_tick() > at && latest > at + kReceiveWaitMax;
}

void Driver::wait(Instant latest) {
  Instant at = now();
  const Instant until = std::min(latest, next_due());
  const bool in_receive = may_wait_in_receive(at, latest);
  const bool looks = wants_look(at);
  const bool is_drained = in_receive && !looks ? receive_waiting(at, true) : look_then_wait(at, until, looks, in_receive);
  report_unreachable();
  // Not before everything that waits has been handed in, or a process that was stopped would take its peers for dead.
  timerless_turns_ = is_drained ? 0 : timerless_turns_ + 1;
  if (timerless_turns_ % kTimerlessTurnsMax == 0 && endpoint_.next_deadline() <= at) endpoint_.handle_timeout(at);
}

bool Driver::wants_look(Instant at) {
  if (options_.spin == Duration{}) return false;
  if (!options_.spins_where_it_pays) return true;
  if (!spin_gauge_.wants_look(at)) return false;
  if (!spin_gauge_.is_loss_wanted(at)) return true;
  spin_gauge_.note_losses(at, preemptions_of_this_thread());
  return spin_gauge_.wants_look(at);
}

bool Driver::look_then_wait(Instant& at, Instant until, bool wants_look, bool in_receive) {
  bool is_drained = true;
  // Where datagrams came in numbers, more will be there: then the first look need not be a sleep.
  if (last_received_ > 1 || until <= at)
    is_drained = receive_waiting(at, false);
  else
    last_received_ = 0;
  if (last_received_ > 0 || until <= at) return is_drained;
  const Duration patience =
      std::max(wants_look ? options_.spin : Duration{}, until - at < options_.pace_spin ? options_.pace_spin : Duration{});
  const Instant spin_end = std::min(until, at + patience);
  while (last_received_ == 0 && at < spin_end && !is_woken_.load(std::memory_order_relaxed)) {
    at = now();
    is_drained = receive_waiting(at, false);
  }
  // A look that something else ended says nothing.
  if (wants_look && (last_received_ > 0 || at >= spin_end)) spin_gauge_.note_look(last_received_ > 0);
  if (last_received_ > 0 || at >= until) return is_drained;
  if (!in_receive) {
    sleep(at, until);
    at = now();
  }
  return receive_waiting(at, in_receive);
}

void Driver::sleep(Instant at, Instant until) {
  ++sleeps_;
  const bool is_blocked = outgoing_begin_ < outgoing_end_ && !send_again_;
  pollfd descriptors[2] = {{socket_->descriptor(), static_cast<short>(POLLIN | (is_blocked ? POLLOUT : 0)), 0},
                           {wake_descriptor_, POLLIN, 0}};
  timespec patience{};
  const bool for_ever = until == Instant::never();
  if (!for_ever) patience = timespec_of(until - at);
  if (ppoll(descriptors, 2, for_ever ? nullptr : &patience, nullptr) <= 0) return;
  if ((descriptors[1].revents & POLLIN) == 0) return;
  is_woken_.store(false, std::memory_order_relaxed);
  std::uint64_t count = 0;
  // Nothing to read means that somebody else took the wake-up, and that is as good.
  [[maybe_unused]] const ssize_t got = read(wake_descriptor_, &count, sizeof count);
}

void Driver::wake() {
  is_woken_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the wait ends anyway.
  [[maybe_unused]] const ssize_t written = write(wake_descriptor_, &one, sizeof one);
}

}  // namespace godwit::homa
