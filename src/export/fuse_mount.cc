#include "export/fuse_mount.h"

// The version of libfuse's interface that this is written for.
#define FUSE_USE_VERSION 314

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/msdos_fs.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fuse3/fuse_lowlevel.h>

#include "net/buffer_pool.h"
#include "net/reactor.h"

namespace godwit::exports {

namespace {

constexpr double kForeverSeconds = 86400.0 * 365;  // nothing ever changes
constexpr std::size_t kReadBytesMax = 1024 * 1024;
constexpr std::size_t kBufferBytes = 32 * 1024 * 1024;  // of requests under way; more are answered all the same
constexpr unsigned kBackgroundMax = 64;                 // the kernel's own reads ahead that may be under way
constexpr int kRequestsPerTurn = 32;                    // then others on the loop have their turn
constexpr std::size_t kBlockBytes = 4096;

struct ::stat stat_of(FileId id, const FileStatus& status) {
  struct ::stat out{};
  out.st_ino = id.value;
  out.st_mode = status.mode;
  out.st_nlink = 1;  // of a folder this says that nobody has counted, as on btrfs
  out.st_uid = status.uid;
  out.st_gid = status.gid;
  out.st_size = static_cast<off_t>(status.size);
  out.st_blksize = kBlockBytes;
  out.st_blocks = static_cast<blkcnt_t>((status.size + 511) / 512);
  out.st_rdev = makedev(status.device_major, status.device_minor);
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t rest = (status.mtime_ns % kSecond + kSecond) % kSecond;
  out.st_mtim = {(status.mtime_ns - rest) / kSecond, static_cast<long>(rest)};
  out.st_ctim = out.st_atim = out.st_mtim;
  return out;
}

Result<void> check_folder(const std::string& folder) {
  struct ::stat status{};
  if (::stat(folder.c_str(), &status) != 0) {
    const int number = errno;
    Error error = Error::from_errno(number, "mount at " + folder);
    if (number == ENOTCONN)
      return fail(error.kind(), error.message() + " (a mount whose process is gone is still there: unmount it first)");
    return fail(std::move(error));
  }
  if (!S_ISDIR(status.st_mode)) return fail(ErrorKind::invalid, fmt::format("mount at {}: it is no folder", folder));
  const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (device < 0)
    return fail(
        Error::from_errno(errno, "open /dev/fuse (FUSE is not there, or not for this user)").within("mount at " + folder));
  ::close(device);
  return {};
}

}  // namespace

// What libfuse calls is static and finds its session in the request; everything happens within handle_readable() or in a `done`
// of the tree, on the loop's thread.
class FuseMount::Session final : public net::Waiter, public std::enable_shared_from_this<Session> {
 public:
  Session(net::EventLoop& loop, FileTree& tree, const Log& log, net::Task ready, net::Task ended)
      : loop_(loop), tree_(tree), log_(log), ready_(std::move(ready)), ended_(std::move(ended)), buffers_(kBufferBytes) {}
  ~Session() override { close(); }

  Result<void> open(const FuseMountOptions& options) {
    if (Result<void> possible = check_folder(options.folder); !possible) return possible;
    std::string source = options.source;
    std::ranges::replace(source, ',', '_');  // it stands between commas
    std::ranges::replace(source, '\\', '_');
    std::string settings = "ro,default_permissions,subtype=godwit,fsname=" + source;
    if (::geteuid() == 0) settings += ",allow_other";  // others need a setting of root's in /etc/fuse.conf
    std::vector<std::string> words = {"godwit", "-o", settings};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    fuse_args args = FUSE_ARGS_INIT(static_cast<int>(arguments.size()), arguments.data());
    const fuse_lowlevel_ops operations = operations_table();
    session_ = fuse_session_new(&args, &operations, sizeof operations, this);
    fuse_opt_free_args(&args);
    if (session_ == nullptr) return fail(ErrorKind::io, "libfuse could not begin a session; its own message stands above");
    if (fuse_session_mount(session_, options.folder.c_str()) != 0) {
      fuse_session_destroy(std::exchange(session_, nullptr));
      return fail(ErrorKind::io, fmt::format("could not mount at {}; libfuse's own message stands above", options.folder));
    }
    // The session closes its descriptor when it unmounts; the loop has one of its own of the same open file.
    const int descriptor = ::fcntl(fuse_session_fd(session_), F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0 || ::fcntl(descriptor, F_SETFL, O_NONBLOCK) != 0) {
      const Error error = Error::from_errno(errno, "prepare the FUSE connection");
      if (descriptor >= 0) ::close(descriptor);
      close();
      return fail(error);
    }
    watch_ = loop_.reactor().watch(descriptor);
    watch_->wait_readable(shared_from_this());
    return {};
  }

  void close() {
    if (session_ == nullptr) return;
    if (watch_) watch_->close();
    watch_.reset();
    // Answers free what libfuse holds for a request.
    for (auto& [number, pending] : std::exchange(pending_, {})) (void)fuse_reply_err(pending->request, EIO);
    fuse_session_unmount(session_);
    fuse_session_destroy(std::exchange(session_, nullptr));
    std::free(buffer_.mem);
    buffer_.mem = nullptr;
  }

  void handle_readable() override {
    const auto self = shared_from_this();
    for (int i = 0; i < kRequestsPerTurn && session_ != nullptr; ++i) {
      const int size = fuse_session_receive_buf(session_, &buffer_);
      if (size == -EAGAIN || size == -EINTR) break;
      if (size <= 0) {  // unmounted
        if (ended_) loop_.post(std::exchange(ended_, nullptr));
        return;
      }
      fuse_session_process_buf(session_, &buffer_);
    }
    if (session_ != nullptr && watch_) watch_->wait_readable(self);
  }

 private:
  // A request that is answered later, or interrupted before.
  struct Pending {
    Session* session = nullptr;
    std::uint64_t number = 0;
    fuse_req_t request = nullptr;
  };

  static Session& of(fuse_req_t request) { return *static_cast<Session*>(fuse_req_userdata(request)); }

  static fuse_lowlevel_ops operations_table() {
    fuse_lowlevel_ops table{};
    table.init = [](void* self, fuse_conn_info* connection) { static_cast<Session*>(self)->init(*connection); };
    table.lookup = [](fuse_req_t r, fuse_ino_t folder, const char* name) { of(r).lookup(r, FileId{folder}, name); };
    table.getattr = [](fuse_req_t r, fuse_ino_t file, fuse_file_info*) { of(r).getattr(r, FileId{file}); };
    table.readlink = [](fuse_req_t r, fuse_ino_t file) { of(r).readlink(r, FileId{file}); };
    table.open = [](fuse_req_t r, fuse_ino_t, fuse_file_info* info) {
      info->keep_cache = 1;
      (void)fuse_reply_open(r, info);
    };
    table.opendir = [](fuse_req_t r, fuse_ino_t, fuse_file_info* info) {
      info->keep_cache = 1;
      info->cache_readdir = 1;
      (void)fuse_reply_open(r, info);
    };
    table.read = [](fuse_req_t r, fuse_ino_t file, std::size_t size, off_t offset, fuse_file_info*) {
      of(r).read(r, FileId{file}, size, static_cast<std::uint64_t>(offset));
    };
    table.readdir = [](fuse_req_t r, fuse_ino_t folder, std::size_t size, off_t place, fuse_file_info*) {
      of(r).readdir(r, FileId{folder}, size, static_cast<std::uint64_t>(place));
    };
    table.getxattr = [](fuse_req_t r, fuse_ino_t file, const char* name, std::size_t size) {
      of(r).getxattr(r, FileId{file}, name, size);
    };
    table.listxattr = [](fuse_req_t r, fuse_ino_t file, std::size_t size) { of(r).listxattr(r, FileId{file}, size); };
    table.ioctl = [](fuse_req_t r, fuse_ino_t file, unsigned command, void*, fuse_file_info*, unsigned, const void*, std::size_t,
                     std::size_t out_size) { of(r).ioctl(r, FileId{file}, command, out_size); };
    table.statfs = [](fuse_req_t r, fuse_ino_t) { of(r).statfs(r); };
    return table;
  }

  void init(fuse_conn_info& connection) {
    // With it, the kernel lets ACLs decide, and lets us tell them.
    connection.want |= connection.capable & (FUSE_CAP_POSIX_ACL | FUSE_CAP_CACHE_SYMLINKS);
    connection.max_background = kBackgroundMax;
    if (ready_) loop_.post(std::exchange(ready_, nullptr));  // a turn later, when the kernel has its answer
  }

  void lookup(fuse_req_t request, FileId folder, const char* name) {
    const std::optional<FileStatus> of_folder = tree_.status(folder);
    if (!of_folder || !S_ISDIR(of_folder->mode)) return (void)fuse_reply_err(request, ENOTDIR);
    fuse_entry_param entry{};
    entry.entry_timeout = entry.attr_timeout = kForeverSeconds;
    // Number 0 lets the kernel remember that there is none.
    if (const std::optional<FileId> found = tree_.find(folder, name)) {
      entry.ino = found->value;
      entry.attr = stat_of(*found, *tree_.status(*found));
    }
    (void)fuse_reply_entry(request, &entry);
  }

  void getattr(fuse_req_t request, FileId file) {
    const std::optional<FileStatus> status = tree_.status(file);
    if (!status) return (void)fuse_reply_err(request, ENOENT);
    const struct ::stat attributes = stat_of(file, *status);
    (void)fuse_reply_attr(request, &attributes, kForeverSeconds);
  }

  void readdir(fuse_req_t request, FileId folder, std::size_t size, std::uint64_t place) {
    const std::optional<FileStatus> status = tree_.status(folder);
    if (!status || !S_ISDIR(status->mode)) return (void)fuse_reply_err(request, ENOTDIR);
    std::vector<char> out(std::min(size, kReadBytesMax));
    std::size_t used = 0;
    for (;; ++place) {
      FileChild child;
      if (place == 0)
        child = {".", folder, S_IFDIR};
      else if (place == 1)
        child = {"..", tree_.parent(folder), S_IFDIR};
      else if (const std::optional<FileChild> next = tree_.child(folder, place - 2))
        child = *next;
      else
        break;
      struct ::stat kind{};
      kind.st_ino = child.id.value;
      kind.st_mode = child.mode;
      const std::string name(child.name);
      const std::size_t needed =
          fuse_add_direntry(request, out.data() + used, out.size() - used, name.c_str(), &kind, static_cast<off_t>(place + 1));
      if (needed > out.size() - used) break;
      used += needed;
    }
    (void)fuse_reply_buf(request, out.data(), used);
  }

  void read(fuse_req_t request, FileId file, std::size_t size, std::uint64_t offset) {
    const std::optional<FileStatus> status = tree_.status(file);
    if (!status || !S_ISREG(status->mode)) return (void)fuse_reply_err(request, EINVAL);
    if (offset >= status->size) return (void)fuse_reply_buf(request, nullptr, 0);
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, status->size - offset));
    const net::Lease lease = buffers_.lease(size);
    tree_.read(file, offset, lease.bytes(), answer_later<void>(request, file, "read", [lease](fuse_req_t r, const auto&) {
                 (void)fuse_reply_buf(r, reinterpret_cast<const char*>(lease.bytes().data()), lease.size());
               }));
  }

  void readlink(fuse_req_t request, FileId file) {
    const std::optional<FileStatus> status = tree_.status(file);
    if (!status || !S_ISLNK(status->mode)) return (void)fuse_reply_err(request, EINVAL);
    tree_.read_link(file, answer_later<std::string>(request, file, "read the link", [](fuse_req_t r, const std::string& target) {
                      (void)fuse_reply_readlink(r, target.c_str());
                    }));
  }

  void getxattr(fuse_req_t request, FileId file, std::string name, std::size_t size) {
    with_attributes(request, file, [name = std::move(name), size](fuse_req_t r, const std::vector<FileAttribute>& all) {
      const auto found = std::ranges::find(all, name, &FileAttribute::name);
      if (found == all.end()) return (void)fuse_reply_err(r, ENODATA);
      give_sized(r, as_text(found->value), size);
    });
  }

  void listxattr(fuse_req_t request, FileId file, std::size_t size) {
    with_attributes(request, file, [size](fuse_req_t r, const std::vector<FileAttribute>& all) {
      std::string names;
      for (const FileAttribute& attribute : all) names.append(attribute.name).push_back('\0');
      give_sized(r, names, size);
    });
  }

  template <class Give>
  void with_attributes(fuse_req_t request, FileId file, Give give) {
    if (!tree_.status(file)) return (void)fuse_reply_err(request, ENOENT);
    tree_.attributes(file,
                     answer_later<std::vector<FileAttribute>>(request, file, "read the extended attributes", std::move(give)));
  }

  // Size 0 asks how many bytes there are.
  static void give_sized(fuse_req_t request, std::string_view bytes, std::size_t size) {
    if (size == 0)
      (void)fuse_reply_xattr(request, bytes.size());
    else if (bytes.size() > size)
      (void)fuse_reply_err(request, ERANGE);
    else
      (void)fuse_reply_buf(request, bytes.data(), bytes.size());
  }

  void ioctl(fuse_req_t request, FileId file, unsigned command, std::size_t out_size) {
    std::optional<std::uint32_t> bits;
    if (tree_.status(file)) {
      if (command == static_cast<unsigned>(FS_IOC_GETFLAGS)) bits = tree_.flags(file);
      if (command == static_cast<unsigned>(FAT_IOCTL_GET_ATTRIBUTES)) bits = tree_.fat_attributes(file);
    }
    if (!bits || out_size < sizeof *bits || out_size > sizeof(std::uint64_t)) return (void)fuse_reply_err(request, ENOTTY);
    const std::uint64_t out = *bits;  // little-endian: of either size
    (void)fuse_reply_ioctl(request, 0, &out, out_size);
  }

  void statfs(fuse_req_t request) {
    struct ::statvfs status{};
    status.f_bsize = status.f_frsize = kBlockBytes;
    status.f_blocks = (tree_.byte_count() + kBlockBytes - 1) / kBlockBytes;
    status.f_files = tree_.file_count();
    status.f_namemax = 255;
    (void)fuse_reply_statfs(request, &status);
  }

  // A `done` that answers the request, if that has not been interrupted and the mount is still there.
  template <class T, class Give>
  net::Done<T> answer_later(fuse_req_t request, FileId file, const char* what, Give give) {
    const std::uint64_t number = ++last_number_;
    Pending& pending = *pending_.emplace(number, std::make_unique<Pending>(Pending{this, number, request})).first->second;
    fuse_req_interrupt_func(request, handle_interrupted, &pending);  // answers at once if that has happened
    return [self = weak_from_this(), number, file, what, give = std::move(give)](Result<T> result) mutable {
      const std::shared_ptr<Session> session = self.lock();
      if (!session) return;
      if (!result)
        session->log_.error(fmt::format("can not {}", what),
                            {{"file", session->tree_.path(file)}, {"error", result.error().message()}});
      const auto found = session->pending_.find(number);
      if (found == session->pending_.end()) return;
      const fuse_req_t waiting = found->second->request;
      session->pending_.erase(found);
      fuse_req_interrupt_func(waiting, nullptr, nullptr);
      if (!result) return (void)fuse_reply_err(waiting, EIO);
      if constexpr (std::is_void_v<T>)
        give(waiting, 0);
      else
        give(waiting, *result);
    };
  }

  static void handle_interrupted(fuse_req_t request, void* data) {
    Pending& pending = *static_cast<Pending*>(data);
    pending.session->pending_.erase(pending.number);
    (void)fuse_reply_err(request, EINTR);
  }

  net::EventLoop& loop_;
  FileTree& tree_;
  const Log log_;
  net::Task ready_;
  net::Task ended_;
  net::BufferPool buffers_;
  fuse_session* session_ = nullptr;
  fuse_buf buffer_{};
  std::unique_ptr<net::Watch> watch_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Pending>> pending_;
  std::uint64_t last_number_ = 0;
};

Result<std::unique_ptr<FuseMount>> FuseMount::mount(net::EventLoop& loop, FileTree& tree, const FuseMountOptions& options,
                                                    const Log& log, net::Task ready, net::Task ended) {
  auto session = std::make_shared<Session>(loop, tree, log, std::move(ready), std::move(ended));
  if (Result<void> opened = session->open(options); !opened) return fail(std::move(opened).error());
  return std::unique_ptr<FuseMount>(new FuseMount(std::move(session)));
}

FuseMount::~FuseMount() {
  session_->close();
}

}  // namespace godwit::exports
