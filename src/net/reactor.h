// What the parts of the event loop need of each other, so that Asio stays in event_loop.cc: one descriptor's readiness, and name
// resolution. Internal to net, but for who waits for a descriptor of the kernel's that is no stream (export/fuse_mount.cc).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/scheduler.h"
#include "net/socket_address.h"

namespace godwit::net {

// Who waits for a descriptor. The reactor shares it from a wait until its end, also when the descriptor is closed meanwhile.
class Waiter {
 public:
  virtual ~Waiter() = default;
  virtual void handle_readable() {}
  virtual void handle_writable() {}
};

// An open descriptor, closed with the object. At most one wait per direction; a wait is one-shot and may end for nothing (try
// again and look). After close() no handler is called.
class Watch {
 public:
  virtual ~Watch() = default;
  virtual int descriptor() const = 0;
  virtual void wait_readable(std::shared_ptr<Waiter> waiter) = 0;
  virtual void wait_writable(std::shared_ptr<Waiter> waiter) = 0;
  virtual void close() = 0;
  // Gives the descriptor up, open; ends the waits as close() does.
  virtual int release() = 0;
};

class Reactor : public Scheduler {
 public:
  // Takes the descriptor, which is non-blocking.
  virtual std::unique_ptr<Watch> watch(int descriptor) = 0;
  // Off this thread; at least one address, or an error.
  virtual void resolve(const std::string& host, std::uint16_t port, Done<std::vector<SocketAddress>> done) = 0;
};

}  // namespace godwit::net
