// An NBD server (fixed newstyle): offers block devices by name to any number of connections over any stream. Protocol:
// the NBD project's doc/proto.md. What is offered is a store::BlockDevice: its `done` is the reply, so a device that holds its
// requests holds its clients. FLUSH and FUA mean stable storage because the device's do.
// Error kinds on the wire: invalid EINVAL, no_space ENOSPC, read_only/refused EPERM, limit EOVERFLOW, unsupported ENOTSUP,
// shut_down ESHUTDOWN, moved 0x4D4F5645 (relay connections only, elsewhere EIO), everything else EIO; connection_lost closes the
// client's connection instead of answering.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "net/buffer_pool.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "store/block_device.h"

namespace godwit::exports {

struct ExportOptions {
  std::string name;                          // what a client asks for; "" is the default export
  std::function<std::string()> description;  // asked at each LIST and INFO; may be empty
  bool read_only = false;
  bool multi_conn = true;  // a flush on one connection covers writes of the others
  std::uint32_t block_size_min = 1;
  std::uint32_t block_size_preferred = 4096;
  std::uint32_t block_size_max = 32 * 1024 * 1024;  // bytes of one request's payload
};

struct NbdLimits {
  std::uint32_t option_bytes_max = 256 * 1024 + 64;      // one option's data; RELAY-OPEN is the largest we know
  std::uint32_t options_max = 1024;                      // per negotiation
  std::uint32_t requests_in_flight_max = 256;            // per connection; then the socket is not read
  std::uint64_t bytes_in_flight_max = 64 * 1024 * 1024;  // per connection, likewise
  std::uint32_t connections_max = 1024;
  // From the first byte to the choice of an export, or a silent peer would keep its place for good. The time that a known
  // option's answer takes does not count.
  Duration handshake_time_max = Duration::seconds(30);
};

struct ConnectionId {
  std::uint64_t value = 0;
  friend auto operator<=>(ConnectionId, ConnectionId) = default;
};

struct OptionReply {
  std::uint32_t type = 0;
  Bytes payload;
};

// Answers negotiation options the server itself does not know (the relay's). `answer` may be called later; the connection waits.
class OptionHandler {
 public:
  virtual ~OptionHandler() = default;
  virtual bool handles(std::uint32_t option) const = 0;
  virtual void handle_option(ConnectionId connection, std::uint32_t option, ConstBytes payload,
                             std::move_only_function<void(OptionReply)> answer) = 0;
  // Told once for every connection that ever reached handle_option, when it is gone.
  virtual void handle_closed(ConnectionId connection) = 0;
};

class NbdServer {
 public:
  // `options` may be null. All references outlive the server. Not to be destroyed from inside a call to `options`.
  NbdServer(net::Scheduler& scheduler, net::BufferPool& buffers, NbdLimits limits, OptionHandler* options);
  ~NbdServer();
  NbdServer(const NbdServer&) = delete;
  NbdServer& operator=(const NbdServer&) = delete;

  // `device` is borrowed until remove() has called back or the server is destroyed.
  Result<void> add(ExportOptions options, store::BlockDevice& device);
  // No new connection finds it; connections to it are closed after their running requests have been answered.
  void remove(const std::string& name, net::Task done);
  // Takes over a connected client. With `only` it finds that export alone, and no other is listed to it.
  void accept(std::unique_ptr<net::Stream> stream, std::optional<std::string> only = std::nullopt);
  // The same of a client that was told elsewhere what a handshake tells (a kernel, for one): it begins with its requests, to this
  // export, and is given simple replies. Without such an export it is closed.
  void accept_agreed(std::unique_ptr<net::Stream> stream, const std::string& name);

  // Marks a connection as a relay's: `device` stands in for whatever export it opens next (so that a relay's requests may be
  // told from other clients'; null: the export's own), and ErrorKind::moved reaches it as such.
  void set_relay(ConnectionId connection, store::BlockDevice* device);
  // Reads no further request from it, waits until those under way have ended (their replies are sent where possible), closes it.
  void drain(ConnectionId connection, net::Task done);
  // Closes every client of an export at once, except relays; requests under way are still executed, unanswered.
  void close_clients(const std::string& name);

  struct Counters {
    std::uint64_t connections = 0, requests = 0, errors = 0, bytes_read = 0, bytes_written = 0;
  };
  Counters counters() const;
  std::size_t open_connections(const std::string& name) const;

  // Ends negotiation and reading everywhere, waits for what is under way, closes.
  void shut_down(net::Task done);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::exports
