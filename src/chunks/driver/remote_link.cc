#include "chunks/driver/remote_link.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace godwit::chunks {

static constexpr std::size_t kReadSize = 256 * 1024;
static constexpr std::size_t kBuffersPerWrite = 256;

RemoteLink::RemoteLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, RemoteLinkHandler& handler,
                       std::shared_ptr<RemoteRate> rate)
    : scheduler_(scheduler),
      stream_(std::move(stream)),
      handler_(handler),
      rate_(std::move(rate)),
      received_(rate_ ? std::min(kReadSize, rate_->receiving.piece_bytes()) : kReadSize) {}

RemoteLink::~RemoteLink() {
  scheduler_.cancel(read_timer_);
  scheduler_.cancel(write_timer_);
  *alive_ = false;
}

// --- receiving ---

void RemoteLink::pump() {
  if (pumping_ || input_over_) return;
  pumping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  const bool going_on = parse();
  if (!*alive) return;
  pumping_ = false;
  if (!going_on || reading_ || input_over_) return;
  reading_ = true;
  read();
}

void RemoteLink::read() {
  if (rate_ && rate_->receiving.available(scheduler_.now()) == 0)
    return wait_for(rate_->receiving, read_timer_, &RemoteLink::read);
  const MutableBytes into[] = {received_};
  stream_->read(into, [this, alive = alive_](Result<std::size_t> count) {
    if (*alive) handle_read(std::move(count));
  });
}

// Hands out the messages that are there. False: do not read more now.
bool RemoteLink::parse() {
  const std::shared_ptr<bool> alive = alive_;
  while (!input_over_) {
    if (!handler_.wants_input()) return false;
    const Result<std::optional<ConstBytes>> frame = assembler_.next();
    if (frame && !*frame) return true;
    Result<wire::Message> message = frame ? wire::decode_message(**frame) : Result<wire::Message>(fail(frame.error()));
    if (!message) {
      input_over_ = true;
      handler_.handle_input_end(std::move(message).error());
      return false;
    }
    handler_.handle_message(*message);
    if (!*alive) return false;
  }
  return false;
}

void RemoteLink::handle_read(Result<std::size_t> count) {
  reading_ = false;
  if (!count || *count == 0) {
    input_over_ = true;
    std::optional<Error> error;
    if (!count)
      error = count.error();
    else if (!assembler_.at_frame_boundary())
      error = assembler_.cut_off();
    handler_.handle_input_end(std::move(error));
    return;
  }
  bytes_received_ += *count;
  if (rate_) rate_->receiving.take(*count, scheduler_.now());
  assembler_.feed(ConstBytes(received_).first(*count));
  const std::shared_ptr<bool> alive = alive_;
  handler_.handle_heard();
  if (*alive) pump();
}

void RemoteLink::wait_for(TokenBucket& bucket, net::TimerId& timer, void (RemoteLink::*go_on)()) {
  scheduler_.cancel(timer);
  timer = scheduler_.schedule(bucket.next(scheduler_.now()), [this, &timer, go_on] {
    timer = {};
    (this->*go_on)();
  });
}

// --- sending ---

void RemoteLink::send(Bytes head, Bytes payload) {
  if (sending_over_ || end_wanted_) return;
  unsent_bytes_ += head.size() + payload.size();
  out_.push_back(std::move(head));
  if (!payload.empty()) out_.push_back(std::move(payload));
  if (writing_ || std::exchange(flush_posted_, true)) return;
  scheduler_.post([this, alive = alive_] {  // what else this turn brings leaves with it
    if (!*alive) return;
    flush_posted_ = false;
    flush();
  });
}

void RemoteLink::end_sending() {
  end_wanted_ = true;
  if (writing_ || std::exchange(flush_posted_, true)) return;
  scheduler_.post([this, alive = alive_] {
    if (!*alive) return;
    flush_posted_ = false;
    flush();
  });
}

void RemoteLink::flush() {
  if (writing_ || sending_over_) return;
  if (out_.empty()) {
    if (!end_wanted_) return;
    sending_over_ = true;
    stream_->shut_down_sending();
    return handler_.handle_all_sent();
  }
  if (rate_ && rate_->sending.available(scheduler_.now()) == 0) return wait_for(rate_->sending, write_timer_, &RemoteLink::flush);
  gather();
  writing_ = true;
  stream_->write(spans_, [this, alive = alive_](Result<void> result) {
    if (!*alive) return;
    writing_ = false;
    const bool had_room = has_room();
    for (const ConstBytes span : spans_) {
      unsent_bytes_ -= span.size();
      bytes_sent_ += span.size();
    }
    in_write_.clear();
    if (!result) {
      sending_over_ = true;
      out_.clear();
      unsent_bytes_ = 0;
      return handler_.handle_output_lost(result.error());
    }
    flush();
    if (!had_room && *alive) handler_.handle_room();
  });
}

// What the next write takes: all that is there, or as much as the rate allows, the last buffer then in part.
void RemoteLink::gather() {
  std::size_t allowed = std::numeric_limits<std::size_t>::max();
  if (rate_) allowed = rate_->sending.available(scheduler_.now());
  std::size_t taken = 0;
  spans_.clear();
  while (!out_.empty() && spans_.size() < kBuffersPerWrite && taken < allowed) {
    const ConstBytes rest = ConstBytes(out_.front()).subspan(out_offset_);
    const ConstBytes part = rest.first(std::min(rest.size(), allowed - taken));
    spans_.push_back(part);
    taken += part.size();
    if (part.size() < rest.size()) {
      out_offset_ += part.size();
      break;
    }
    // Moving the buffer leaves its bytes where they are.
    in_write_.push_back(std::move(out_.front()));
    out_.pop_front();
    out_offset_ = 0;
  }
  if (rate_) rate_->sending.take(taken, scheduler_.now());
}

}  // namespace godwit::chunks
