#include "chunks/driver/http_image_server.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/driver/http_request.h"
#include "net/descriptor.h"

namespace godwit::chunks {

namespace {

constexpr std::size_t kPieceSize = 256 * 1024;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 416: return "Range Not Satisfiable";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

// An open file and the part of it that is still to be sent. Read on workers, by one job at a time.
struct OpenFile {
  net::Descriptor descriptor;
  std::uint64_t size = 0;
  std::uint64_t offset = 0;
  std::uint64_t left = 0;
  int status = 200;
  std::string tag;  // changes with the file: who reads by ranges sees that it is another one
};

// Below the folder, or not at all: neither `..` nor a symlink leads out of it.
std::unique_ptr<OpenFile> open_below(int folder, const std::string& path) {
  auto file = std::make_unique<OpenFile>();
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  file->descriptor.reset(static_cast<int>(::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how)));
  struct stat status{};
  if (!file->descriptor.is_open()) {
    file->status = errno == ENOENT || errno == ENOTDIR || errno == EXDEV || errno == ELOOP ? 404 : 500;
  } else if (::fstat(file->descriptor.get(), &status) != 0) {
    file->status = 500;
  } else if (!S_ISREG(status.st_mode)) {
    file->status = 404;
  } else {
    file->size = file->left = static_cast<std::uint64_t>(status.st_size);
    file->tag = fmt::format("\"{:x}-{:x}-{:x}.{:x}\"", status.st_ino, file->size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  }
  return file;
}

Bytes read_piece(OpenFile& file) {
  Bytes piece(std::min<std::uint64_t>(kPieceSize, file.left));
  ssize_t count;
  do count = ::pread(file.descriptor.get(), piece.data(), piece.size(), static_cast<off_t>(file.offset));
  while (count < 0 && errno == EINTR);
  piece.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  file.offset += piece.size();
  file.left -= piece.size();
  return piece;
}

// One client: its requests one after the other. Jobs find it by a weak pointer.
class Client : public std::enable_shared_from_this<Client> {
 public:
  Client(net::Scheduler& scheduler, net::Workers& workers, int folder, const HttpImageLimits& limits,
         std::unique_ptr<net::Stream> stream, std::function<void()> ended)
      : scheduler_(scheduler),
        workers_(workers),
        folder_(folder),
        limits_(limits),
        stream_(std::move(stream)),
        ended_(std::move(ended)),
        room_(8 * 1024) {}
  ~Client() { scheduler_.cancel(alarm_); }

  // A request is whole in time, however many pieces it comes in: who drips holds no connection for ever.
  void await_request() {
    await_progress();
    read_request();
  }

 private:
  void read_request() {
    if (const std::size_t end = received_.find(kHeadEnd); end != std::string::npos && end + 4 <= limits_.head_bytes_max) {
      const FileRequest request = parse_file_request(std::string_view(received_).substr(0, end + 4));
      received_.erase(0, end + 4);
      return answer(request);
    }
    if (received_.size() >= limits_.head_bytes_max) {
      keep_alive_ = false;
      return send_refusal(431, false);
    }
    const MutableBytes into[] = {room_};
    stream_->read(into, [self = weak_from_this()](Result<std::size_t> count) {
      const std::shared_ptr<Client> client = self.lock();
      if (!client) return;
      if (!count || *count == 0) return client->end();
      client->received_ += as_text(ConstBytes(client->room_).first(*count));
      client->read_request();
    });
  }

  void answer(const FileRequest& request) {
    keep_alive_ = request.keep_alive;
    if (request.refusal != 0) return send_refusal(request.refusal, request.is_head);
    if (!is_image_path(request.path)) return send_refusal(404, request.is_head);
    auto file = std::make_shared<std::unique_ptr<OpenFile>>();
    workers_.run([file, folder = folder_, path = request.path] { *file = open_below(folder, path); },
                 [self = weak_from_this(), file, request] {
                   if (const std::shared_ptr<Client> client = self.lock()) client->send_head(request, std::move(*file));
                 });
  }

  void send_head(const FileRequest& request, std::unique_ptr<OpenFile> file) {
    if (file->status != 200) return send_refusal(file->status, request.is_head);
    std::string extra = fmt::format("ETag: {}\r\n", file->tag);
    if (names_tag(request.if_none_match, file->tag))
      return send(fmt::format("HTTP/1.1 304 {}\r\n{}{}\r\n", reason_of(304), extra, connection_header()), nullptr);
    // A part of another file than the one that the client has the rest of is worse than all of it.
    const bool has_rest = request.if_range.empty() || request.if_range == file->tag;
    if (const std::optional<ByteRange> range = has_rest ? parse_range(request.range, file->size) : std::nullopt) {
      if (range->length == 0) {
        return send(fmt::format("HTTP/1.1 416 {}\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\n{}\r\n", reason_of(416),
                                file->size, connection_header()),
                    nullptr);
      }
      file->status = 206;
      file->offset = range->first;
      file->left = range->length;
      extra += fmt::format("Content-Range: bytes {}-{}/{}\r\n", range->first, range->first + range->length - 1, file->size);
    }
    std::string head = fmt::format(
        "HTTP/1.1 {} {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n{}Accept-Ranges: bytes\r\n{}\r\n",
        file->status, reason_of(file->status), file->left, extra, connection_header());
    send(std::move(head), request.is_head ? nullptr : std::shared_ptr<OpenFile>(std::move(file)));
  }

  void send_refusal(int status, bool is_head) {
    // desync shows the body of what it is refused, and nothing else.
    const std::string body =
        status == 405 ? "this server only reads: copy the image to it, or push by ssh\n" : fmt::format("{}\n", reason_of(status));
    send(fmt::format("HTTP/1.1 {} {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n{}{}\r\n{}", status, reason_of(status),
                     body.size(), status == 405 ? "Allow: GET, HEAD\r\n" : "", connection_header(), is_head ? "" : body),
         nullptr);
  }

  const char* connection_header() const { return keep_alive_ ? "" : "Connection: close\r\n"; }

  void send(std::string text, std::shared_ptr<OpenFile> file) {
    const ConstBytes bytes = as_bytes(text);
    write(to_bytes(bytes), std::move(file));
  }

  // `bytes`, and then what is left of the file.
  void write(Bytes bytes, std::shared_ptr<OpenFile> file) {
    sending_ = std::move(bytes);
    await_progress();
    const ConstBytes from[] = {sending_};
    stream_->write(from, [self = weak_from_this(), file = std::move(file)](Result<void> written) mutable {
      const std::shared_ptr<Client> client = self.lock();
      if (!client) return;
      if (!written) return client->end();
      if (file && file->left > 0) return client->send_more(std::move(file));
      if (client->keep_alive_) return client->next_request();
      client->stream_->shut_down_sending();
      client->await_progress();
      client->drain();
    });
  }

  void send_more(std::shared_ptr<OpenFile> file) {
    auto piece = std::make_shared<Bytes>();
    workers_.run([file, piece] { *piece = read_piece(*file); },
                 [self = weak_from_this(), file, piece]() mutable {
                   const std::shared_ptr<Client> client = self.lock();
                   if (!client) return;
                   // Shorter than it was: the client sees that its body is cut off.
                   if (piece->empty()) return client->end();
                   client->write(std::move(*piece), std::move(file));
                 });
  }

  // In a turn of its own: many small requests in one read do not nest.
  void next_request() {
    scheduler_.post([self = weak_from_this()] {
      if (const std::shared_ptr<Client> client = self.lock()) client->await_request();
    });
  }

  // Closing over unread bytes would reset the connection and could take the answer with it: let the client end first, for a
  // while.
  void drain() {
    const MutableBytes into[] = {room_};
    stream_->read(into, [self = weak_from_this()](Result<std::size_t> count) {
      const std::shared_ptr<Client> client = self.lock();
      if (!client) return;
      if (!count || *count == 0) return client->end();
      client->drain();
    });
  }

  void await_progress() {
    scheduler_.cancel(alarm_);
    alarm_ = scheduler_.schedule(scheduler_.now() + limits_.idle, [this] { end(); });
  }

  void end() {
    scheduler_.cancel(alarm_);
    alarm_ = {};
    if (ended_) std::exchange(ended_, nullptr)();
  }

  net::Scheduler& scheduler_;
  net::Workers& workers_;
  const int folder_;
  const HttpImageLimits& limits_;
  std::unique_ptr<net::Stream> stream_;
  std::function<void()> ended_;
  std::string received_;
  Bytes room_;
  Bytes sending_;
  bool keep_alive_ = true;
  net::TimerId alarm_;
};

}  // namespace

struct HttpImageServer::Impl {
  void accept(std::unique_ptr<net::Stream> stream) {
    if (clients.size() >= limits.connections_max) return;
    const std::uint64_t number = ++last;
    // The client goes in a later turn: it is on the stack when it says that it has ended.
    auto ended = [this, number, alive = std::weak_ptr(alive_)] {
      scheduler->post([this, number, alive] {
        if (!alive.expired()) clients.erase(number);
      });
    };
    const auto client = std::make_shared<Client>(*scheduler, *workers, folder.get(), limits, std::move(stream), std::move(ended));
    clients.emplace(number, client);
    client->await_request();
  }

  net::Scheduler* scheduler = nullptr;
  net::Workers* workers = nullptr;
  HttpImageLimits limits;
  net::Descriptor folder;
  std::map<std::uint64_t, std::shared_ptr<Client>> clients;
  std::uint64_t last = 0;
  std::unique_ptr<net::Listener> listener;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Result<std::unique_ptr<HttpImageServer>> HttpImageServer::listen(net::Scheduler& scheduler, net::Network& network,
                                                                 net::Workers& workers, const net::Address& at,
                                                                 const std::string& folder, HttpImageLimits limits) {
  auto impl = std::make_unique<Impl>();
  impl->scheduler = &scheduler;
  impl->workers = &workers;
  impl->limits = limits;
  impl->folder.reset(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!impl->folder.is_open()) return fail(Error::from_errno(errno, "open the folder " + folder));
  auto listener =
      network.listen(at, [&server = *impl](std::unique_ptr<net::Stream> stream) { server.accept(std::move(stream)); });
  if (!listener) return fail(std::move(listener).error());
  impl->listener = std::move(*listener);
  return std::unique_ptr<HttpImageServer>(new HttpImageServer(std::move(impl)));
}

HttpImageServer::HttpImageServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpImageServer::~HttpImageServer() = default;

net::Address HttpImageServer::address() const {
  return impl_->listener->address();
}

}  // namespace godwit::chunks
