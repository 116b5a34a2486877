// A Stream over a connected TCP or Unix socket. Internal to net; programs get theirs from EventLoop.
#pragma once

#include <memory>

#include "net/reactor.h"
#include "net/stream.h"

namespace godwit::net {

// Takes `descriptor`, a connected stream socket, makes it non-blocking and sets what every connection of ours has: no delay of
// small writes, keep-alive that notices a dead peer within half a minute.
std::unique_ptr<Stream> make_stream(Reactor& reactor, int descriptor);

}  // namespace godwit::net
