// Frames of one connection, both ways: many are parsed from one read, large payloads are received straight into the buffer they
// are meant for, and what is to be sent leaves gathered, urgent frames before bulk. Source: silo.md 2, 12. It knows frames, not
// packets' meaning.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "net/buffer_pool.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "volume/core/packet.h"

namespace godwit::volume {

enum class Lane : std::uint8_t { urgent, bulk };

class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  // `body` lies in `buffer` when that is given (and lives as long as it), else only for the call.
  virtual void handle_frame(const FrameHeader& header, ConstBytes body, net::Lease buffer) = 0;
  // Where a raw write's payload may be received straight into place; empty: nowhere.
  virtual MutableBytes place(const FrameHeader& header, const RawWriteHead& head) = 0;
  virtual void handle_placed(const FrameHeader& header, const RawWriteHead& head) = 0;
  // Asked before each frame; after a "no", FrameLink::resume() goes on.
  virtual bool wants_input() = 0;
  // The connection is over: cleanly between two frames (no error), or not. Nothing is called afterwards.
  virtual void handle_closed(std::optional<Error> error) = 0;
};

class FrameLink {
 public:
  struct Limits {
    std::uint32_t body_bytes_first = 16u << 20;  // of the first packet of a fresh connection
    std::uint32_t body_bytes = 64u << 20;        // of later ones; raised by announced block sizes
    std::size_t answer_bytes = 64u << 20;        // urgent and unsent: a peer that asks and does not take the answers is not read
  };

  FrameLink(net::Scheduler& scheduler, net::BufferPool& buffers, std::unique_ptr<net::Stream> stream, FrameHandler& handler,
            Limits limits);
  ~FrameLink();
  FrameLink(const FrameLink&) = delete;
  FrameLink& operator=(const FrameLink&) = delete;

  void start() { pump(); }
  void resume() { pump(); }
  void raise_body_limit(std::uint32_t bytes) { limits_.body_bytes = std::max(limits_.body_bytes, bytes); }

  // Sends `head` and, behind it, `payload`, which `buffer` keeps alive.
  void send(Lane lane, Bytes head, ConstBytes payload = {}, net::Lease buffer = {});
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  std::uint64_t bytes_received() const { return bytes_received_; }

  // Ends the connection at once; the handler is not called any more.
  void close();
  // Sends what is queued, then ends our side.
  void close_after_sending();
  net::Stream& stream() { return *stream_; }
  bool is_closed() const { return closed_; }

 private:
  struct Out {
    Bytes head;
    ConstBytes payload;
    net::Lease buffer;
  };
  struct Incoming {  // a frame too large for the receive buffer
    FrameHeader header;
    std::optional<RawWriteHead> placed;
    net::Lease buffer;
    MutableBytes target;  // what is still missing
  };

  void pump();
  bool wants_input() { return urgent_bytes_ < limits_.answer_bytes && handler_.wants_input(); }
  bool parse();  // false: the connection is over
  bool begin_large(const FrameHeader& header, ConstBytes available);
  void finish_large();
  void read_more();
  void handle_read(Result<std::size_t> count);
  void flush();
  void end(std::optional<Error> error);

  net::Scheduler& scheduler_;
  net::BufferPool& buffers_;
  std::unique_ptr<net::Stream> stream_;
  FrameHandler& handler_;
  Limits limits_;
  std::vector<std::byte> received_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::optional<Incoming> incoming_;
  bool first_frame_ = true;
  bool reading_ = false;
  bool pumping_ = false;
  bool closed_ = false;
  bool closing_ = false;
  bool writing_ = false;
  bool flush_posted_ = false;
  std::deque<Out> queues_[2];
  std::vector<Out> in_write_;
  std::vector<ConstBytes> spans_;
  std::size_t urgent_bytes_ = 0;  // queued or being written
  std::size_t urgent_bytes_in_write_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::uint64_t bytes_received_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
