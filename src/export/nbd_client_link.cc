#include "export/nbd_client_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/checked.h"
#include "base/cursor.h"

namespace godwit::exports {

using namespace nbd;

namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;
constexpr std::size_t kRoomBytesLow = 64 * 1024;
// Read beyond awaited data: the heads of some further replies.
constexpr std::size_t kBeyondBytes = 4 * 1024;
// From here on data are worth a read of their own, to save their copy.
constexpr std::uint64_t kLargeBytes = 64 * 1024;
// A chunk that is not data: half a million descriptors are enough, and a server can not make us hold more.
constexpr std::uint32_t kControlBytesMax = 4 * 1024 * 1024;
constexpr std::size_t kSpansMax = 512;

constexpr Duration kHandshakeTimeMax = Duration::seconds(30);

}  // namespace

NbdClientLink::NbdClientLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, NbdClientOptions options)
    : scheduler_(scheduler), stream_(std::move(stream)), negotiation_(std::move(options)), buffer_(kBufferBytes) {}

void NbdClientLink::open(net::Done<OpenedExport> done) {
  open_done_ = std::move(done);
  // The scheduler keeps the link while nobody else does; whoever ends it first cancels this.
  handshake_timer_ = scheduler_.schedule(scheduler_.now() + kHandshakeTimeMax, [self = shared_from_this()] {
    self->lose(Error(ErrorKind::timed_out, "the NBD server did not finish the handshake within 30 s"));
  });
  receive();
}

void NbdClientLink::abandon() {
  abandoned_ = true;
  lost_handler_ = nullptr;
  if (stream_ && !lost_ && !writing_) {
    // A word of good-bye, if the stream takes it at once.
    std::array<std::byte, kRequestBytes> goodbye;
    encode_request({0, kDisconnect, 0, 0, 0}, goodbye);
    ConstBytes bytes = goodbye;
    stream_->write({&bytes, 1}, [](const Result<void>&) {});
  }
  stream_.reset();
  table_.clear();
}

// --- Receiving ---

void NbdClientLink::receive() {
  if (reading_ || lost_ || abandoned_) return;
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ < kRoomBytesLow) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    if (buffer_.size() - end_ < kRoomBytesLow) buffer_.resize(end_ + kBufferBytes);
  }
  reading_ = true;
  MutableBytes room = MutableBytes(buffer_).subspan(end_);
  auto done = [weak = weak_from_this()](Result<std::size_t> count) {
    if (auto self = weak.lock()) self->handle_received(std::move(count));
  };
  if (data_left_.empty()) {
    if (large_expected_) room = room.first(kBeyondBytes);
    return stream_->read({&room, 1}, std::move(done));
  }
  const std::array<MutableBytes, 2> spans = {data_left_, room.first(kBeyondBytes)};
  stream_->read(spans, std::move(done));
}

void NbdClientLink::handle_received(Result<std::size_t> count) {
  reading_ = false;
  if (abandoned_) return;
  if (lost_) return end_all();
  if (!count) return lose(std::move(count).error());
  if (*count == 0) return lose(Error(ErrorKind::connection_lost, "the NBD server closed the connection"));
  std::size_t of_data = std::min(*count, data_left_.size());
  data_left_ = data_left_.subspan(of_data);
  end_ += *count - of_data;
  if (open_done_)
    handle_handshake();
  else
    handle_replies();
  receive();
}

void NbdClientLink::handle_handshake() {
  begin_ += negotiation_.handle_bytes(buffered());
  if (Bytes output = negotiation_.poll_output(); !output.empty()) {
    append(handshake_output_, output);
    send_soon();
  }
  if (negotiation_.state() == ClientNegotiation::State::running) return;
  std::shared_ptr<NbdClientLink> self = shared_from_this();
  scheduler_.cancel(handshake_timer_);
  net::Done<OpenedExport> done = std::exchange(open_done_, nullptr);
  if (negotiation_.state() == ClientNegotiation::State::failed) {
    lost_ = negotiation_.error();
    stream_->close();
    return done(fail(negotiation_.error()));
  }
  opened_ = negotiation_.opened();
  done(opened_);
}

void NbdClientLink::handle_replies() {
  while (!abandoned_ && !lost_) {
    Result<bool> went_on = handle_reply();
    if (!went_on) return lose(std::move(went_on).error());
    if (!*went_on) return;
  }
}

// Takes one reply, one chunk or some data out of the buffer; false when the next needs more bytes.
Result<bool> NbdClientLink::handle_reply() {
  if (data_of_ != nullptr) {
    take_data();
    return data_of_ == nullptr;
  }
  if (buffered().size() < kSimpleReplyBytes) return false;
  Cursor in(buffered());
  if (in.u32_be() == kSimpleReplyMagic) return handle_simple_reply();
  return handle_chunk();
}

Result<bool> NbdClientLink::handle_simple_reply() {
  Result<SimpleReply> reply = decode_simple_reply(buffered());
  if (!reply) return fail(std::move(reply).error());
  Result<Pending*> pending = find(reply->cookie);
  if (!pending) return fail(std::move(pending).error());
  begin_ += kSimpleReplyBytes;
  const std::uint16_t type = (*pending)->request.type;
  if (reply->error != 0) {
    (*pending)->error = error_of(reply->error, "");
  } else if (type == kBlockStatus || (type == kRead && opened_.structured_replies)) {
    return fail(ErrorKind::invalid, "a simple reply where a structured one belongs");
  } else if (type == kRead) {
    begin_data(**pending, 0, (*pending)->request.length, true);
    return true;
  }
  answer(**pending);
  return true;
}

Result<bool> NbdClientLink::handle_chunk() {
  if (buffered().size() < kChunkHeaderBytes) return false;
  Result<Chunk> chunk = decode_chunk(buffered());
  if (!chunk) return fail(std::move(chunk).error());
  if (!opened_.structured_replies) return fail(ErrorKind::invalid, "a structured reply that was not agreed");
  Result<Pending*> found = find(chunk->cookie);
  if (!found) return fail(std::move(found).error());
  Pending& pending = **found;
  if (chunk->type == kChunkOffsetData || chunk->type == kChunkOffsetHole) return handle_chunk_data(*chunk, pending);

  if (chunk->length > kControlBytesMax) return fail(ErrorKind::limit, fmt::format("a chunk of {} bytes", chunk->length));
  const std::size_t whole = kChunkHeaderBytes + chunk->length;
  if (buffered().size() < whole) return wait_for(whole);
  ConstBytes payload = buffered().subspan(kChunkHeaderBytes, chunk->length);
  begin_ += whole;
  Result<void> handled = handle_control_chunk(*chunk, payload, pending);
  if (!handled) return fail(std::move(handled).error());
  if ((chunk->flags & kChunkDone) != 0) answer(pending);
  return true;
}

// The buffer has room for a unit of `bytes`, which is then read on.
Result<bool> NbdClientLink::wait_for(std::size_t bytes) {
  if (buffer_.size() - begin_ < bytes) buffer_.resize(begin_ + bytes);
  return false;
}

Result<bool> NbdClientLink::handle_chunk_data(const Chunk& chunk, Pending& pending) {
  const bool hole = chunk.type == kChunkOffsetHole;
  const std::size_t fixed = kChunkHeaderBytes + (hole ? kOffsetHoleBytes : kOffsetDataBytes);
  const Request& request = pending.request;
  const bool sane = hole ? chunk.length == kOffsetHoleBytes : chunk.length > kOffsetDataBytes;
  if (request.type != kRead || !sane) return fail(ErrorKind::invalid, "a data chunk that does not fit its request");
  if (buffered().size() < fixed) return wait_for(fixed);
  Cursor in(buffered().subspan(kChunkHeaderBytes));
  const std::uint64_t offset = in.u64_be();
  const std::uint64_t length = hole ? in.u32_be() : chunk.length - kOffsetDataBytes;
  if (offset < request.offset || !within(offset - request.offset, length, request.length) ||
      pending.filled + length > request.length)
    return fail(ErrorKind::invalid, "a data chunk outside of what was asked");
  begin_ += fixed;
  const bool last = (chunk.flags & kChunkDone) != 0;
  if (!hole) {
    begin_data(pending, offset - request.offset, length, last);
    return true;
  }
  std::memset(pending.into.data() + (offset - request.offset), 0, length);
  pending.filled += length;
  if (last) answer(pending);
  return true;
}

Result<void> NbdClientLink::handle_control_chunk(const Chunk& chunk, ConstBytes payload, Pending& pending) {
  if ((chunk.type & kChunkErrorBit) != 0) {
    Result<ErrorChunk> error = decode_error_chunk(payload);
    if (!error) return fail(std::move(error).error());
    if (!pending.error) pending.error = error_of(error->error, error->text);
    return {};
  }
  if (chunk.type == kChunkBlockStatus && pending.request.type == kBlockStatus) {
    Result<BlockStatus> status = decode_block_status(payload);
    if (!status) return fail(std::move(status).error());
    if (opened_.allocation_context == status->context) pending.descriptors = std::move(status->descriptors);
    return {};
  }
  if (chunk.type == kChunkNone && chunk.length == 0) return {};
  return fail(ErrorKind::invalid, fmt::format("an unexpected chunk of type {}", chunk.type));
}

void NbdClientLink::begin_data(Pending& pending, std::uint64_t at, std::uint64_t length, bool last) {
  data_of_ = &pending;
  data_left_ = pending.into.subspan(at, length);
  data_last_ = last;
  pending.filled += length;
  large_expected_ = length >= kLargeBytes;
}

void NbdClientLink::take_data() {
  std::size_t count = std::min(buffered().size(), data_left_.size());
  if (count > 0) std::memcpy(data_left_.data(), buffered().data(), count);
  begin_ += count;
  data_left_ = data_left_.subspan(count);
  if (!data_left_.empty()) return;
  Pending& pending = *std::exchange(data_of_, nullptr);
  if (data_last_) answer(pending);
}

// --- Requests ---

void NbdClientLink::submit(Request request, ConstBytes payload, MutableBytes into, net::Done<void> done) {
  Pending& pending = begin(request);
  pending.payload = payload;
  pending.into = into;
  pending.done = std::move(done);
}

void NbdClientLink::submit_status(Request request, net::Done<std::vector<Descriptor>> done) {
  begin(request).status_done = std::move(done);
}

NbdClientLink::Pending& NbdClientLink::begin(Request request) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(table_.size()));
    table_.emplace_back();
    uses_.push_back(0);
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Pending& pending = table_[index];
  request.cookie = std::uint64_t{++uses_[index]} << 32 | index;
  pending.request = request;
  encode_request(request, pending.head);
  pending.payload = {};
  pending.into = {};
  pending.active = true;
  pending.sent = pending.answered = false;
  pending.filled = 0;
  pending.error.reset();
  pending.descriptors.clear();
  ++unanswered_;
  if (lost_) {
    end_soon();
  } else {
    queue_.push_back(&pending);
    send_soon();
  }
  return pending;
}

Result<NbdClientLink::Pending*> NbdClientLink::find(std::uint64_t cookie) {
  const std::uint64_t index = cookie & 0xffffffff;
  if (index >= table_.size() || !table_[index].active || table_[index].answered || table_[index].request.cookie != cookie)
    return fail(ErrorKind::invalid, "a reply to nothing that was asked");
  return &table_[index];
}

void NbdClientLink::answer(Pending& pending) {
  if (!pending.error && pending.request.type == kRead && pending.filled != pending.request.length)
    pending.error = Error(ErrorKind::invalid, "the NBD server answered a read without all of its data");
  pending.answered = true;
  end_if_complete(pending);
}

// An early answer does not end a request whose payload the stream still reads.
void NbdClientLink::end_if_complete(Pending& pending) {
  if (!pending.sent || !pending.answered) return;
  pending.active = false;
  --unanswered_;
  free_.push_back(static_cast<std::uint32_t>(pending.request.cookie & 0xffffffff));
  std::optional<Error> error = std::exchange(pending.error, std::nullopt);
  if (pending.done) {
    net::Done<void> done = std::exchange(pending.done, nullptr);
    return done(error ? Result<void>(fail(std::move(*error))) : Result<void>());
  }
  net::Done<std::vector<Descriptor>> done = std::exchange(pending.status_done, nullptr);
  if (error) return done(fail(std::move(*error)));
  done(std::exchange(pending.descriptors, {}));
}

Error NbdClientLink::error_of(std::uint32_t value, std::string_view text) const {
  ErrorKind kind = error_kind(value);
  if (kind == ErrorKind::refused && (opened_.info.flags & kReadOnly) != 0) kind = ErrorKind::read_only;
  if (text.empty()) return Error(kind, fmt::format("the NBD server says error {}", value));
  return Error(kind, fmt::format("the NBD server says error {}: {}", value, escaped(text)));
}

// --- Sending ---

void NbdClientLink::send_soon() {
  if (send_posted_ || writing_) return;
  send_posted_ = true;
  scheduler_.post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->send_posted_ = false;
    self->send();
  });
}

void NbdClientLink::send() {
  if (writing_ || lost_ || abandoned_) return;
  spans_.clear();
  if (!handshake_output_.empty()) {
    // What the answers add meanwhile is for the next write.
    handshake_sending_ = std::exchange(handshake_output_, {});
    spans_.push_back(handshake_sending_);
  } else {
    std::size_t count = std::min(queue_.size(), kSpansMax / 2);
    sending_.assign(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(count));
    for (Pending* pending : sending_) {
      spans_.push_back(pending->head);
      if (!pending->payload.empty()) spans_.push_back(pending->payload);
    }
  }
  if (spans_.empty()) return;
  writing_ = true;
  stream_->write(spans_, [weak = weak_from_this()](Result<void> sent) {
    if (auto self = weak.lock()) self->handle_sent(std::move(sent));
  });
}

void NbdClientLink::handle_sent(Result<void> sent) {
  writing_ = false;
  if (abandoned_) return;
  for (Pending* pending : std::exchange(sending_, {})) {
    pending->sent = true;
    // Called back from inside our own call perhaps, but the answer to a request never is there yet then.
    if (pending->answered && !lost_) end_if_complete(*pending);
    if (abandoned_) return;
  }
  if (lost_) return end_all();
  if (!sent) return lose(std::move(sent).error());
  if (!handshake_output_.empty() || !queue_.empty()) send_soon();
}

// --- The end ---

void NbdClientLink::lose(const Error& error) {
  if (lost_) return;
  lost_ = Error(ErrorKind::connection_lost, error.message());
  stream_->close();
  end_all();
}

// For requests that come after the end.
void NbdClientLink::end_soon() {
  scheduler_.post([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->end_all();
  });
}

// Once the stream has let go of everybody's memory.
void NbdClientLink::end_all() {
  if (reading_ || writing_ || abandoned_) return;
  std::shared_ptr<NbdClientLink> self = shared_from_this();
  scheduler_.cancel(handshake_timer_);
  if (open_done_) std::exchange(open_done_, nullptr)(fail(*lost_));
  queue_.clear();
  // Who asks again from inside his answer is told later.
  for (std::size_t i = 0, count = table_.size(); i < count && !abandoned_; ++i) {
    Pending& pending = table_[i];
    if (!pending.active) continue;
    pending.sent = pending.answered = true;
    pending.error = lost_;
    end_if_complete(pending);
  }
  if (auto handler = std::exchange(lost_handler_, nullptr); handler && !abandoned_) handler(*lost_);
}

}  // namespace godwit::exports
