#include "net/dialer.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net/socket_address.h"
#include "net/stream_socket.h"

namespace godwit::net {

namespace {

class Dialer final : public Waiter, public std::enable_shared_from_this<Dialer> {
 public:
  Dialer(Reactor& reactor, const Address& to, Done<std::unique_ptr<Stream>> done)
      : reactor_(reactor), to_(to), done_(std::move(done)) {}

  void start() {
    if (to_.is_unix()) {
      Result<SocketAddress> path = SocketAddress::of_unix(to_.unix_path);
      if (!path) return done_(fail(path.error()));
      candidates_.push_back(*path);
      return try_next();
    }
    if (std::optional<SocketAddress> number = SocketAddress::of_number(to_.host, to_.port)) {
      candidates_.push_back(*number);
      return try_next();
    }
    reactor_.resolve(to_.host, to_.port, [self = shared_from_this()](Result<std::vector<SocketAddress>> found) {
      if (!found) return self->done_(fail(std::move(found.error()).within("connect to " + self->to_.text())));
      self->candidates_ = std::move(*found);
      self->try_next();
    });
  }

  // The attempt under way has been decided; the socket says how.
  void handle_writable() override {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(watch_->descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    if (error != 0) {
      last_error_ = error;
      return try_next();
    }
    const int connected = watch_->release();
    watch_.reset();
    finish(connected);
  }

 private:
  void try_next() {
    watch_.reset();
    while (next_ < candidates_.size()) {
      const SocketAddress& candidate = candidates_[next_++];
      const int socket = ::socket(candidate.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (socket < 0) {
        last_error_ = errno;
        continue;
      }
      if (::connect(socket, candidate.data(), candidate.size()) == 0) return finish(socket);
      last_error_ = errno;
      if (last_error_ == EINPROGRESS) {
        watch_ = reactor_.watch(socket);
        return watch_->wait_writable(shared_from_this());
      }
      ::close(socket);
    }
    finish(-1);
  }

  void finish(int connected) {
    // In a later turn, as every Done; the stream lies with the task until then.
    std::unique_ptr<Stream> stream = connected >= 0 ? make_stream(reactor_, connected) : nullptr;
    reactor_.post([self = shared_from_this(), stream = std::move(stream)]() mutable {
      if (!stream) return self->done_(fail(self->connect_error()));
      self->done_(std::move(stream));
    });
  }

  Error connect_error() const {
    Error error = Error::from_errno(last_error_, "connect to " + to_.text());
    // No way there is the same to a caller as nobody there.
    if (last_error_ == EHOSTUNREACH || last_error_ == ENETUNREACH) return Error(ErrorKind::connection_lost, error.message());
    return error;
  }

  Reactor& reactor_;
  const Address to_;
  Done<std::unique_ptr<Stream>> done_;
  std::vector<SocketAddress> candidates_;
  std::size_t next_ = 0;
  std::unique_ptr<Watch> watch_;  // of the attempt under way
  int last_error_ = 0;
};

}  // namespace

void dial(Reactor& reactor, const Address& to, Done<std::unique_ptr<Stream>> done) {
  auto dialer = std::make_shared<Dialer>(reactor, to, std::move(done));
  reactor.post([dialer] { dialer->start(); });
}

}  // namespace godwit::net
