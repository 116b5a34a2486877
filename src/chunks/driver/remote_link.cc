#include "chunks/driver/remote_link.h"

#include <utility>

namespace godwit::chunks {

static constexpr std::size_t kReadSize = 256 * 1024;
static constexpr std::size_t kBuffersPerWrite = 256;

RemoteLink::RemoteLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, RemoteLinkHandler& handler)
    : scheduler_(scheduler), stream_(std::move(stream)), handler_(handler), received_(kReadSize) {}

RemoteLink::~RemoteLink() {
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
  assembler_.feed(ConstBytes(received_).first(*count));
  const std::shared_ptr<bool> alive = alive_;
  handler_.handle_heard();
  if (*alive) pump();
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
  in_write_.clear();
  while (!out_.empty() && in_write_.size() < kBuffersPerWrite) {
    in_write_.push_back(std::move(out_.front()));
    out_.pop_front();
  }
  const std::vector<ConstBytes> spans(in_write_.begin(), in_write_.end());
  writing_ = true;
  stream_->write(spans, [this, alive = alive_](Result<void> result) {
    if (!*alive) return;
    writing_ = false;
    const bool had_room = has_room();
    for (const Bytes& bytes : in_write_) {
      unsent_bytes_ -= bytes.size();
      bytes_sent_ += bytes.size();
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

}  // namespace godwit::chunks
