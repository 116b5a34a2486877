#include "net/stream_listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "net/descriptor.h"
#include "net/socket_address.h"
#include "net/stream_socket.h"

namespace godwit::net {

namespace {

constexpr int kAcceptsPerTurn = 32;
// Out of descriptors or memory: the waiting connection stays readable, so asking again at once would only burn.
constexpr Duration kShortageDelay = Duration::milliseconds(100);

Error listen_error(const Address& at, int number) {
  return Error::from_errno(number, "listen at " + at.text());
}

struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
};

class Acceptor final : public Waiter, public std::enable_shared_from_this<Acceptor> {
 public:
  Acceptor(Reactor& reactor, int descriptor, std::function<void(std::unique_ptr<Stream>)> accept)
      : reactor_(reactor), watch_(reactor.watch(descriptor)), descriptor_(descriptor), accept_(std::move(accept)) {}

  void start() { watch_->wait_readable(shared_from_this()); }

  void stop() {
    stopped_ = true;
    watch_->close();
    reactor_.cancel(again_);
  }

  void handle_readable() override {
    const std::shared_ptr<Acceptor> self = shared_from_this();  // `accept` may destroy the Listener
    for (int i = 0; i < kAcceptsPerTurn && !stopped_; ++i) {
      const int socket = ::accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (socket >= 0) {
        accept_(make_stream(reactor_, socket));
      } else if (errno == EAGAIN) {
        break;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        again_ = reactor_.schedule(reactor_.now() + kShortageDelay, [self] { self->start(); });
        return;
      }
      // Any other error is of the one connection that was to be accepted (accept(2), "Error handling").
    }
    if (!stopped_) start();
  }

 private:
  Reactor& reactor_;
  std::unique_ptr<Watch> watch_;
  int descriptor_;
  std::function<void(std::unique_ptr<Stream>)> accept_;
  TimerId again_;
  bool stopped_ = false;
};

class SocketListener final : public Listener {
 public:
  SocketListener(Reactor& reactor, int descriptor, Address address, FileIdentity file,
                 std::function<void(std::unique_ptr<Stream>)> accept)
      : acceptor_(std::make_shared<Acceptor>(reactor, descriptor, std::move(accept))), address_(std::move(address)), file_(file) {
    acceptor_->start();
  }

  ~SocketListener() override {
    acceptor_->stop();
    struct stat now{};
    // Somebody may have replaced our dead-looking name meanwhile; only our own goes.
    if (address_.is_unix() && lstat(address_.unix_path.c_str(), &now) == 0 && now.st_dev == file_.device &&
        now.st_ino == file_.inode)
      ::unlink(address_.unix_path.c_str());
  }

  Address address() const override { return address_; }

 private:
  std::shared_ptr<Acceptor> acceptor_;
  Address address_;
  FileIdentity file_;
};

Result<Descriptor> open_socket(const Address& at, const SocketAddress& where) {
  Descriptor socket(::socket(where.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return fail(listen_error(at, errno));
  return socket;
}

// Whether somebody listens at a Unix address; anything but a clear "no" counts as yes.
bool has_listener(const SocketAddress& where) {
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (probe.get() < 0) return true;
  return ::connect(probe.get(), where.data(), where.size()) == 0 || errno != ECONNREFUSED;
}

// Binds to a path, where the socket of a dead process may lie. Two processes that both find a dead one take turns by a lock on
// the folder, so that the second sees the first's socket alive.
Result<void> bind_path(int socket, const Address& at, const SocketAddress& where) {
  const std::size_t slash = at.unix_path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : at.unix_path.substr(0, slash + 1);
  const Descriptor lock(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0) return fail(listen_error(at, errno));
  while (::flock(lock.get(), LOCK_EX) != 0)
    if (errno != EINTR) return fail(listen_error(at, errno));

  ::fchmod(socket, 0600);  // what bind() then gives the name
  if (::bind(socket, where.data(), where.size()) != 0) {
    if (errno != EADDRINUSE) return fail(listen_error(at, errno));
    struct stat existing{};
    if (lstat(at.unix_path.c_str(), &existing) != 0) return fail(listen_error(at, errno));
    if (!S_ISSOCK(existing.st_mode)) return fail(ErrorKind::exists, fmt::format("listen at {}: a file is there", at.text()));
    if (has_listener(where)) return fail(ErrorKind::busy, fmt::format("listen at {}: somebody listens there", at.text()));
    if (::unlink(at.unix_path.c_str()) != 0 || ::bind(socket, where.data(), where.size()) != 0)
      return fail(listen_error(at, errno));
  }
  if (::listen(socket, SOMAXCONN) != 0) return fail(listen_error(at, errno));
  return {};
}

Result<std::unique_ptr<Listener>> listen_at_path(Reactor& reactor, const Address& at,
                                                 std::function<void(std::unique_ptr<Stream>)> accept) {
  Result<SocketAddress> where = SocketAddress::of_unix(at.unix_path);
  if (!where) return fail(where.error());
  Result<Descriptor> socket = open_socket(at, *where);
  if (!socket) return fail(socket.error());
  if (Result<void> bound = bind_path(socket->get(), at, *where); !bound) return fail(bound.error());
  struct stat file{};
  if (lstat(at.unix_path.c_str(), &file) != 0) return fail(listen_error(at, errno));
  return std::make_unique<SocketListener>(reactor, socket->release(), at, FileIdentity{file.st_dev, file.st_ino},
                                          std::move(accept));
}

Result<SocketAddress> resolve_now(const Address& at) {
  if (std::optional<SocketAddress> number = SocketAddress::of_number(at.host, at.port)) return *number;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(at.host.c_str(), std::to_string(at.port).c_str(), &hints, &found);
  if (status != 0) return fail(ErrorKind::not_found, fmt::format("listen at {}: {}", at.text(), gai_strerror(status)));
  SocketAddress first(found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return first;
}

Result<std::unique_ptr<Listener>> listen_at_port(Reactor& reactor, const Address& at,
                                                 std::function<void(std::unique_ptr<Stream>)> accept) {
  Result<SocketAddress> where = resolve_now(at);
  if (!where) return fail(where.error());
  Result<Descriptor> socket = open_socket(at, *where);
  if (!socket) return fail(socket.error());
  const int on = 1;
  (void)setsockopt(socket->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // "::" means IPv6 only, whatever the system's default: an IPv4 peer would otherwise come in under a mapped address.
  if (where->family() == AF_INET6) (void)setsockopt(socket->get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(socket->get(), where->data(), where->size()) != 0) return fail(listen_error(at, errno));
  if (::listen(socket->get(), SOMAXCONN) != 0) return fail(listen_error(at, errno));
  Address chosen = SocketAddress::local_of(socket->get()).address();
  return std::make_unique<SocketListener>(reactor, socket->release(), std::move(chosen), FileIdentity{}, std::move(accept));
}

}  // namespace

Result<std::unique_ptr<Listener>> listen_at(Reactor& reactor, const Address& at,
                                            std::function<void(std::unique_ptr<Stream>)> accept) {
  return at.is_unix() ? listen_at_path(reactor, at, std::move(accept)) : listen_at_port(reactor, at, std::move(accept));
}

}  // namespace godwit::net
