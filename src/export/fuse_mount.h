// A file tree where this machine mounts it, by FUSE: a folder under which every program reads it like any other file system that
// is mounted read-only. Modes are checked by the kernel; set-id bits and devices are shown and have no effect. Since nothing in
// the tree changes, the kernel may keep what it has seen for as long as it likes.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "export/file_tree.h"
#include "net/event_loop.h"

namespace godwit::exports {

struct FuseMountOptions {
  std::string folder;  // where; it exists
  std::string source;  // what `mount` shows as the device
};

class FuseMount {
 public:
  // Everything outlives the mount; requests are answered on the loop's thread, which must never wait for something below `folder`
  // itself. `ready` is called once, when the kernel has taken it; `ended` at most once, when somebody else has unmounted it. What
  // can not be read is EIO for whoever reads it, and a line in `log` with the path and the cause.
  static Result<std::unique_ptr<FuseMount>> mount(net::EventLoop& loop, FileTree& tree, const FuseMountOptions& options,
                                                  const Log& log, net::Task ready, net::Task ended);
  // Unmounts, also while files are open: their readers get errors from then on.
  ~FuseMount();
  FuseMount(const FuseMount&) = delete;
  FuseMount& operator=(const FuseMount&) = delete;

 private:
  class Session;
  explicit FuseMount(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  std::shared_ptr<Session> session_;
};

}  // namespace godwit::exports
