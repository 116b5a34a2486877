// A Stream over two descriptors, one for each direction: the pipes of a child process, or our own standard input and output.
// Internal to net; programs get theirs from EventLoop.
#pragma once

#include <memory>
#include <string>

#include "net/reactor.h"
#include "net/stream.h"

namespace godwit::net {

// Takes both descriptors (pipes, sockets, terminals; also regular files and /dev/null, which are always ready) and makes those
// that can wait non-blocking. shut_down_sending() closes the writing one. `name` is what errors call the peer. Whoever writes
// into pipes ignores SIGPIPE.
std::unique_ptr<Stream> make_pipe_stream(Reactor& reactor, int read_descriptor, int write_descriptor, std::string name);

}  // namespace godwit::net
