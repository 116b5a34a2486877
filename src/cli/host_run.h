// A command that is a host for a while: starts the process on its data directory, runs the loop, and ends in order at SIGTERM and
// SIGINT.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "cli/console.h"
#include "cli/settings.h"
#include "host/control_socket.h"
#include "host/volume_process.h"
#include "host/volume_verbs.h"

namespace godwit::cli {

class HostRun {
 public:
  // ErrorKind::busy where another process has the data directory.
  static Result<std::unique_ptr<HostRun>> start(const Settings& settings, host::ProcessOptions options);

  host::VolumeProcess& process() { return *process_; }
  host::VolumeVerbs& verbs() { return *verbs_; }
  net::EventLoop& loop() { return *loop_; }
  // Calls `again` every `seconds` until the run ends.
  void every(double seconds, std::function<void()> again);
  // The exit code when a signal ends it.
  void set_interrupted_code(int code) { interrupted_code_ = code; }
  // Called once when the run ends, while everything is still there.
  void before_end(std::function<void()> last) { before_end_ = std::move(last); }
  // Ends the run, in order; the first code counts.
  void end(int code);
  // Until end() or a signal; gives the exit code.
  int run();

 private:
  HostRun() = default;

  std::unique_ptr<net::EventLoop> loop_;
  std::unique_ptr<host::VolumeProcess> process_;
  std::unique_ptr<host::VolumeVerbs> verbs_;
  std::unique_ptr<host::ControlServer> control_;
  std::function<void()> before_end_;
  int code_ = kDone;
  int interrupted_code_ = kDone;
  bool ending_ = false;
};

}  // namespace godwit::cli
