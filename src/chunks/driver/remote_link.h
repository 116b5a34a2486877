// The remote protocol's frames over one stream, both ways: what comes is cut into messages, what is to be sent leaves gathered.
// It knows no session; the two that do are remote_client_link.h and remote_server_link.h. Source: casync.md 2.2.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "chunks/core/remote_frame.h"
#include "chunks/core/token_bucket.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace godwit::chunks {

class RemoteLinkHandler {
 public:
  virtual ~RemoteLinkHandler() = default;
  // Something came, a whole message or not.
  virtual void handle_heard() {}
  // Data of the message is borrowed for the call.
  virtual void handle_message(const wire::Message& message) = 0;
  // Asked before each message; after a "no", RemoteLink::resume() goes on.
  virtual bool wants_input() = 0;
  // What was sent has left, or enough of it that more may be sent.
  virtual void handle_room() = 0;
  // The peer ended its side between two frames (nothing), or the stream broke, or what came is no frame. Once; our side may still
  // send.
  virtual void handle_input_end(std::optional<Error> error) = 0;
  // After end_sending(): everything has left. Not called where the output is lost before.
  virtual void handle_all_sent() {}
  // Nothing more can be sent.
  virtual void handle_output_lost(const Error& error) = 0;
};

// How fast a process may talk to its remotes, each direction by itself. Its links share it.
struct RemoteRate {
  RemoteRate(std::uint64_t bytes_per_second, Instant now) : sending(bytes_per_second, now), receiving(bytes_per_second, now) {}
  TokenBucket sending, receiving;
};

class RemoteLink {
 public:
  // `rate` may be null: as fast as it goes.
  RemoteLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, RemoteLinkHandler& handler,
             std::shared_ptr<RemoteRate> rate);
  ~RemoteLink();
  RemoteLink(const RemoteLink&) = delete;
  RemoteLink& operator=(const RemoteLink&) = delete;

  void start() { pump(); }
  void resume() { pump(); }
  // The frame `head`, followed by `payload` where it has one.
  void send(Bytes head, Bytes payload = {});
  // Whether more should be sent now, or after handle_room().
  bool has_room() const { return unsent_bytes_ < kUnsentMax; }
  // Ends our side of the stream after what was sent.
  void end_sending();
  bool is_sending_over() const { return sending_over_; }

  std::uint64_t bytes_received() const { return bytes_received_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 private:
  static constexpr std::size_t kUnsentMax = 1 << 20;

  void pump();
  bool parse();
  void read();
  void handle_read(Result<std::size_t> count);
  void flush();
  void gather();
  // Calls `go_on` when the bucket has something again.
  void wait_for(TokenBucket& bucket, net::TimerId& timer, void (RemoteLink::*go_on)());

  net::Scheduler& scheduler_;
  std::unique_ptr<net::Stream> stream_;
  RemoteLinkHandler& handler_;
  const std::shared_ptr<RemoteRate> rate_;
  net::TimerId read_timer_, write_timer_;
  wire::Assembler assembler_;
  Bytes received_;
  bool reading_ = false;
  bool pumping_ = false;
  bool input_over_ = false;
  std::deque<Bytes> out_;
  std::size_t out_offset_ = 0;     // of out_.front(), what has been written
  std::vector<Bytes> in_write_;    // whole ones
  std::vector<ConstBytes> spans_;  // of this write
  std::size_t unsent_bytes_ = 0;
  bool writing_ = false;
  bool flush_posted_ = false;
  bool end_wanted_ = false;
  bool sending_over_ = false;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_sent_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::chunks
