#include "net/http_server.h"

#include <gtest/gtest.h>
#include <prometheus/counter.h>
#include <prometheus/registry.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "net/metrics_endpoint.h"

namespace godwit::net {
namespace {

// Sends `pieces` one after the other and gives all that comes back until the end.
std::string exchange(EventLoop& loop, const Address& server, std::vector<std::string> pieces) {
  std::unique_ptr<Stream> stream;
  std::string answer;
  std::array<std::byte, 1000> room;
  std::size_t sent = 0;
  bool ended = false;
  std::function<void()> send, receive;
  send = [&] {
    if (sent == pieces.size()) return;
    const ConstBytes from[] = {as_bytes(pieces[sent++])};
    stream->write(from, [&](Result<void> written) {
      if (written) loop.post([&] { send(); });
    });
  };
  receive = [&] {
    const MutableBytes into[] = {room};
    stream->read(into, [&](Result<std::size_t> count) {
      if (!count || *count == 0) {
        ended = true;
        return loop.stop();
      }
      answer += as_text(ConstBytes(room).first(*count));
      receive();
    });
  };
  loop.connect(server, [&](Result<std::unique_ptr<Stream>> connected) {
    stream = std::move(*connected);
    send();
    receive();
  });
  loop.run();
  EXPECT_TRUE(ended);
  return answer;
}

class HttpServerTest : public ::testing::Test {
 protected:
  void serve(HttpLimits limits = {}) {
    auto server = HttpServer::listen(
        loop_, loop_, Address{"127.0.0.1", 0, ""},
        [](const HttpRequest& request) {
          return HttpResponse{200, "text/plain", request.method + " " + request.path + " [" + request.query + "]"};
        },
        limits);
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
  }
  std::string ask(std::vector<std::string> pieces) { return exchange(loop_, server_->address(), std::move(pieces)); }

  EventLoop loop_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAGetAndEndsTheConnection) {
  serve();
  EXPECT_EQ(ask({"GET /a/b?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"}),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\nConnection: close\r\n"
            "X-Content-Type-Options: nosniff\r\n\r\nGET /a/b [x=1]");
}

TEST_F(HttpServerTest, AHeadMayComeInAnyPieces) {
  serve();
  std::vector<std::string> bytes;
  for (char c : std::string("GET / HTTP/1.1\r\nHost: x\r\n\r\n")) bytes.emplace_back(1, c);
  EXPECT_TRUE(ask(bytes).ends_with("\r\n\r\nGET / []"));
}

TEST_F(HttpServerTest, AHeadRequestGetsTheLengthWithoutTheBody) {
  serve();
  const std::string answer = ask({"HEAD /abc HTTP/1.0\r\n\r\n"});
  EXPECT_NE(answer.find("Content-Length: 12\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, RefusesWhatItDoesNotDo) {
  serve();
  const struct {
    const char* name;
    std::string head;
    const char* status;
  } rows[] = {
      {"another method", "POST / HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
      {"another version", "GET / HTTP/2.0\r\n\r\n", "HTTP/1.1 505 "},
      {"another protocol", "GET / SIP/2.0\r\n\r\n", "HTTP/1.1 400 "},
      {"no version", "GET /\r\n\r\n", "HTTP/1.1 400 "},
      {"no path", "GET x HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"a space in the path", "GET /a b HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
      {"an empty line", "\r\n\r\n", "HTTP/1.1 400 "},
      {"a zero byte", std::string("GET /\0 HTTP/1.1\r\n\r\n", 19), "HTTP/1.1 400 "},
      {"a head without an end", "GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'), "HTTP/1.1 431 "},
      {"a head too long", "GET / HTTP/1.1\r\nX: " + std::string(9'000, 'x') + "\r\n\r\n", "HTTP/1.1 431 "},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(ask({row.head}).starts_with(row.status));
  }
}

TEST_F(HttpServerTest, ASilentClientAndOneTooManyAreClosed) {
  serve({.connections_max = 1, .patience = Duration::milliseconds(5)});
  EXPECT_EQ(ask({}), "") << "out of patience";
  std::unique_ptr<Stream> first;
  loop_.connect(server_->address(), [&](Result<std::unique_ptr<Stream>> stream) {
    first = std::move(*stream);
    loop_.stop();
  });
  loop_.run();
  EXPECT_EQ(ask({"GET / HTTP/1.1\r\n\r\n"}), "");
}

TEST_F(HttpServerTest, MayGoWithConnectionsOpen) {
  serve();
  std::unique_ptr<Stream> client;
  loop_.connect(server_->address(), [&](Result<std::unique_ptr<Stream>> stream) {
    client = std::move(*stream);
    server_.reset();
  });
  loop_.run();
  EXPECT_TRUE(client);
}

TEST(MetricsEndpoint, GivesTheRegistryAsPrometheusText) {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter().Name("godwit_moves_total").Help("moves").Register(*registry).Add({{"volume", "a"}}).Increment(3);
  const TemporaryFolder folder;
  EventLoop loop;
  auto server = HttpServer::listen(loop, loop, Address{"", 0, folder / "http"}, metrics_handler(registry));
  ASSERT_TRUE(server) << server.error().message();
  const std::string answer = exchange(loop, (*server)->address(), {"GET /metrics HTTP/1.1\r\n\r\n"});
  EXPECT_NE(answer.find("200 OK"), std::string::npos);
  EXPECT_NE(answer.find("godwit_moves_total{volume=\"a\"} 3"), std::string::npos) << answer;
  EXPECT_NE(exchange(loop, (*server)->address(), {"GET / HTTP/1.1\r\n\r\n"}).find("404 Not Found"), std::string::npos);
}

}  // namespace
}  // namespace godwit::net
