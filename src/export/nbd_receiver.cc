#include "export/nbd_receiver.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace godwit::exports {

using namespace nbd;

// Below this much free space at its end the buffer is begun anew.
static constexpr std::size_t kRoomBytesLow = 64 * 1024;
// What is read beyond a large payload: a few headers, and little of the next payload, since that has to be copied.
static constexpr std::size_t kBeyondBytes = 4 * 1024;

std::span<const MutableBytes> RequestReceiver::room() {
  if (own_) {
    make_room(kBeyondBytes);
    room_ = {own_.bytes().subspan(own_filled_), buffer_.bytes().subspan(end_, kBeyondBytes)};
    return room_;
  }
  std::size_t missing = 0;
  if (decoded_ && !refusal_ && request_.type == kWrite) missing = request_.length - (end_ - begin_);
  make_room(std::max(missing, kRoomBytesLow));
  std::size_t free = buffer_.size() - end_;
  room_[0] = buffer_.bytes().subspan(end_, large_expected_ && missing == 0 ? std::min(free, kBeyondBytes) : free);
  return {room_.data(), 1};
}

void RequestReceiver::unused() {
  if (begin_ != end_ || own_) return;
  buffer_ = {};
  begin_ = end_ = 0;
  shared_ = false;
}

void RequestReceiver::make_room(std::size_t wanted) {
  std::size_t kept = end_ - begin_;
  if (buffer_ && !shared_ && kept == 0) begin_ = end_ = 0;
  if (buffer_ && buffer_.size() - end_ >= wanted) return;
  GODWIT_CHECK(kept + wanted <= kBufferBytes);
  if (!buffer_ || shared_) {
    net::Lease fresh = buffers_.lease(kBufferBytes);
    if (kept > 0) std::memcpy(fresh.bytes().data(), buffer_.bytes().data() + begin_, kept);
    buffer_ = std::move(fresh);
    shared_ = false;
  } else {
    std::memmove(buffer_.bytes().data(), buffer_.bytes().data() + begin_, kept);
  }
  begin_ = 0;
  end_ = kept;
}

void RequestReceiver::handle_received(std::size_t count) {
  if (own_) {
    std::size_t for_payload = std::min(count, own_.size() - own_filled_);
    own_filled_ += for_payload;
    count -= for_payload;
  }
  end_ += count;
  if (skip_ > 0) {
    std::size_t dropped = static_cast<std::size_t>(std::min<std::uint64_t>(skip_, end_ - begin_));
    begin_ += dropped;
    skip_ -= dropped;
  }
}

RequestReceiver::Next RequestReceiver::peek(const RequestRules& rules) {
  if (decoded_) return Next::request;
  if (end_ - begin_ < kRequestBytes) return Next::wants_bytes;
  Result<Request> request = decode_request(buffered().first(kRequestBytes));
  if (!request) return Next::malformed;
  begin_ += kRequestBytes;
  request_ = *request;
  refusal_ = request_.type == kDisconnect ? std::nullopt : check_request(request_, rules);
  decoded_ = true;
  if (refusal_ && request_.type == kWrite) {
    skip_ = request_.length;
    handle_received(0);
  }
  return Next::request;
}

std::size_t RequestReceiver::cost_bytes() const {
  bool bears_data = request_.type == kRead || request_.type == kWrite;
  return refusal_ || own_ || !bears_data ? 0 : request_.length;
}

bool RequestReceiver::take(ReceivedRequest& out) {
  GODWIT_CHECK(decoded_);
  if (skip_ > 0) return false;
  if (refusal_ || request_.type != kWrite) {
    out.buffer = {};
    out.payload = {};
    finish(out);
    return true;
  }
  return take_payload(out);
}

bool RequestReceiver::take_payload(ReceivedRequest& out) {
  const std::size_t length = request_.length;
  const std::size_t here = end_ - begin_;
  if (own_) {
    if (own_filled_ < length) return false;
    out.buffer = std::exchange(own_, {});
    out.payload = out.buffer.bytes();
    large_expected_ = true;
  } else if (here >= length) {
    out.buffer = buffer_;
    out.payload = buffered().first(length);
    begin_ += length;
    shared_ = true;
    large_expected_ = false;
  } else if (length <= kSharedPayloadBytesMax) {
    return false;
  } else {
    own_ = buffers_.lease(length);
    own_filled_ = here;
    if (here > 0) std::memcpy(own_.bytes().data(), buffered().data(), here);
    begin_ = end_;
    return false;
  }
  finish(out);
  return true;
}

void RequestReceiver::finish(ReceivedRequest& out) {
  out.request = request_;
  out.refusal = refusal_;
  decoded_ = false;
}

}  // namespace godwit::exports
