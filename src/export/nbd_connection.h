// One client of the NBD server: its handshake, its requests on their way to the device, their replies on the way back. Any number
// of requests are under way together up to the limits, then its socket is not read. Replies leave in the order in which the
// device completes, all that are ready together in one write. It lives until the last request the device has of it has ended,
// also when its server or its client is gone by then.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "export/nbd_negotiation.h"
#include "export/nbd_operation.h"
#include "export/nbd_receiver.h"
#include "export/nbd_server.h"

namespace godwit::exports {

// An export as the server's table and its connections share it.
struct Export {
  ExportOptions options;
  store::BlockDevice* device = nullptr;
};

// What a connection needs of its server.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual std::shared_ptr<const Export> find_export(const std::string& name) = 0;
  virtual std::vector<std::pair<std::string, std::string>> list_exports() = 0;
  virtual bool handles_option(std::uint32_t option) = 0;
  virtual void ask_option(ConnectionId connection, std::uint32_t option, ConstBytes payload,
                          std::move_only_function<void(OptionReply)> answer) = 0;
  virtual NbdServer::Counters& counters() = 0;
  // Nothing of the connection is under way any more, and its stream is closed. Destroys it in a later turn.
  virtual void connection_gone(ConnectionId connection) = 0;
};

class NbdConnection final : public std::enable_shared_from_this<NbdConnection>, private Catalogue {
 public:
  NbdConnection(ConnectionId id, ConnectionHost& host, net::Scheduler& scheduler, net::BufferPool& buffers,
                const NbdLimits& limits, std::unique_ptr<net::Stream> stream, std::optional<std::string> only);
  ~NbdConnection() override;

  void start();
  // Without a handshake: requests to this export, which the host has, and simple replies.
  void start_agreed(const std::string& name);
  // Takes no further request; replies of those under way are sent, then it closes and is gone.
  void drain();
  // Ends the stream at once; what is under way is executed, unanswered.
  void close_now();
  // The server is being destroyed.
  void abandon();

  void set_relay(store::BlockDevice* device);
  bool is_relay() const { return is_relay_; }
  // The export it was opened to; null during the handshake.
  const Export* opened() const { return export_.get(); }
  bool is_gone() const { return gone_; }

 private:
  class Completion;
  enum class Phase { handshake, transmission };

  // Catalogue, as this client sees it.
  std::optional<OfferedExport> find(const std::string& name) override;
  std::vector<std::pair<std::string, std::string>> list() override;
  bool handles(std::uint32_t option) override;

  void pump();
  void pump_soon();
  void pump_once();
  void negotiate();
  void ask_option();
  void handle_option_answer(OptionReply reply);
  void begin_transmission(Agreement agreement);
  void take_requests();
  bool admits(std::size_t cost_bytes) const;
  void receive();
  void handle_received(Result<std::size_t> count);
  void send(std::span<const ConstBytes> spans);
  void send_replies();
  void handle_sent(Result<void> sent);
  void settle();
  void limit_time(Duration left);

  Operation& begin_operation(ReceivedRequest& received);
  void execute(Operation& operation);
  void execute_read(Operation& operation);
  void execute_zeroes(Operation& operation);
  void handle_done(Operation& operation, Result<void> result);
  void handle_extents(Operation& operation, Result<std::vector<store::Extent>> extents);
  void handle_executed(Operation& operation, const Result<void>& result);
  void refuse(Operation& operation, std::uint32_t error, std::string_view text);
  void queue_reply(Operation& operation);
  void release(Operation& operation);

  const ConnectionId id_;
  ConnectionHost* host_;  // null once abandoned
  net::Scheduler& scheduler_;
  net::BufferPool& buffers_;
  const NbdLimits limits_;
  const std::optional<std::string> only_;  // the one export that this client may see
  std::unique_ptr<net::Stream> stream_;
  RequestReceiver receiver_;
  Negotiation negotiation_;
  Phase phase_ = Phase::handshake;
  Bytes handshake_output_;  // being sent

  std::shared_ptr<const Export> export_;
  store::BlockDevice* device_ = nullptr;
  RequestRules rules_;
  Agreement agreement_;
  bool is_relay_ = false;
  store::BlockDevice* relay_device_ = nullptr;

  std::deque<Operation> operations_;  // all there ever were at a time; reused
  std::vector<Operation*> free_;
  std::vector<Operation*> ready_;  // their replies wait for the next write, oldest first
  std::vector<Operation*> sending_;
  std::vector<ConstBytes> spans_;
  std::size_t in_flight_ = 0;  // taken and not released: executing, ready or being sent
  std::size_t executing_ = 0;  // the device has them
  std::uint64_t bytes_in_flight_ = 0;

  bool asked_ = false;  // an option waits for the server's user
  bool reading_ = false;
  bool writing_ = false;
  bool pumping_ = false;
  bool pump_again_ = false;
  bool pump_posted_ = false;
  bool held_ = false;  // the next request waits for room
  bool peer_ended_ = false;
  bool ending_ = false;   // takes nothing more
  bool hurried_ = false;  // drained: does not wait forever for a client that does not read
  bool closed_ = false;
  bool gone_ = false;
  net::TimerId timer_;                   // of the handshake, then of the end
  std::shared_ptr<NbdConnection> self_;  // once abandoned, until the device has nothing of it
};

}  // namespace godwit::exports
