#include "export/nbd_connection.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "export/nbd_block_status.h"

namespace godwit::exports {

using namespace nbd;

namespace {

// One gathered write: below IOV_MAX spans, and few enough bytes that their buffers come back while they are still in the caches.
constexpr std::size_t kSpansMax = 512;
constexpr std::size_t kGatherBytesHigh = 256 * 1024;
// A client whose socket is always ready lets the others have their turn after this many rounds.
constexpr int kRoundsMax = 16;
constexpr std::size_t kAskedBytesHigh = 4 * 1024;
constexpr std::size_t kDescriptorsMax = 16 * 1024;
// How long replies of a drained connection may wait for a client that does not read.
constexpr Duration kGrace = Duration::seconds(1);

}  // namespace

// What a device is given as `done`: finds its way back to the operation, and ends it also where the device drops it uncalled.
class NbdConnection::Completion {
 public:
  explicit Completion(Operation& operation) : operation_(&operation) {}
  Completion(Completion&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)) {}
  Completion& operator=(Completion&&) = delete;
  ~Completion() {
    if (operation_ != nullptr) (*this)(Result<void>(fail(ErrorKind::cancelled, "the device dropped the request")));
  }
  void operator()(Result<void> result) {
    Operation* operation = std::exchange(operation_, nullptr);
    operation->connection->handle_done(*operation, std::move(result));
  }
  void operator()(Result<std::vector<store::Extent>> extents) {
    Operation* operation = std::exchange(operation_, nullptr);
    operation->connection->handle_extents(*operation, std::move(extents));
  }

 private:
  Operation* operation_;
};

NbdConnection::NbdConnection(ConnectionId id, ConnectionHost& host, net::Scheduler& scheduler, net::BufferPool& buffers,
                             const NbdLimits& limits, std::unique_ptr<net::Stream> stream, std::optional<std::string> only)
    : id_(id),
      host_(&host),
      scheduler_(scheduler),
      buffers_(buffers),
      limits_(limits),
      only_(std::move(only)),
      stream_(std::move(stream)),
      receiver_(buffers),
      negotiation_(*this, {limits.option_bytes_max, limits.options_max}) {}

NbdConnection::~NbdConnection() = default;

void NbdConnection::start() {
  limit_time(limits_.handshake_time_max);
  pump();
}

void NbdConnection::start_agreed(const std::string& name) {
  begin_transmission({.export_name = name});
  pump();
}

// --- The life of the connection ---

void NbdConnection::drain() {
  ending_ = hurried_ = true;
  if (phase_ == Phase::handshake) close_now();
  pump();
}

void NbdConnection::close_now() {
  if (closed_) return;
  closed_ = ending_ = true;
  stream_->close();
  for (Operation* operation : std::exchange(ready_, {})) release(*operation);
  pump();
}

void NbdConnection::abandon() {
  host_ = nullptr;
  closed_ = ending_ = gone_ = true;
  scheduler_.cancel(timer_);
  stream_.reset();
  reading_ = writing_ = false;
  if (executing_ > 0) self_ = shared_from_this();
}

void NbdConnection::set_relay(store::BlockDevice* device) {
  is_relay_ = true;
  relay_device_ = device;
}

void NbdConnection::pump_soon() {
  if (pump_posted_ || gone_) return;
  pump_posted_ = true;
  scheduler_.post([self = shared_from_this()] {
    self->pump_posted_ = false;
    self->pump();
  });
}

// Everything that happens ends here: whatever can go on goes on. Streams may call back from inside our calls; that only asks for
// another round.
void NbdConnection::pump() {
  if (pumping_ || gone_) {
    pump_again_ = true;
    return;
  }
  pumping_ = true;
  int rounds = 0;
  do {
    pump_again_ = false;
    pump_once();
  } while (pump_again_ && !gone_ && ++rounds < kRoundsMax);
  pumping_ = false;
  if (pump_again_) pump_soon();
}

void NbdConnection::pump_once() {
  if (phase_ == Phase::handshake)
    negotiate();
  else
    take_requests();
  send_replies();
  receive();
  settle();
}

void NbdConnection::settle() {
  if (!ending_ || executing_ > 0) return;
  if (in_flight_ == 0 && !writing_) close_now();
  if (closed_ && in_flight_ == 0 && !writing_ && !reading_) {
    if (gone_) return;
    gone_ = true;
    scheduler_.cancel(timer_);
    if (host_ != nullptr) host_->connection_gone(id_);
    return;
  }
  if (std::exchange(hurried_, false) && !closed_) limit_time(kGrace);
}

// Closes the connection after that time.
void NbdConnection::limit_time(Duration left) {
  scheduler_.cancel(timer_);
  timer_ = scheduler_.schedule(scheduler_.now() + left, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->close_now();
  });
}

// --- Reading and writing ---

void NbdConnection::receive() {
  if (reading_ || ending_ || peer_ended_ || held_) return;
  // While its option waits for an answer the client is read on a little, so that its end is noticed.
  if (phase_ == Phase::handshake && (writing_ || (asked_ && receiver_.buffered().size() >= kAskedBytesHigh))) return;
  reading_ = true;
  stream_->read_into(receiver_, [this](Result<std::size_t> count) { handle_received(std::move(count)); });
}

void NbdConnection::handle_received(Result<std::size_t> count) {
  reading_ = false;
  if (!count) {
    close_now();
  } else if (*count == 0) {
    peer_ended_ = true;  // it may still read what we owe it
    if (phase_ == Phase::handshake) ending_ = true;
  } else {
    receiver_.handle_received(*count);
  }
  pump();
}

void NbdConnection::send_replies() {
  if (writing_ || closed_ || ready_.empty()) return;
  spans_.clear();
  std::size_t taken = 0;
  for (std::size_t bytes = 0; taken < ready_.size() && spans_.size() + 2 <= kSpansMax && bytes < kGatherBytesHigh; ++taken) {
    const Operation& operation = *ready_[taken];
    spans_.push_back(operation.head());
    if (!operation.tail.empty()) spans_.push_back(operation.tail);
    bytes += operation.head_bytes + operation.tail.size();
  }
  sending_.assign(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(taken));
  ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(taken));
  send(spans_);
}

void NbdConnection::send(std::span<const ConstBytes> spans) {
  writing_ = true;
  stream_->write(spans, [this](Result<void> sent) { handle_sent(std::move(sent)); });
}

void NbdConnection::handle_sent(Result<void> sent) {
  writing_ = false;
  handshake_output_.clear();
  for (Operation* operation : sending_) release(*operation);
  sending_.clear();
  if (!sent) close_now();
  pump();
}

// --- Handshake ---

std::optional<OfferedExport> NbdConnection::find(const std::string& name) {
  if (only_ && name != *only_) return std::nullopt;
  std::shared_ptr<const Export> found = host_ == nullptr ? nullptr : host_->find_export(name);
  if (!found) return std::nullopt;
  const store::BlockDevice& device = relay_device_ != nullptr ? *relay_device_ : *found->device;
  const ExportOptions& options = found->options;
  std::uint16_t flags = kHasFlags | kSendFlush | kSendFua | kSendCache;
  if (options.read_only || device.read_only())
    flags |= kReadOnly;
  else
    flags |= kSendTrim | kSendWriteZeroes | kSendFastZero;
  if (options.multi_conn) flags |= kCanMultiConn;
  return OfferedExport{{device.size(), flags},
                       {options.block_size_min, options.block_size_preferred, options.block_size_max},
                       options.description ? options.description() : std::string()};
}

std::vector<std::pair<std::string, std::string>> NbdConnection::list() {
  if (host_ == nullptr) return {};
  std::vector<std::pair<std::string, std::string>> listed = host_->list_exports();
  if (only_) std::erase_if(listed, [&](const auto& named) { return named.first != *only_; });
  return listed;
}

bool NbdConnection::handles(std::uint32_t option) {
  return host_ != nullptr && host_->handles_option(option);
}

void NbdConnection::negotiate() {
  if (ending_ || writing_) return;
  if (negotiation_.state() == Negotiation::State::running) receiver_.consume(negotiation_.handle_bytes(receiver_.buffered()));
  handshake_output_ = negotiation_.poll_output();
  switch (negotiation_.state()) {
    case Negotiation::State::running: break;
    case Negotiation::State::asking: ask_option(); break;
    case Negotiation::State::transmission: begin_transmission(negotiation_.agreement()); break;
    case Negotiation::State::ended: ending_ = true; break;
  }
  if (handshake_output_.empty() || closed_) return;
  ConstBytes output = handshake_output_;
  send({&output, 1});
}

void NbdConnection::ask_option() {
  if (asked_) return;
  asked_ = true;
  scheduler_.cancel(timer_);  // the client does not decide how long this takes
  host_->ask_option(id_, negotiation_.asked_option(), negotiation_.asked_payload(), [weak = weak_from_this()](OptionReply reply) {
    if (auto self = weak.lock()) self->handle_option_answer(std::move(reply));
  });
}

// Comes from inside ask_option() too, when the payload it was given must stay as it is: hence a turn later.
void NbdConnection::handle_option_answer(OptionReply reply) {
  scheduler_.post([self = shared_from_this(), reply = std::move(reply)] {
    if (self->ending_ || !std::exchange(self->asked_, false)) return;
    self->limit_time(self->limits_.handshake_time_max);
    self->negotiation_.handle_answer(reply.type, reply.payload);
    self->pump();
  });
}

void NbdConnection::begin_transmission(Agreement agreement) {
  agreement_ = std::move(agreement);
  std::optional<OfferedExport> offered = find(agreement_.export_name);
  export_ = host_->find_export(agreement_.export_name);
  GODWIT_CHECK(offered && export_);  // whoever agreed to it found it in this very call
  device_ = relay_device_ != nullptr ? relay_device_ : export_->device;
  rules_.size = offered->info.size;
  rules_.flags = static_cast<std::uint16_t>(offered->info.flags | (agreement_.structured_replies ? kSendDf : 0));
  rules_.sizes = offered->sizes;
  rules_.allocation_context = agreement_.allocation_context;
  phase_ = Phase::transmission;
  scheduler_.cancel(timer_);
}

// --- Requests ---

void NbdConnection::take_requests() {
  held_ = false;
  ReceivedRequest received;
  while (!ending_) {
    RequestReceiver::Next next = receiver_.peek(rules_);
    if (next == RequestReceiver::Next::wants_bytes) break;
    if (next == RequestReceiver::Next::malformed) return close_now();
    if (!admits(receiver_.cost_bytes())) {
      held_ = true;
      return;
    }
    if (!receiver_.take(received)) break;
    if (received.request.type == kDisconnect) {
      ending_ = true;
      return;
    }
    execute(begin_operation(received));
  }
  if (peer_ended_) ending_ = true;
}

// One request is always let in, else nothing would ever make room for it.
bool NbdConnection::admits(std::size_t cost_bytes) const {
  if (in_flight_ == 0) return true;
  return in_flight_ < limits_.requests_in_flight_max && bytes_in_flight_ + cost_bytes <= limits_.bytes_in_flight_max &&
         (cost_bytes == 0 || buffers_.has_room(cost_bytes));
}

Operation& NbdConnection::begin_operation(ReceivedRequest& received) {
  if (free_.empty()) {
    operations_.emplace_back().connection = this;
    free_.push_back(&operations_.back());
  }
  Operation& operation = *free_.back();
  free_.pop_back();
  operation.request = received.request;
  operation.cost_bytes = 0;
  if (!received.refusal && (received.request.type == kRead || received.request.type == kWrite))
    operation.cost_bytes = received.request.length;
  operation.buffer = std::move(received.buffer);
  operation.payload = received.payload;
  operation.refusal = received.refusal;
  operation.flushes = false;
  ++in_flight_;
  bytes_in_flight_ += operation.cost_bytes;
  if (host_ != nullptr) ++host_->counters().requests;
  return operation;
}

void NbdConnection::release(Operation& operation) {
  operation.buffer = {};
  operation.tail = {};
  --in_flight_;
  bytes_in_flight_ -= operation.cost_bytes;
  free_.push_back(&operation);
}

void NbdConnection::execute(Operation& operation) {
  const Request& request = operation.request;
  if (operation.refusal) return refuse(operation, operation.refusal->error, operation.refusal->text);
  const bool fua = (request.flags & kFlagFua) != 0;
  ++executing_;
  switch (request.type) {
    case kRead: return execute_read(operation);
    case kWrite:
      return device_->write(request.offset, operation.payload, fua ? store::Durability::durable : store::Durability::written,
                            Completion(operation));
    case kFlush: return device_->flush(Completion(operation));
    case kTrim: operation.flushes = fua; return device_->discard(request.offset, request.length, Completion(operation));
    case kCache: device_->prefetch(request.offset, request.length); return handle_executed(operation, {});
    case kWriteZeroes: return execute_zeroes(operation);
    case kBlockStatus: return device_->extents(request.offset, request.length, Completion(operation));
  }
  GODWIT_CHECK(false && "check_request lets no other command pass");
}

void NbdConnection::execute_read(Operation& operation) {
  const Request& request = operation.request;
  if (MutableBytes memory = device_->memory(); !memory.empty()) {
    operation.data = memory.subspan(request.offset, request.length);
    return handle_executed(operation, {});
  }
  operation.buffer = buffers_.lease(request.length);
  operation.data = operation.buffer.bytes();
  device_->read(request.offset, operation.buffer.bytes(), Completion(operation));
}

void NbdConnection::execute_zeroes(Operation& operation) {
  const Request& request = operation.request;
  const bool keep = (request.flags & kFlagNoHole) != 0;
  if ((request.flags & kFlagFastZero) != 0 && (keep || !device_->punches())) {
    --executing_;
    return refuse(operation, kErrNotSupported, "zeroing is not faster than writing here");
  }
  device_->zero(request.offset, request.length, keep ? store::ZeroMode::keep_allocated : store::ZeroMode::may_punch,
                (request.flags & kFlagFua) != 0 ? store::Durability::durable : store::Durability::written, Completion(operation));
}

void NbdConnection::handle_done(Operation& operation, Result<void> result) {
  if (result && operation.flushes && host_ != nullptr) {
    operation.flushes = false;
    return device_->flush(Completion(operation));
  }
  handle_executed(operation, result);
}

void NbdConnection::handle_extents(Operation& operation, Result<std::vector<store::Extent>> extents) {
  if (!extents) return handle_executed(operation, fail(std::move(extents).error()));
  const Request& request = operation.request;
  std::size_t most = (request.flags & kFlagReqOne) != 0 ? 1 : kDescriptorsMax;
  std::vector<Descriptor> row = describe(*extents, request.offset, request.length, {rules_.sizes.min, most});
  if (row.empty()) return handle_executed(operation, fail(ErrorKind::io, "the device told no extent"));
  operation.reply_status(row, kAllocationContextId);
  handle_executed(operation, {});
}

// The device has nothing of the operation any more.
void NbdConnection::handle_executed(Operation& operation, const Result<void>& result) {
  --executing_;
  if (host_ == nullptr || closed_) {
    release(operation);
    if (executing_ == 0) {
      std::shared_ptr<NbdConnection> last_of_us = std::exchange(self_, nullptr);
      if (host_ != nullptr) pump_soon();
    }
    return;
  }
  if (!result) {
    if (result.error().kind() == ErrorKind::connection_lost) {
      release(operation);
      return close_now();
    }
    return refuse(operation, error_value(result.error().kind(), is_relay_), name_of(result.error().kind()));
  }
  NbdServer::Counters& counters = host_->counters();
  if (operation.request.type == kRead) {
    counters.bytes_read += operation.request.length;
    operation.reply_data(operation.data, agreement_.structured_replies);
  } else if (operation.request.type != kBlockStatus) {
    if (operation.request.type == kWrite) counters.bytes_written += operation.request.length;
    operation.buffer = {};
    operation.reply_done();
  }
  queue_reply(operation);
}

void NbdConnection::refuse(Operation& operation, std::uint32_t error, std::string_view text) {
  operation.buffer = {};
  if (host_ != nullptr) ++host_->counters().errors;
  operation.reply_error(error, text, agreement_.structured_replies);
  queue_reply(operation);
}

void NbdConnection::queue_reply(Operation& operation) {
  ready_.push_back(&operation);
  if (!pumping_) pump_soon();
}

}  // namespace godwit::exports
