// An NBD client's connection: the handshake, then requests out and replies in, matched by cookie. What a request means as a block
// device is NbdClient's. Requests of one turn leave in one write; the data of a read go straight to where they are wanted.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "export/nbd_client_negotiation.h"
#include "export/nbd_protocol.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "store/block_device.h"

namespace godwit::exports {

class NbdClientLink final : public std::enable_shared_from_this<NbdClientLink> {
 public:
  NbdClientLink(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, NbdClientOptions options);

  // Ends once, with the export or why not. Until then the link keeps itself alive.
  void open(net::Done<OpenedExport> done);

  // One request and its reply; `request.cookie` is the link's to choose. `payload` and `into` live until `done`, which is never
  // called from inside.
  void submit(nbd::Request request, ConstBytes payload, MutableBytes into, net::Done<void> done);
  // BLOCK_STATUS, and what it found.
  void submit_status(nbd::Request request, net::Done<std::vector<nbd::Descriptor>> done);

  void on_lost(std::move_only_function<void(Error)> handler) { lost_handler_ = std::move(handler); }
  std::size_t unanswered() const { return unanswered_; }
  // Tells the server that we leave and forgets everything: no callback runs any more.
  void abandon();

 private:
  struct Pending {
    nbd::Request request;
    std::array<std::byte, nbd::kRequestBytes> head;
    ConstBytes payload;
    MutableBytes into;
    net::Done<void> done;  // one of the two
    net::Done<std::vector<nbd::Descriptor>> status_done;
    bool active = false;
    bool sent = false;  // the stream has let go of `payload`
    bool answered = false;
    std::uint64_t filled = 0;  // bytes of `into`
    std::optional<Error> error;
    std::vector<nbd::Descriptor> descriptors;
  };

  void receive();
  void handle_received(Result<std::size_t> count);
  void handle_handshake();
  void handle_replies();
  Result<bool> handle_reply();
  Result<bool> handle_simple_reply();
  Result<bool> handle_chunk();
  Result<bool> handle_chunk_data(const nbd::Chunk& chunk, Pending& pending);
  Result<void> handle_control_chunk(const nbd::Chunk& chunk, ConstBytes payload, Pending& pending);
  Result<bool> wait_for(std::size_t bytes);
  void begin_data(Pending& pending, std::uint64_t at, std::uint64_t length, bool last);
  void take_data();
  Pending& begin(nbd::Request request);
  Result<Pending*> find(std::uint64_t cookie);
  void answer(Pending& pending);
  void end_if_complete(Pending& pending);
  Error error_of(std::uint32_t value, std::string_view text) const;

  void send_soon();
  void send();
  void handle_sent(Result<void> sent);
  void lose(const Error& error);
  void end_soon();
  void end_all();

  ConstBytes buffered() const { return ConstBytes(buffer_).subspan(begin_, end_ - begin_); }

  net::Scheduler& scheduler_;
  std::unique_ptr<net::Stream> stream_;
  ClientNegotiation negotiation_;
  net::Done<OpenedExport> open_done_;  // until open() has ended
  net::TimerId handshake_timer_;
  OpenedExport opened_;
  std::move_only_function<void(Error)> lost_handler_;

  Bytes buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  Pending* data_of_ = nullptr;  // whose data come next on the stream
  MutableBytes data_left_;
  bool data_last_ = false;       // its reply ends with them
  bool large_expected_ = false;  // the last data were many: the next will be, so read little beyond a reply's head

  std::deque<Pending> table_;  // a cookie's low half is the index, its high half how often that was used
  std::vector<std::uint32_t> uses_;
  std::vector<std::uint32_t> free_;
  std::vector<Pending*> queue_;
  std::vector<Pending*> sending_;
  std::vector<ConstBytes> spans_;
  Bytes handshake_output_;   // to be sent
  Bytes handshake_sending_;  // the stream still reads it
  std::size_t unanswered_ = 0;
  bool reading_ = false;
  bool writing_ = false;
  bool send_posted_ = false;
  bool abandoned_ = false;
  std::optional<Error> lost_;
};

}  // namespace godwit::exports
