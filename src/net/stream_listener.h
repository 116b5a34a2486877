// Listening sockets, TCP and Unix. Internal to net; programs listen through EventLoop.
#pragma once

#include <functional>
#include <memory>

#include "net/reactor.h"
#include "net/stream.h"

namespace godwit::net {

// A host name is resolved at once (listening happens at the start of a program). A Unix path whose socket still has a listener is
// ErrorKind::busy, one that is something else than a socket ErrorKind::exists.
Result<std::unique_ptr<Listener>> listen_at(Reactor& reactor, const Address& at,
                                            std::function<void(std::unique_ptr<Stream>)> accept);

}  // namespace godwit::net
