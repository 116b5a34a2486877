// A small HTTP/1.1 server for operators' tools: GET and HEAD of a path, one answer, and the connection ends. Not a web server:
// no bodies from clients, no keep-alive, no TLS; it is meant for loopback and Unix sockets.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/time.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace godwit::net {

struct HttpRequest {
  std::string method;  // "GET" or "HEAD"
  std::string path;    // as sent, without the query; begins with '/'
  std::string query;   // behind '?'
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};

struct HttpLimits {
  std::size_t head_bytes_max = 8 * 1024;      // request line and headers; then 431
  std::size_t connections_max = 64;           // a new one beyond is closed at once
  Duration patience = Duration::seconds(10);  // from its start until a connection must be done
};

using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

// Gives the request of a head (up to and with its empty line), or the status that answers it.
struct HttpHead {
  HttpRequest request;
  int refusal = 0;  // 0: none
};
HttpHead parse_http_head(std::string_view head);

class HttpServer {
 public:
  // The scheduler and the network outlive the server. What `handler` gives for a HEAD is sent without its body.
  static Result<std::unique_ptr<HttpServer>> listen(Scheduler& scheduler, Network& network, const Address& at,
                                                    HttpHandler handler, HttpLimits limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  Address address() const;

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::net
