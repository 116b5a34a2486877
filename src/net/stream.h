// An ordered, reliable stream of bytes to one peer: TCP, a Unix socket, a pipe to a child, later TLS; a simulated link in tests.
// One read and one write may be under way at a time. Destroying or closing a stream ends what is under way with
// ErrorKind::cancelled (close) or drops it silently (destruction: no callback runs afterwards).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "net/address.h"
#include "net/scheduler.h"

namespace godwit::net {

// Where a read is to put its bytes, asked for only when there may be some: who waits for long holds no memory meanwhile.
class ReadRoom {
 public:
  virtual ~ReadRoom() = default;
  // As the list that read() takes; it stands until the read has ended or unused() is called. May be asked again.
  virtual std::span<const MutableBytes> room() = 0;
  // Nothing is there yet: the memory may go until room() is asked for anew.
  virtual void unused() {}
};

class Stream {
 public:
  virtual ~Stream() = default;

  // Reads at least one byte into `into`, filling spans in order; 0 bytes mean that the peer ended its side cleanly. The span
  // list is copied; the memory must live until `done`. `done` may be called before read() returns, but not deeper than once:
  // a read started inside `done` is taken up after it has returned.
  virtual void read(std::span<const MutableBytes> into, Done<std::size_t> done) = 0;

  // As read(), into `room`, which lives until `done`. A stream that can not wait without memory asks for it at once.
  virtual void read_into(ReadRoom& room, Done<std::size_t> done) { read(room.room(), std::move(done)); }

  // Writes all of `from`, gathered into as few system calls as the kernel allows. Same rules.
  virtual void write(std::span<const ConstBytes> from, Done<void> done) = 0;

  // Ends our sending side after what was written; the peer's side goes on. For an orderly end.
  virtual void shut_down_sending() = 0;
  // Ends both sides at once. Idempotent.
  virtual void close() = 0;

  // Bounds how many bytes the kernel may hold unsent (TCP_NOTSENT_LOWAT), so that urgent frames do not queue behind bulk.
  virtual void limit_unsent(std::size_t bytes) = 0;

  // The other end as an address for people and for hints; a Unix peer is "unix:…".
  virtual Address peer() const = 0;

  // The user id of the process at the other end of a Unix socket, as the kernel vouches for it; nothing for other streams.
  virtual std::optional<std::uint32_t> peer_user_id() const { return std::nullopt; }
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops listening
  // With the port that was chosen, where 0 was asked for.
  virtual Address address() const = 0;
};

// Where streams come from.
class Network {
 public:
  virtual ~Network() = default;
  virtual void connect(const Address& to, Done<std::unique_ptr<Stream>> done) = 0;
  // A Unix listener replaces a socket nobody listens on, and has mode 0600.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& at, std::function<void(std::unique_ptr<Stream>)> accept) = 0;
};

}  // namespace godwit::net
