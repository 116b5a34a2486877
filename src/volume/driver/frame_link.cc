#include "volume/driver/frame_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace godwit::volume {

// Small, so that little of a bulk frame lands here and must be copied on; large enough for some hundred answers.
static constexpr std::size_t kReceiveBuffer = 16 * 1024;
// Frames up to this size are parsed where they were received.
static constexpr std::size_t kSmallFrame = 4 * 1024;
// One system call's worth of bulk: urgent frames wait no longer than for this.
static constexpr std::size_t kBulkPerWrite = 256 * 1024;
static constexpr std::size_t kFramesPerWrite = 256;

FrameLink::FrameLink(net::Scheduler& scheduler, net::BufferPool& buffers, std::unique_ptr<net::Stream> stream,
                     FrameHandler& handler, Limits limits)
    : scheduler_(scheduler),
      buffers_(buffers),
      stream_(std::move(stream)),
      handler_(handler),
      limits_(limits),
      received_(kReceiveBuffer) {}

FrameLink::~FrameLink() {
  *alive_ = false;
}

void FrameLink::close() {
  if (std::exchange(closed_, true)) return;
  stream_->close();
}

void FrameLink::close_after_sending() {
  closing_ = true;
  flush();
}

void FrameLink::end(std::optional<Error> error) {
  if (closed_) return;
  close();
  handler_.handle_closed(std::move(error));
}

// --- receiving ---

void FrameLink::pump() {
  if (pumping_ || closed_) return;
  pumping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  const bool going_on = parse();
  if (!*alive) return;
  pumping_ = false;
  if (going_on && !reading_ && !closed_ && (incoming_ || wants_input())) read_more();
}

bool FrameLink::parse() {
  const std::shared_ptr<bool> alive = alive_;
  while (!closed_) {
    if (incoming_) {
      if (!incoming_->target.empty()) return true;
      finish_large();
      if (!*alive) return false;
      continue;
    }
    if (end_ - begin_ < kFrameHeaderSize || !wants_input()) return true;
    const ConstBytes available{received_.data() + begin_, end_ - begin_};
    const FrameHeader header = decode_frame_header(available.first(kFrameHeaderSize));
    const std::uint32_t limit = first_frame_ ? limits_.body_bytes_first : limits_.body_bytes;
    if (header.body_length == 0 || header.body_length > limit) {
      end(Error(ErrorKind::limit, "frame of " + std::to_string(header.body_length) + " bytes (device " +
                                      std::to_string(header.device.value) + ", transaction " + std::to_string(header.tx.value) +
                                      "); 1 to " + std::to_string(limit) + " are allowed"));
      return false;
    }
    const std::size_t whole = kFrameHeaderSize + header.body_length;
    if (whole <= kSmallFrame) {
      if (available.size() < whole) return true;
      begin_ += whole;
      first_frame_ = false;
      handler_.handle_frame(header, available.subspan(kFrameHeaderSize, header.body_length), {});
      if (!*alive) return false;
    } else if (!begin_large(header, available)) {
      return true;
    }
  }
  return false;
}

// Once the first bytes of a large frame's body are here, its payload gets a place and the rest is received straight into it.
bool FrameLink::begin_large(const FrameHeader& header, ConstBytes available) {
  if (available.size() < kFrameHeaderSize + kRawWriteHeadSize) return false;
  ConstBytes body = available.subspan(kFrameHeaderSize);
  if (body.size() > header.body_length) body = body.first(header.body_length);
  Incoming incoming;
  incoming.header = header;
  if (const std::optional<RawWriteHead> head = peek_raw_write(header, body)) {
    incoming.target = handler_.place(header, *head);
    if (!incoming.target.empty()) {
      incoming.placed = head;
      body = body.subspan(kRawWriteHeadSize);
    }
  }
  if (!incoming.placed) {
    incoming.buffer = buffers_.lease(header.body_length);
    incoming.target = incoming.buffer.bytes();
  }
  std::memcpy(incoming.target.data(), body.data(), body.size());
  incoming.target = incoming.target.subspan(body.size());
  begin_ += kFrameHeaderSize + (incoming.placed ? kRawWriteHeadSize : 0) + body.size();
  first_frame_ = false;
  incoming_ = std::move(incoming);
  return true;
}

void FrameLink::finish_large() {
  Incoming done = std::move(*incoming_);
  incoming_.reset();
  if (done.placed) return handler_.handle_placed(done.header, *done.placed);
  const ConstBytes body = done.buffer.bytes();
  handler_.handle_frame(done.header, body, std::move(done.buffer));
}

void FrameLink::read_more() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > 0) {
    std::memmove(received_.data(), received_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  // Behind a large frame only a header's worth is taken along: more would have to be copied on.
  const std::size_t room = incoming_ ? std::min<std::size_t>(64, received_.size() - end_) : received_.size() - end_;
  const MutableBytes into[2] = {incoming_ ? incoming_->target : MutableBytes{}, {received_.data() + end_, room}};
  reading_ = true;
  stream_->read(incoming_ ? std::span(into, 2) : std::span(into + 1, 1), [this, alive = alive_](Result<std::size_t> count) {
    if (*alive && !closed_) handle_read(std::move(count));
  });
}

void FrameLink::handle_read(Result<std::size_t> count) {
  reading_ = false;
  if (!count) return end(std::move(count).error());
  if (*count == 0) {
    const bool clean = !incoming_ && begin_ == end_;
    return end(clean ? std::nullopt
                     : std::optional(Error(ErrorKind::connection_lost, "the connection ended in the middle of a frame")));
  }
  bytes_received_ += *count;
  std::size_t rest = *count;
  if (incoming_) {
    const std::size_t taken = std::min(rest, incoming_->target.size());
    incoming_->target = incoming_->target.subspan(taken);
    rest -= taken;
  }
  end_ += rest;
  pump();
}

// --- sending ---

void FrameLink::send(Lane lane, Bytes head, ConstBytes payload, net::Lease buffer) {
  if (closed_) return;
  std::deque<Out>& queue = queues_[static_cast<unsigned>(lane)];
  if (lane == Lane::urgent) urgent_bytes_ += head.size() + payload.size();
  if (payload.empty() && !queue.empty() && queue.back().payload.empty() && queue.back().head.size() < kSmallFrame) {
    append(queue.back().head, head);
  } else {
    queue.push_back({std::move(head), payload, std::move(buffer)});
  }
  if (writing_ || flush_posted_) return;
  flush_posted_ = true;  // what else this turn brings leaves with it
  scheduler_.post([this, alive = alive_] {
    if (!*alive) return;
    flush_posted_ = false;
    flush();
  });
}

void FrameLink::flush() {
  if (writing_ || closed_) return;
  in_write_.clear();
  std::size_t bulk = 0;
  for (std::deque<Out>& queue : queues_) {
    while (!queue.empty() && in_write_.size() < kFramesPerWrite && bulk < kBulkPerWrite) {
      if (&queue == &queues_[1])
        bulk += queue.front().payload.size();
      else
        urgent_bytes_in_write_ += queue.front().head.size() + queue.front().payload.size();
      in_write_.push_back(std::move(queue.front()));
      queue.pop_front();
    }
  }
  if (in_write_.empty()) {
    if (closing_) stream_->shut_down_sending();
    return;
  }
  spans_.clear();
  for (const Out& out : in_write_) {
    spans_.push_back(out.head);
    bytes_sent_ += out.head.size() + out.payload.size();
    if (!out.payload.empty()) spans_.push_back(out.payload);
  }
  writing_ = true;
  stream_->write(spans_, [this, alive = alive_](Result<void> result) {
    if (!*alive || closed_) return;
    writing_ = false;
    in_write_.clear();
    if (!result) return end(std::move(result).error());
    const bool held_back = urgent_bytes_ >= limits_.answer_bytes;
    urgent_bytes_ -= std::exchange(urgent_bytes_in_write_, 0);
    flush();
    if (held_back && *alive) pump();
  });
}

}  // namespace godwit::volume
