#include "host/control_socket.h"

#include <unistd.h>

#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "host/json_fields.h"

namespace godwit::host {

namespace json = boost::json;

namespace {

constexpr std::size_t kLineBytesMax = 1 << 20;
constexpr std::size_t kConnectionsMax = 64;
constexpr std::size_t kUnsentLinesMax = 1024;  // of one connection; more progress is dropped, answers are not

Result<json::object> parse_line(std::string_view line) {
  boost::system::error_code error;
  json::value value = json::parse(json::string_view(line.data(), line.size()), error);
  if (error || !value.is_object()) return fail(ErrorKind::usage, "a line must be one JSON object");
  return std::move(value.get_object());
}

// Lines in and out of one stream.
class LineStream {
 public:
  explicit LineStream(std::unique_ptr<net::Stream> stream) : stream_(std::move(stream)) {}
  ~LineStream() { *alive_ = false; }
  LineStream(const LineStream&) = delete;
  LineStream& operator=(const LineStream&) = delete;

  // Each line; then once why there are no more. The object may be destroyed by either.
  void start(std::function<void(std::string)> line, std::function<void(Error)> ended) {
    line_ = std::move(line);
    ended_ = std::move(ended);
    read();
  }
  void send(const json::object& object, bool droppable = false) {
    if (droppable && out_.size() >= kUnsentLinesMax) return;
    out_.push_back(json::serialize(object) + "\n");
    if (!writing_) write();
  }
  // Once everything has been sent.
  void close_when_sent() {
    closing_ = true;
    if (!writing_) stream_->shut_down_sending();
  }

 private:
  void read() {
    const MutableBytes into(buffer_);
    stream_->read({&into, 1}, [this, alive = alive_](Result<std::size_t> count) {
      if (!*alive) return;
      if (!count) return end(count.error());
      if (*count == 0) return end(Error(ErrorKind::connection_lost, "the other side hung up"));
      received_.append(as_text(ConstBytes(buffer_).first(*count)));
      if (take_lines(alive)) read();
    });
  }
  // Whether to go on.
  bool take_lines(const std::shared_ptr<bool>& alive) {
    for (std::size_t end_at; (end_at = received_.find('\n')) != std::string::npos;) {
      std::string line = received_.substr(0, end_at);
      received_.erase(0, end_at + 1);
      line_(std::move(line));
      if (!*alive) return false;
    }
    if (received_.size() <= kLineBytesMax) return true;
    end(Error(ErrorKind::limit, "a line is too long"));
    return false;
  }
  void write() {
    if (out_.empty()) {
      if (closing_) stream_->shut_down_sending();
      return;
    }
    writing_ = true;
    const ConstBytes from = as_bytes(out_.front());
    stream_->write({&from, 1}, [this, alive = alive_](Result<void> written) {
      if (!*alive) return;
      writing_ = false;
      if (!written) return out_.clear();  // the reading side learns of it too
      out_.pop_front();
      write();
    });
  }
  void end(Error error) {
    if (std::function<void(Error)> ended = std::exchange(ended_, nullptr)) ended(std::move(error));
  }

  std::unique_ptr<net::Stream> stream_;
  std::function<void(std::string)> line_;
  std::function<void(Error)> ended_;
  std::array<std::byte, 16384> buffer_{};
  std::string received_;
  std::deque<std::string> out_;
  bool writing_ = false;
  bool closing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

json::object describe(const Error& error) {
  return {{"event", "error"}, {"kind", name_of(error.kind())}, {"text", error.message()}};
}

ErrorKind kind_of(std::string_view name) {
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::usage); ++kind)
    if (name_of(static_cast<ErrorKind>(kind)) == name) return static_cast<ErrorKind>(kind);
  return ErrorKind::io;
}

}  // namespace

// --- the server ---

struct ControlServer::Impl {
  net::EventLoop& loop;
  VolumeVerbs& verbs;
  Log log;
  std::unique_ptr<net::Listener> listener;
  std::map<std::uint64_t, std::shared_ptr<LineStream>> connections;
  std::uint64_t next = 1;

  void accept(std::unique_ptr<net::Stream> stream) {
    const std::optional<std::uint32_t> user = stream->peer_user_id();
    if (!user || (*user != ::geteuid() && *user != 0)) {
      log.warn("a command of another user was refused", {{"user", user.value_or(0)}});
      return;
    }
    if (connections.size() >= kConnectionsMax) return;
    const std::uint64_t id = next++;
    auto connection = std::make_shared<LineStream>(std::move(stream));
    connections.emplace(id, connection);
    connection->start([this, id](const std::string& line) { handle_line(id, line); }, [this, id](const Error&) { forget(id); });
  }

  // The connection is in the middle of calling us: it goes in a later turn.
  void forget(std::uint64_t id) {
    auto node = connections.extract(id);
    if (!node.empty()) loop.post([gone = std::move(node.mapped())] {});
  }

  void handle_line(std::uint64_t id, const std::string& line) {
    const std::weak_ptr<LineStream> to = connections.at(id);
    Result<json::object> request = parse_line(line);
    if (!request) return connections.at(id)->send(describe(request.error()));
    verbs.perform(
        *request,
        [to](const json::object& said) {
          if (const auto connection = to.lock()) connection->send(said, true);
        },
        [to](Result<json::object> result) {
          const auto connection = to.lock();
          if (!connection) return;
          if (!result) return connection->send(describe(result.error()));
          (*result)["event"] = "done";
          connection->send(*result);
        });
  }
};

ControlServer::ControlServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

Result<std::unique_ptr<ControlServer>> ControlServer::listen(net::EventLoop& loop, const std::string& path, VolumeVerbs& verbs,
                                                             Log log) {
  auto impl = std::make_unique<Impl>(loop, verbs, std::move(log));
  Result<std::unique_ptr<net::Listener>> listener = loop.listen(
      net::Address{"", 0, path}, [i = impl.get()](std::unique_ptr<net::Stream> stream) { i->accept(std::move(stream)); });
  if (!listener) return fail(std::move(listener).error().within("the control socket"));
  impl->listener = std::move(*listener);
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

// --- the client ---

bool is_host_running(const std::string& data_path) {
  net::EventLoop loop;
  bool running = false;
  loop.connect(net::Address{"", 0, DataDirectory::control_socket_of(data_path)},
               [&](Result<std::unique_ptr<net::Stream>> stream) {
                 running = stream.has_value();
                 loop.stop();
               });
  loop.run();
  return running;
}

Result<VolumeVerbs::Object> ask_running_host(const std::string& data_path, const VolumeVerbs::Object& request,
                                             const VolumeVerbs::Say& say) {
  net::EventLoop loop;
  Result<VolumeVerbs::Object> answer = fail(ErrorKind::connection_lost, "the running process ended before it had answered");
  std::unique_ptr<LineStream> lines;
  const auto finish = [&](Result<VolumeVerbs::Object> result) {
    answer = std::move(result);
    loop.stop();
  };
  const std::string path = DataDirectory::control_socket_of(data_path);
  loop.connect(net::Address{"", 0, path}, [&](Result<std::unique_ptr<net::Stream>> stream) {
    if (!stream) return finish(fail(ErrorKind::not_found, "no godwit process is running with the data directory " + data_path));
    lines = std::make_unique<LineStream>(std::move(*stream));
    lines->start(
        [&](const std::string& line) {
          Result<json::object> object = parse_line(line);
          if (!object) return finish(fail(std::move(object).error().within("the running process answers strangely")));
          JsonFields fields(*object);
          const std::string event = fields.text("event", "");
          if (event == "done") return finish(std::move(*object));
          if (event == "error") return finish(fail(kind_of(fields.text("kind", "")), fields.text("text", "")));
          if (say) say(*object);
        },
        [&](const Error&) { loop.stop(); });
    lines->send(request);
  });
  loop.run();
  return answer;
}

}  // namespace godwit::host
