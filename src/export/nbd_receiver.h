// Where a client's bytes arrive: a reused buffer from which many requests are taken after one read. A small payload stays where
// it arrived, and its request shares the buffer; a large one is received straight into a buffer of its own. Does no I/O.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "export/nbd_protocol.h"
#include "export/nbd_request_check.h"
#include "net/buffer_pool.h"
#include "net/stream.h"

namespace godwit::exports {

struct ReceivedRequest {
  nbd::Request request;
  std::optional<Refusal> refusal;  // then there is no payload
  net::Lease buffer;               // keeps `payload` alive; empty without one
  ConstBytes payload;
};

class RequestReceiver final : public net::ReadRoom {
 public:
  static constexpr std::size_t kBufferBytes = 256 * 1024;
  // Up to here a payload is awaited in the buffer; beyond, it gets its own.
  static constexpr std::size_t kSharedPayloadBytesMax = 64 * 1024;

  explicit RequestReceiver(net::BufferPool& buffers) : buffers_(buffers) {}

  // Where to read into next, and how much of it was filled. A client of whom nothing is here costs no buffer while it is silent.
  std::span<const MutableBytes> room() override;
  void unused() override;
  void handle_received(std::size_t count);

  // What has arrived and was not taken, for the handshake.
  ConstBytes buffered() const { return ConstBytes(buffer_.bytes()).subspan(begin_, end_ - begin_); }
  void consume(std::size_t count) { begin_ += count; }

  enum class Next {
    wants_bytes,
    request,    // request() and cost_bytes() stand until take() succeeds
    malformed,  // not NBD: there is no way to find the next request
  };
  Next peek(const RequestRules& rules);
  const nbd::Request& request() const { return request_; }
  // What its execution holds in memory, beyond what is held already.
  std::size_t cost_bytes() const;
  // After peek() gave a request: moves it out, or says false: its payload has not arrived, read on.
  bool take(ReceivedRequest& out);

 private:
  bool take_payload(ReceivedRequest& out);
  void finish(ReceivedRequest& out);
  void make_room(std::size_t wanted);

  net::BufferPool& buffers_;
  net::Lease buffer_;
  std::size_t begin_ = 0;  // of what was not taken
  std::size_t end_ = 0;    // of what has arrived
  bool shared_ = false;    // requests hold parts of the buffer: bytes before begin_ must stay

  bool decoded_ = false;  // request_ and refusal_ are those of the next request, whose header is consumed
  nbd::Request request_;
  std::optional<Refusal> refusal_;
  std::uint64_t skip_ = 0;  // payload of a refused write, still to be dropped
  net::Lease own_;          // for the payload in hand
  std::size_t own_filled_ = 0;
  bool large_expected_ = false;  // the last payload had its own buffer: the next will, so read little beyond it
  std::array<MutableBytes, 2> room_;
};

}  // namespace godwit::exports
