#include "net/http_server.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

namespace godwit::net {

namespace {

constexpr std::string_view kHeadEnd = "\r\n\r\n";

std::string_view reason_of(int status) {
  switch (status) {
    case 200: return "OK";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

std::string encode(const HttpResponse& response, bool with_body) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n{}X-Content-Type-Options: "
      "nosniff\r\n\r\n",
      response.status, reason_of(response.status), response.content_type, response.body.size(),
      response.status == 405 ? "Allow: GET, HEAD\r\n" : "");
  if (with_body) text += response.body;
  return text;
}

HttpResponse refusal(int status) {
  return {status, "text/plain; charset=utf-8", fmt::format("{}\n", reason_of(status))};
}

}  // namespace

HttpHead parse_http_head(std::string_view head) {
  auto refused = [](int status) { return HttpHead{{}, status}; };
  const std::string_view line = head.substr(0, head.find("\r\n"));
  if (std::ranges::any_of(line, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; })) return refused(400);
  const std::size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return refused(400);
  const std::string_view method = line.substr(0, first), version = line.substr(last + 1);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!version.starts_with("HTTP/")) return refused(400);
  if (!version.starts_with("HTTP/1.")) return refused(505);
  if (target.empty() || target.front() != '/' || target.find(' ') != std::string_view::npos) return refused(400);
  if (method != "GET" && method != "HEAD") return refused(405);
  const std::size_t question = target.find('?');
  HttpHead parsed;
  parsed.request.method = method;
  parsed.request.path = target.substr(0, question);
  if (question != std::string_view::npos) parsed.request.query = target.substr(question + 1);
  return parsed;
}

struct HttpServer::Impl {
  struct Connection {
    std::unique_ptr<Stream> stream;
    std::string head;
    std::array<std::byte, 2048> room;
    std::string answer;
    TimerId deadline;
  };

  Impl(Scheduler& s, HttpHandler h, HttpLimits l) : scheduler(s), handler(std::move(h)), limits(l) {}
  ~Impl() {
    for (auto& [id, connection] : connections) scheduler.cancel(connection.deadline);
  }

  void accept(std::unique_ptr<Stream> stream) {
    if (connections.size() >= limits.connections_max) return;
    const std::uint64_t id = ++last_id;
    Connection& connection = connections[id];
    connection.stream = std::move(stream);
    connection.deadline = scheduler.schedule(scheduler.now() + limits.patience, [this, id] { connections.erase(id); });
    read_head(id, connection);
  }

  void end(std::uint64_t id) {
    const auto found = connections.find(id);
    scheduler.cancel(found->second.deadline);
    connections.erase(found);
  }

  // The callbacks of a stream never come after its end, so they may hold on to its connection.
  void read_head(std::uint64_t id, Connection& connection) {
    const MutableBytes into[] = {connection.room};
    connection.stream->read(into, [this, id, &connection](Result<std::size_t> count) {
      if (!count || *count == 0) return end(id);
      connection.head += as_text(ConstBytes(connection.room).first(*count));
      const std::size_t head_end = connection.head.find(kHeadEnd);
      if (head_end != std::string::npos && head_end + kHeadEnd.size() <= limits.head_bytes_max) return answer(id, connection);
      if (connection.head.size() >= limits.head_bytes_max) return send(id, connection, refusal(431), true);
      read_head(id, connection);
    });
  }

  void answer(std::uint64_t id, Connection& connection) {
    const HttpHead head = parse_http_head(connection.head);
    if (head.refusal != 0) return send(id, connection, refusal(head.refusal), true);
    send(id, connection, handler(head.request), head.request.method == "GET");
  }

  void send(std::uint64_t id, Connection& connection, const HttpResponse& response, bool with_body) {
    connection.answer = encode(response, with_body);
    const ConstBytes from[] = {as_bytes(connection.answer)};
    connection.stream->write(from, [this, id, &connection](Result<void> written) {
      if (!written) return end(id);
      // Closing over unread bytes would reset the connection and could take the answer with it: let the client end first.
      connection.stream->shut_down_sending();
      drain(id, connection);
    });
  }

  void drain(std::uint64_t id, Connection& connection) {
    const MutableBytes into[] = {connection.room};
    connection.stream->read(into, [this, id, &connection](Result<std::size_t> count) {
      if (!count || *count == 0) return end(id);
      drain(id, connection);
    });
  }

  Scheduler& scheduler;
  HttpHandler handler;
  HttpLimits limits;
  std::map<std::uint64_t, Connection> connections;
  std::uint64_t last_id = 0;
  std::unique_ptr<Listener> listener;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::listen(Scheduler& scheduler, Network& network, const Address& at,
                                                       HttpHandler handler, HttpLimits limits) {
  auto impl = std::make_unique<Impl>(scheduler, std::move(handler), limits);
  auto listener = network.listen(at, [&server = *impl](std::unique_ptr<Stream> stream) { server.accept(std::move(stream)); });
  if (!listener) return fail(std::move(listener.error()));
  impl->listener = std::move(*listener);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

Address HttpServer::address() const {
  return impl_->listener->address();
}

}  // namespace godwit::net
