// An HTTP/1.1 server for a folder of indexes, archives and chunk stores: what casync, desync and godwit fetch from. GET and HEAD,
// single ranges, tags (ETag, If-None-Match, If-Range), connections that are kept; read-only, and nothing but image files
// (http_request.h, is_image_path()). Bodies are never encoded, since clients do not undo that (casync.md 8.5). For HTTPS it is
// given a net::TlsNetwork to listen through.
#pragma once

#include <memory>
#include <string>

#include "net/address.h"
#include "net/stream.h"
#include "net/worker_pool.h"

namespace godwit::chunks {

struct HttpImageLimits {
  std::size_t head_bytes_max = 16 * 1024;  // request line and headers; then 431
  std::size_t connections_max = 1024;      // one beyond is closed at once
  Duration idle = Duration::seconds(60);   // for a request to be whole, and for each piece of an answer; then it is closed
};

class HttpImageServer {
 public:
  // Serves the files below `folder`; symlinks are followed as long as they stay inside. All that is borrowed outlives the server.
  static Result<std::unique_ptr<HttpImageServer>> listen(net::Scheduler& scheduler, net::Network& network, net::Workers& workers,
                                                         const net::Address& at, const std::string& folder,
                                                         HttpImageLimits limits = {});
  ~HttpImageServer();
  HttpImageServer(const HttpImageServer&) = delete;
  HttpImageServer& operator=(const HttpImageServer&) = delete;

  net::Address address() const;

 private:
  struct Impl;
  explicit HttpImageServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
