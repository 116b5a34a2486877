#include "net/stream_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "net/pipe_stream.h"
#include "net/socket_address.h"

namespace godwit::net {

namespace {

// System calls of one direction in a row before others have their turn: a peer as fast as we are would keep the loop for itself.
// Few when reading: what came before is answered while more comes.
constexpr int kReadsPerTurn = 3;
constexpr int kWritesPerTurn = 16;
constexpr int kUnixQueueBytes = 1024 * 1024;

void set_option(int socket, int level, int name, int value) {
  // A socket that does not know an option works without it.
  (void)setsockopt(socket, level, name, &value, sizeof value);
}

// A caller's list of spans as the kernel takes it, and how far it has come.
class SpanQueue {
 public:
  template <class Span>
  void assign(std::span<const Span> spans) {
    entries_.clear();
    next_ = 0;
    for (const Span& span : spans) {
      if (span.empty()) continue;
      // The kernel's type knows no const; it only reads what is written.
      entries_.push_back({const_cast<std::byte*>(span.data()), span.size()});
    }
  }

  bool empty() const { return next_ == entries_.size(); }
  iovec* data() { return entries_.data() + next_; }
  std::size_t count() const { return std::min<std::size_t>(entries_.size() - next_, IOV_MAX); }

  void consume(std::size_t bytes) {
    while (bytes > 0) {
      iovec& entry = entries_[next_];
      const std::size_t taken = std::min(bytes, entry.iov_len);
      entry.iov_base = static_cast<std::byte*>(entry.iov_base) + taken;
      entry.iov_len -= taken;
      bytes -= taken;
      if (entry.iov_len == 0) ++next_;
    }
  }

 private:
  std::vector<iovec> entries_;  // its memory is reused from call to call
  std::size_t next_ = 0;
};

// What outlives the Stream object for as long as a wait or a posted turn still refers to it. One direction's state is a Lane: the
// lane is `running` while its loop is on the stack, and whatever is started inside a `done` only fills the lane for that loop.
class Connection final : public Waiter, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Reactor& reactor, int descriptor)
      : reactor_(reactor),
        read_end_{reactor.watch(descriptor), descriptor},
        write_end_{read_end_.watch, descriptor},
        is_socket_(true),
        peer_(SocketAddress::peer_of(descriptor)) {
    const Address address = peer_.address();
    peer_text_ = peer_.family() == AF_UNIX ? "unix:" + address.unix_path : address.text();
  }
  Connection(Reactor& reactor, int read_descriptor, int write_descriptor, std::string name)
      : reactor_(reactor),
        read_end_(open_end(reactor, read_descriptor)),
        write_end_(open_end(reactor, write_descriptor)),
        is_socket_(false),
        peer_text_(std::move(name)) {}

  void read(std::span<const MutableBytes> into, Done<std::size_t> done) {
    GODWIT_CHECK(!reader_.done);
    reader_.spans.assign(into);
    GODWIT_CHECK(!reader_.spans.empty());
    reader_.done = std::move(done);
    if (!reader_.running && !reader_.waiting) run_reader();
  }

  void read_into(ReadRoom& room, Done<std::size_t> done) {
    GODWIT_CHECK(!reader_.done);
    room_ = &room;
    reader_.done = std::move(done);
    if (!reader_.running && !reader_.waiting) run_reader();
  }

  void write(std::span<const ConstBytes> from, Done<void> done) {
    GODWIT_CHECK(!writer_.done);
    writer_.spans.assign(from);
    writer_.done = std::move(done);
    if (!writer_.running && !writer_.waiting) run_writer();
  }

  void shut_down_sending() {
    end_after_write_ = true;
    if (!writer_.done && !closed_) end_sending();
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    room_ = nullptr;
    read_end_.close();
    write_end_.close();
    reader_.waiting = writer_.waiting = false;
    if (reader_.done && !reader_.running) post_turn(reader_, &Connection::run_reader);
    if (writer_.done && !writer_.running) post_turn(writer_, &Connection::run_writer);
  }

  // The Stream object goes: nobody is told anything any more.
  void abandon() {
    close();
    // Taken out first: what they own may be the last that holds this connection's owner.
    Done<std::size_t> read_done = std::move(reader_.done);
    Done<void> write_done = std::move(writer_.done);
    reader_.done = nullptr;
    writer_.done = nullptr;
  }

  int descriptor() const { return read_end_.descriptor; }
  bool is_socket() const { return is_socket_; }
  const SocketAddress& peer() const { return peer_; }
  const std::string& peer_text() const { return peer_text_; }

  void handle_readable() override {
    reader_.waiting = false;
    run_reader();
  }
  void handle_writable() override {
    writer_.waiting = false;
    run_writer();
  }

 private:
  // A descriptor and its watch; what is always ready (a regular file, /dev/null) has none.
  struct End {
    std::shared_ptr<Watch> watch;
    int descriptor = -1;

    void close() {
      if (descriptor < 0) return;
      if (watch)
        watch->close();
      else
        ::close(descriptor);
      descriptor = -1;
    }
  };
  static End open_end(Reactor& reactor, int descriptor) {
    struct stat status{};
    const bool can_wait =
        fstat(descriptor, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode) || isatty(descriptor));
    if (!can_wait) return {nullptr, descriptor};
    (void)fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    return {reactor.watch(descriptor), descriptor};
  }

  template <class T>
  struct Lane {
    SpanQueue spans;
    Done<T> done;  // set while an operation is under way
    bool running = false;
    bool waiting = false;  // for the descriptor or for a posted turn
  };

  template <class T>
  void post_turn(Lane<T>& lane, void (Connection::*run)()) {
    lane.waiting = true;
    reactor_.post([self = shared_from_this(), &lane, run] {
      lane.waiting = false;
      ((*self).*run)();
    });
  }

  template <class T>
  void finish(Lane<T>& lane, Result<T> result) {
    Done<T> done = std::move(lane.done);
    lane.done = nullptr;
    done(std::move(result));
  }

  void run_reader() {
    if (reader_.running) return;
    const std::shared_ptr<Connection> self = shared_from_this();  // a `done` may destroy the Stream
    reader_.running = true;
    for (int round = 0; reader_.done; ++round) {
      if (closed_) {
        room_ = nullptr;
        finish<std::size_t>(reader_, fail(cancelled("read from")));
      } else if (round == kReadsPerTurn) {
        post_turn(reader_, &Connection::run_reader);
        break;
      } else {
        if (room_ != nullptr) reader_.spans.assign(room_->room());
        const ssize_t count = receive();
        if (count >= 0) {
          room_ = nullptr;
          finish<std::size_t>(reader_, static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {
          if (room_ != nullptr) room_->unused();
          reader_.waiting = true;
          read_end_.watch->wait_readable(self);
          break;
        } else if (errno != EINTR) {
          room_ = nullptr;
          finish<std::size_t>(reader_, fail(lost("read from", errno)));
        }
      }
    }
    reader_.running = false;
  }

  void run_writer() {
    if (writer_.running) return;
    const std::shared_ptr<Connection> self = shared_from_this();
    writer_.running = true;
    for (int round = 0; writer_.done; ++round) {
      if (closed_) {
        finish<void>(writer_, fail(cancelled("write to")));
      } else if (writer_.spans.empty()) {
        finish<void>(writer_, {});
      } else if (round >= kWritesPerTurn) {
        post_turn(writer_, &Connection::run_writer);
        break;
      } else {
        const ssize_t count = transmit();
        if (count >= 0) {
          writer_.spans.consume(static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {
          writer_.waiting = true;
          write_end_.watch->wait_writable(self);
          break;
        } else if (errno != EINTR) {
          finish<void>(writer_, fail(lost("write to", errno)));
        }
      }
    }
    writer_.running = false;
    if (end_after_write_ && !writer_.done && !closed_) end_sending();
  }

  ssize_t receive() {
    iovec* spans = reader_.spans.data();
    if (is_socket_ && reader_.spans.count() == 1) return ::recv(read_end_.descriptor, spans->iov_base, spans->iov_len, 0);
    return ::readv(read_end_.descriptor, spans, static_cast<int>(reader_.spans.count()));
  }

  ssize_t transmit() {
    const int descriptor = write_end_.descriptor;
    iovec* spans = writer_.spans.data();
    if (!is_socket_) return ::writev(descriptor, spans, static_cast<int>(writer_.spans.count()));
    if (writer_.spans.count() == 1) return ::send(descriptor, spans->iov_base, spans->iov_len, MSG_NOSIGNAL);
    msghdr message{};
    message.msg_iov = spans;
    message.msg_iovlen = writer_.spans.count();
    return ::sendmsg(descriptor, &message, MSG_NOSIGNAL);
  }

  void end_sending() {
    if (is_socket_)
      ::shutdown(write_end_.descriptor, SHUT_WR);
    else
      write_end_.close();
  }

  Error cancelled(std::string_view what) const {
    return Error(ErrorKind::cancelled, fmt::format("{} {}: the stream was closed", what, peer_text_));
  }
  // Whatever the number, the stream is of no use any more.
  Error lost(std::string_view what, int number) const {
    const std::string tried = fmt::format("{} {}", what, peer_text_);
    return Error(ErrorKind::connection_lost, Error::from_errno(number, tried).message());
  }

  Reactor& reactor_;
  End read_end_, write_end_;  // of a socket: the same
  const bool is_socket_;
  const SocketAddress peer_;
  std::string peer_text_;
  Lane<std::size_t> reader_;
  ReadRoom* room_ = nullptr;  // where the read under way goes, if it did not bring its list
  Lane<void> writer_;
  bool closed_ = false;
  bool end_after_write_ = false;
};

class StreamSocket final : public Stream {
 public:
  explicit StreamSocket(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~StreamSocket() override { connection_->abandon(); }

  void read(std::span<const MutableBytes> into, Done<std::size_t> done) override { connection_->read(into, std::move(done)); }
  void read_into(ReadRoom& room, Done<std::size_t> done) override { connection_->read_into(room, std::move(done)); }
  void write(std::span<const ConstBytes> from, Done<void> done) override { connection_->write(from, std::move(done)); }
  void shut_down_sending() override { connection_->shut_down_sending(); }
  void close() override { connection_->close(); }

  // Unix sockets have no such bound; their queue is short by itself.
  void limit_unsent(std::size_t bytes) override {
    if (connection_->is_socket() && connection_->peer().family() != AF_UNIX)
      set_option(connection_->descriptor(), IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                 static_cast<int>(std::min<std::size_t>(bytes, INT_MAX)));
  }

  Address peer() const override {
    if (!connection_->is_socket()) return {"", 0, connection_->peer_text()};
    Address address = connection_->peer().address();
    if (connection_->peer().family() == AF_UNIX && address.unix_path.empty()) address.unix_path = "(unnamed)";
    return address;
  }

  std::optional<std::uint32_t> peer_user_id() const override {
    if (!connection_->is_socket() || connection_->peer().family() != AF_UNIX) return std::nullopt;
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (getsockopt(connection_->descriptor(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
    return credentials.uid;
  }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace

std::unique_ptr<Stream> make_stream(Reactor& reactor, int descriptor) {
  GODWIT_CHECK(descriptor >= 0);
  (void)fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  const int family = SocketAddress::local_of(descriptor).family();
  if (family == AF_INET || family == AF_INET6) {
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(descriptor, IPPROTO_TCP, TCP_KEEPCNT, 3);
  } else if (family == AF_UNIX) {
    // Writing goes on only when three quarters of the queue are free: with the usual 208 KiB either end would often wait for the
    // other. The kernel's own bound (net.core.wmem_max) still holds.
    set_option(descriptor, SOL_SOCKET, SO_SNDBUF, kUnixQueueBytes);
  }
  return std::make_unique<StreamSocket>(std::make_shared<Connection>(reactor, descriptor));
}

std::unique_ptr<Stream> make_pipe_stream(Reactor& reactor, int read_descriptor, int write_descriptor, std::string name) {
  GODWIT_CHECK(read_descriptor >= 0 && write_descriptor >= 0 && read_descriptor != write_descriptor);
  return std::make_unique<StreamSocket>(
      std::make_shared<Connection>(reactor, read_descriptor, write_descriptor, std::move(name)));
}

}  // namespace godwit::net
