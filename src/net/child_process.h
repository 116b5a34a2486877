// A child process that is talked to over its standard input and output; its standard error is ours. Linux only, like all of net.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "net/reactor.h"
#include "net/stream.h"

namespace godwit::net {

// How it ended: by itself with a code, or by a signal.
struct ChildExit {
  int code = 0;
  int signal = 0;  // 0: by itself
  bool is_success() const { return code == 0 && signal == 0; }
  std::string text() const;  // "exit code 1", "killed by signal 15"
};

class ChildProcess {
 public:
  // Runs argv[0], looked for along PATH, with exactly these words: no shell, no quoting. Its end of both pipes is non-blocking
  // too, as programs that speak the casync protocol expect it. It is sent SIGTERM when the thread that called start() ends.
  // ErrorKind::not_found where there is no such program.
  static Result<std::unique_ptr<ChildProcess>> start(EventLoop& loop, const std::vector<std::string>& argv);
  // A child that still runs is sent SIGTERM, and SIGKILL when it has not ended within a second, which this waits for.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Once: what we write is its input, what we read its output. It may outlive this object.
  std::unique_ptr<Stream> take_stream();
  // Once: waits for its end.
  void wait(Done<ChildExit> done);
  void terminate();
  int pid() const;

 private:
  struct Impl;
  explicit ChildProcess(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::net
