// The production Scheduler and Network over Asio: one thread runs run(). Asio itself stays in the .cc files.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "net/scheduler.h"
#include "net/stream.h"

namespace godwit::net {

class Reactor;

class EventLoop final : public Scheduler, public Network {
 public:
  EventLoop();
  ~EventLoop() override;

  // Runs turns until stop(), or until nothing is left to wait for.
  void run();
  // Thread-safe; run() returns after the current turn.
  void stop();

  Instant now() const override;  // steady clock, read once per turn at most costs a vDSO call
  void post(Task task) override;
  TimerId schedule(Instant when, Task task) override;
  void cancel(TimerId timer) override;
  void hold() override;
  void release() override;

  void connect(const Address& to, Done<std::unique_ptr<Stream>> done) override;
  Result<std::unique_ptr<Listener>> listen(const Address& at, std::function<void(std::unique_ptr<Stream>)> accept) override;

  // A connected socket that somebody else opened (socket activation, socketpair in tests). Takes the descriptor.
  std::unique_ptr<Stream> adopt(int descriptor);
  // Our own standard input and output, or any two descriptors, as one stream: see pipe_stream.h. Takes both.
  std::unique_ptr<Stream> adopt_pipes(int read_descriptor, int write_descriptor, std::string name);
  // For what else waits for descriptors within net (child_process.h). Lives as long as the loop.
  Reactor& reactor();

  // Calls `handler` at SIGTERM, SIGINT and SIGHUP (unless that is ignored, as by nohup) instead of dying; a second signal within
  // run() ends the process at once.
  void on_termination(std::function<void(int signal)> handler);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::net
