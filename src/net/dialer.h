// Outgoing connections. Internal to net; programs connect through EventLoop.
#pragma once

#include <memory>

#include "net/reactor.h"
#include "net/stream.h"

namespace godwit::net {

// Tries the addresses of `to` in the resolver's order until one accepts; the error is the last one's. No time limit but the
// system's own. `done` is never called from inside.
void dial(Reactor& reactor, const Address& to, Done<std::unique_ptr<Stream>> done);

}  // namespace godwit::net
