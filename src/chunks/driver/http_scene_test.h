// For tests: a web server that answers just what it is told, byte for byte, over connections that it keeps, and remembers what it
// was asked.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "net/event_loop.h"
#include "net/lifetime.h"

namespace godwit::chunks {

struct SeenRequest {
  std::string method;
  std::string path;  // as sent
  std::string head;  // all of it
  // The value of a header, "" where it was not sent. Of names as curl writes them.
  std::string header(std::string_view name) const {
    const std::size_t at = head.find(fmt::format("\r\n{}: ", name));
    if (at == head.npos) return "";
    const std::size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

struct RawAnswer {
  std::string bytes;
  bool then_closes = false;
};

inline RawAnswer answer_of(int status, std::string_view body, std::string_view headers = "") {
  return {fmt::format("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n{}\r\n{}", status, body.size(), headers, body), false};
}

class HttpScene {
 public:
  using Handler = std::function<RawAnswer(const SeenRequest&)>;

  // The loop and the network outlive it.
  HttpScene(net::Network& network, Handler handler, std::string scheme = "http")
      : handler_(std::move(handler)), scheme_(std::move(scheme)) {
    auto accept = [this](std::unique_ptr<net::Stream> stream) {
      ++connections;
      conversations_.push_back(std::make_unique<Conversation>());
      conversations_.back()->stream = std::move(stream);
      greet(*conversations_.back());
    };
    auto listening = network.listen(*net::Address::parse("127.0.0.1:0", 1), std::move(accept));
    EXPECT_TRUE(listening);
    listener_ = std::move(*listening);
  }

  // "127.0.0.1:1234".
  std::string host() const { return listener_->address().text(); }
  std::string url() const { return scheme_ + "://" + host(); }

  std::string greeting;  // to whoever connects, before anything was asked
  std::vector<SeenRequest> seen;
  int connections = 0;

 private:
  struct Conversation {
    std::unique_ptr<net::Stream> stream;
    std::string received, sending;
    Bytes room = Bytes(16 * 1024);
  };

  void greet(Conversation& c) {
    if (greeting.empty()) return read(c);
    const ConstBytes from[] = {as_bytes(greeting)};
    c.stream->write(from, lifetime_.while_alive([this, &c](const Result<void>&) { read(c); }));
  }
  void read(Conversation& c) {
    if (const std::size_t end = c.received.find("\r\n\r\n"); end != c.received.npos) return answer(c, end + 4);
    const MutableBytes into[] = {c.room};
    c.stream->read(into, lifetime_.while_alive([this, &c](Result<std::size_t> count) {
      if (!count || *count == 0) return c.stream->close();
      c.received += as_text(ConstBytes(c.room).first(*count));
      read(c);
    }));
  }
  void answer(Conversation& c, std::size_t head_size) {
    SeenRequest request;
    request.head = c.received.substr(0, head_size);
    c.received.erase(0, head_size);
    request.method = request.head.substr(0, request.head.find(' '));
    const std::size_t path = request.method.size() + 1;
    request.path = request.head.substr(path, request.head.find(' ', path) - path);
    seen.push_back(request);
    const RawAnswer answer = handler_(request);
    c.sending = answer.bytes;
    if (request.method == "HEAD") c.sending.resize(std::min(c.sending.size(), c.sending.find("\r\n\r\n") + 4));
    const ConstBytes from[] = {as_bytes(c.sending)};
    c.stream->write(from, lifetime_.while_alive([this, &c, closes = answer.then_closes](Result<void> written) {
      if (!written || closes) return c.stream->close();
      read(c);
    }));
  }

  const Handler handler_;
  const std::string scheme_;
  std::deque<std::unique_ptr<Conversation>> conversations_;
  std::unique_ptr<net::Listener> listener_;
  net::Lifetime lifetime_;
};

// Serves `files` by their names, percent-decoded; 404 with a page for others.
inline HttpScene::Handler serve_files(const std::map<std::string, std::string>& files) {
  return [&files](const SeenRequest& request) {
    std::string name;
    for (std::size_t i = 1; i < request.path.size(); ++i) {
      if (request.path[i] != '%') {
        name += request.path[i];
        continue;
      }
      name += static_cast<char>(std::stoi(request.path.substr(i + 1, 2), nullptr, 16));
      i += 2;
    }
    const auto found = files.find(name);
    if (found == files.end()) return answer_of(404, std::string(5000, 'x'), "Content-Type: text/html\r\n");
    return answer_of(200, found->second);
  };
}

}  // namespace godwit::chunks
