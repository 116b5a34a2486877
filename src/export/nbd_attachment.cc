#include "export/nbd_attachment.h"

#include <fcntl.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <limits>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "export/nbd_devices.h"
#include "export/nbd_name.h"
#include "export/nbd_server.h"
#include "export/whole_sectors.h"
#include "net/descriptor.h"

namespace godwit::exports {

namespace {

constexpr const char* kSysfs = "/sys";
constexpr const char* kName = "device";
// How often it is looked whether the device, or its link, is there yet; it takes a few such looks.
constexpr Duration kLook = Duration::milliseconds(5);
// How long udev may take for the link.
constexpr Duration kLinkTimeMax = Duration::seconds(5);

// For what waits in the kernel: a signal that came there would end the device instead of being handled in order.
template <class Work>
std::thread thread_without_signals(Work work) {
  ::sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(work));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

Error ioctl_error(int number, const std::string& node) {
  if (number == EPERM || number == EACCES) return {ErrorKind::refused, fmt::format("attach at {}: only root may do that", node)};
  if (number == EBUSY) return {ErrorKind::busy, fmt::format("attach at {}: it is in use", node)};
  return Error::from_errno(number, "attach at " + node);
}

}  // namespace

// Two threads beside the loop's: one lies in the kernel for as long as the device is there, the other opens the device once,
// which lets the kernel read its partitions, and waits for what the loop answers meanwhile.
class NbdAttachment::Session final : public std::enable_shared_from_this<Session> {
 public:
  Session(net::EventLoop& loop, net::BufferPool& buffers, store::BlockDevice& device, net::Task ready, net::Done<void> ended)
      : loop_(loop),
        sectors_(device, loop),
        server_(loop, buffers, {}, nullptr),
        ready_(std::move(ready)),
        ended_(std::move(ended)) {}
  ~Session() { end_at_once(); }

  Result<void> open(const std::string& node) {
    // Kernels do not take a device of nothing, and say so in other words.
    if (sectors_.size() == 0) return fail(ErrorKind::invalid, "it is empty, and a block device has a sector at least");
    if (sectors_.size() > std::uint64_t{std::numeric_limits<std::int64_t>::max()})
      return fail(ErrorKind::limit, "more than 2^63 bytes are no block device");
    const Result<std::vector<NbdDevice>> devices = nbd_devices(kSysfs);
    if (!devices) return fail(devices.error());
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0)
      return fail(Error::from_errno(errno, "make a pair of sockets"));
    net::Descriptor kernels(pair[0]), ours(pair[1]);
    const bool is_there = ::access(node.c_str(), F_OK) == 0;
    const std::optional<std::string> name = is_there ? std::nullopt : nbd_name_in(node);
    Result<void> taken = node.empty() || name ? take_first(*devices, kernels.get()) : take_named(*devices, node, kernels.get());
    if (!taken) return taken;
    Result<void> told = name ? set_name(*name, node) : Result<void>();
    if (told) told = tell_kernel();
    if (!told) {
      (void)::ioctl(device_.get(), NBD_CLEAR_SOCK);  // it is not attached
      return told;
    }
    ExportOptions options;
    options.name = kName;
    options.read_only = true;
    if (Result<void> added = server_.add(std::move(options), sectors_); !added) return added;
    server_.accept_agreed(loop_.adopt(ours.release()), kName);
    return {};
  }

  void start() {
    loop_.hold();
    kernel_thread_ = thread_without_signals([this, weak = weak_from_this()] {
      const int error = ::ioctl(device_.get(), NBD_DO_IT) == 0 ? 0 : errno;
      // What has not been answered is not waited for any more.
      (void)::ioctl(device_.get(), NBD_CLEAR_SOCK);
      loop_.post([&loop = loop_, weak, error] {
        loop.release();
        if (const auto self = weak.lock()) self->handle_end(error);
      });
    });
    look();
  }

  void detach() {
    if (!is_over_) (void)::ioctl(device_.get(), NBD_DISCONNECT);  // one that is disconnected already needs nothing
  }

  void end_at_once() {
    is_over_ = true;
    loop_.cancel(timer_);
    if (!kernel_thread_.joinable()) return;
    (void)::ioctl(device_.get(), NBD_CLEAR_SOCK);  // lets both threads go
    kernel_thread_.join();
    if (opening_thread_.joinable()) opening_thread_.join();
  }

  const std::string& node() const { return link_is_there_ ? link_ : node_; }

 private:
  // Whoever comes first after a device was free: the kernel takes one socket's thread only, and tells the others that it is busy.
  Result<void> take_first(const std::vector<NbdDevice>& devices, int socket) {
    const Result<std::vector<unsigned>> numbers = free_nbd_devices(devices);
    if (!numbers) return fail(numbers.error());
    Result<void> taken;
    for (const unsigned number : *numbers) {
      taken = take(nbd_node_of(number), number, socket);
      if (taken || taken.error().kind() != ErrorKind::busy) break;
    }
    return taken;
  }

  Result<void> take_named(const std::vector<NbdDevice>& devices, const std::string& node, int socket) {
    struct ::stat status{};
    if (::stat(node.c_str(), &status) != 0) return fail(Error::from_errno(errno, "attach at " + node));
    if (!S_ISBLK(status.st_mode)) return fail(ErrorKind::invalid, fmt::format("attach at {}: it is no block device", node));
    const Result<unsigned> number = nbd_number_of_device(kSysfs, major(status.st_rdev), minor(status.st_rdev));
    if (!number) return fail(number.error().within("attach at " + node));
    for (const NbdDevice& device : devices)
      if (device.number == *number && device.user)
        return fail(ErrorKind::busy, fmt::format("attach at {}: it is in use, by process {}", node, *device.user));
    return take(node, *number, socket);
  }

  // The socket comes first: nothing of a device that is somebody else's may be changed.
  Result<void> take(const std::string& node, unsigned number, int socket) {
    net::Descriptor device(::open(node.c_str(), O_RDONLY | O_CLOEXEC));
    if (!device.is_open()) return fail(ioctl_error(errno, node));
    if (::ioctl(device.get(), NBD_SET_SOCK, socket) != 0) return fail(ioctl_error(errno, node));
    device_ = std::move(device);
    node_ = node;
    number_ = number;
    return {};
  }

  Result<void> set_name(const std::string& name, const std::string& link) {
    Result<NbdName> named = NbdName::set(kNbdNamesFolder, number_, name);
    if (!named) return fail(std::move(named).error());
    name_.emplace(std::move(*named));
    link_ = link;
    return {};
  }

  // No timeout: a store may be slow, and a request that has taken too long would cost the whole device.
  Result<void> tell_kernel() {
    const std::pair<unsigned long, unsigned long> words[] = {
        {NBD_SET_BLKSIZE, kSectorBytes},
        {NBD_SET_SIZE_BLOCKS, sectors_.size() / kSectorBytes},
        {NBD_SET_FLAGS, NBD_FLAG_HAS_FLAGS | NBD_FLAG_READ_ONLY},
    };
    for (const auto& [word, value] : words)
      if (::ioctl(device_.get(), word, value) != 0) return fail(ioctl_error(errno, node_));
    return {};
  }

  void look() {
    if (is_over_) return;
    if (is_nbd_device_ready(kSysfs, number_, sectors_.size() / kSectorBytes)) return open_once();
    timer_ = loop_.schedule(loop_.now() + kLook, [this] { look(); });
  }

  void open_once() {
    loop_.hold();
    opening_thread_ = thread_without_signals([this, weak = weak_from_this()] {
      const net::Descriptor opened(::open(node_.c_str(), O_RDONLY | O_CLOEXEC));
      loop_.post([&loop = loop_, weak] {
        loop.release();
        if (const auto self = weak.lock()) self->look_for_link(loop.now() + kLinkTimeMax);
      });
    });
  }

  void look_for_link(Instant until) {
    if (is_over_) return;
    struct ::stat link{}, device{};
    link_is_there_ = !link_.empty() && ::stat(link_.c_str(), &link) == 0 && ::fstat(device_.get(), &device) == 0 &&
                     S_ISBLK(link.st_mode) && link.st_rdev == device.st_rdev;
    if (link_.empty() || link_is_there_ || loop_.now() >= until) {
      if (ready_) std::exchange(ready_, nullptr)();
      return;
    }
    timer_ = loop_.schedule(loop_.now() + kLook, [this, until] { look_for_link(until); });
  }

  void handle_end(int error) {
    if (std::exchange(is_over_, true)) return;
    loop_.cancel(timer_);
    if (!ended_) return;
    if (error != 0) return std::exchange(ended_, nullptr)(fail(ioctl_error(error, node_)));
    std::exchange(ended_, nullptr)({});
  }

  net::EventLoop& loop_;
  WholeSectors sectors_;
  NbdServer server_;
  net::Task ready_;
  net::Done<void> ended_;
  std::string node_;
  unsigned number_ = 0;
  std::optional<NbdName> name_;
  std::string link_;  // what udev is to make of the name
  bool link_is_there_ = false;
  net::Descriptor device_;  // not changed while threads run
  std::thread kernel_thread_;
  std::thread opening_thread_;
  net::TimerId timer_;
  bool is_over_ = false;
};

Result<std::unique_ptr<NbdAttachment>> NbdAttachment::attach(net::EventLoop& loop, net::BufferPool& buffers,
                                                             store::BlockDevice& device, const std::string& node, net::Task ready,
                                                             net::Done<void> ended) {
  auto session = std::make_shared<Session>(loop, buffers, device, std::move(ready), std::move(ended));
  if (Result<void> opened = session->open(node); !opened) return fail(std::move(opened).error());
  session->start();
  return std::unique_ptr<NbdAttachment>(new NbdAttachment(std::move(session)));
}

NbdAttachment::~NbdAttachment() {
  session_->end_at_once();
}

const std::string& NbdAttachment::node() const {
  return session_->node();
}
void NbdAttachment::detach() {
  session_->detach();
}

}  // namespace godwit::exports
