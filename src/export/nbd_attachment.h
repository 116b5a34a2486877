// A device of ours as a block device of this machine's kernel (/dev/nbdN), read-only: the kernel's NBD client at one end of a
// pair of sockets, the server of this folder at the other. What the kernel does: linux/nbd.h and the kernel's own documentation
// of its network block device. The ioctls are used and not netlink, since then the kernel lets go of the device when the process
// ends, however it ends.
#pragma once

#include <memory>
#include <string>

#include "net/buffer_pool.h"
#include "net/event_loop.h"
#include "store/block_device.h"

namespace godwit::exports {

class NbdAttachment {
 public:
  // At `node`, or if that is empty at the first device nobody uses; a node that is not there is a name for that device
  // (nbd_name.h). Everything outlives the attachment, and requests are answered on the loop's thread, which must never wait for
  // something that lies on the device. The kernel counts sectors of 512 bytes; the last is filled up with zeros. `ready` is
  // called once, when the device can be read and its partitions are known; `ended` at most once, when the kernel has let go:
  // after detach(), because somebody else has disconnected it, or with an error. ErrorKind::invalid for a device of no bytes,
  // not_found without the kernel's module, busy where the device or all of them are in use, refused for who may not.
  static Result<std::unique_ptr<NbdAttachment>> attach(net::EventLoop& loop, net::BufferPool& buffers, store::BlockDevice& device,
                                                       const std::string& node, net::Task ready, net::Done<void> ended);
  // At once: who reads gets errors from then on.
  ~NbdAttachment();
  NbdAttachment(const NbdAttachment&) = delete;
  NbdAttachment& operator=(const NbdAttachment&) = delete;

  // "/dev/nbd0", or the node that was asked for; a name's link only once it is there, which `ready` has waited a while for.
  const std::string& node() const;
  // Tells the kernel that no more is to come; requests under way are answered before the end, however long that takes.
  void detach();

 private:
  class Session;
  explicit NbdAttachment(std::shared_ptr<Session> session) : session_(std::move(session)) {}
  std::shared_ptr<Session> session_;
};

}  // namespace godwit::exports
