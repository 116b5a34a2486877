// The socket through which a user's commands steer their running host: `control` in the data directory, one JSON object per line
// in and out. Only the user the process belongs to (and root) may speak. docs/guide/control.md has the lines.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "host/volume_verbs.h"
#include "net/event_loop.h"

namespace godwit::host {

class ControlServer {
 public:
  // All references outlive the server.
  static Result<std::unique_ptr<ControlServer>> listen(net::EventLoop& loop, const std::string& path, VolumeVerbs& verbs,
                                                       Log log);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  class Connection;
  struct Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Whether a process listens on a data directory's control socket.
bool is_host_running(const std::string& data_path);

// Speaks one request to the process that has a data directory, and gives its answer; `say` gets what comes before. Runs a loop of
// its own until then. ErrorKind::not_found where no process is running.
Result<VolumeVerbs::Object> ask_running_host(const std::string& data_path, const VolumeVerbs::Object& request,
                                             const VolumeVerbs::Say& say);

}  // namespace godwit::host
