// What desync and its servers said to each other over HTTP, replayed: its servers' answers to our client, its client's requests
// to our server. Origin: src/chunks/core/testdata/desync/README.md.
#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "base/temporary_folder.h"
#include "chunks/core/chunk_id.h"
#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_image_server.h"
#include "net/event_loop_wait_test.h"

namespace godwit::chunks {
namespace {

namespace json = boost::json;

json::array recorded(const std::string& name) {
  // The engine's golden bytes lie with its core.
  const std::filesystem::path engine = std::filesystem::path(GODWIT_TESTDATA).parent_path().parent_path();
  std::ifstream file(engine / "core/testdata/desync/http" / name);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return json::parse(text).as_array();
}
std::string text_of(const json::value& value) {
  return std::string(value.as_string());
}
int status_of(const std::string& line) {
  return std::stoi(line.substr(line.find(' ') + 1));
}
std::string header_of(const json::object& message, std::string_view name) {
  for (const json::value& header : message.at("headers").as_array())
    if (header.as_array()[0].as_string() == name) return text_of(header.as_array()[1]);
  return "";
}
std::size_t body_size(const json::object& message) {
  return message.contains("body_size") ? message.at("body_size").to_number<std::size_t>() : 0;
}

// A message as it went over the wire, with another body of the same size in the same framing.
std::string wire_text(const json::object& message) {
  std::string text = text_of(message.at("line")) + "\r\n";
  for (const json::value& header : message.at("headers").as_array())
    text += text_of(header.as_array()[0]) + ": " + text_of(header.as_array()[1]) + "\r\n";
  text += "\r\n";
  const std::string body(body_size(message), 'x');
  if (header_of(message, "Transfer-Encoding") == "chunked")
    return text + fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", body.size(), body);
  return text + body;
}

class Recorded : public ::testing::Test {
 protected:
  template <class T>
  Result<T> wait(const std::function<void(net::Done<T>)>& start) {
    return net::wait_for<T>(loop_, start);
  }

  // Reads until the peer ends, or `enough` of what came.
  std::string read_all(net::Stream& stream, const std::function<bool(const std::string&)>& enough) {
    std::string text;
    Bytes room(65536);
    for (;;) {
      const MutableBytes into[] = {room};
      const Result<std::size_t> count = wait<std::size_t>([&](auto done) { stream.read(into, std::move(done)); });
      if (!count || *count == 0) return text;
      text += as_text(ConstBytes(room).first(*count));
      if (enough(text)) return text;
    }
  }

  net::EventLoop loop_;
};

// Answers each connection's one request: with `answers` of the path it asks for, else 404. Connections close afterwards.
struct Replayer {
  struct Conversation {
    std::unique_ptr<net::Stream> stream;
    std::string head, answer;
    Bytes room = Bytes(4096);
  };
  explicit Replayer(net::EventLoop& loop) {
    listener = std::move(*loop.listen(*net::Address::parse("127.0.0.1:0", 1), [this](std::unique_ptr<net::Stream> stream) {
      conversations.push_back(std::make_shared<Conversation>());
      conversations.back()->stream = std::move(stream);
      read(conversations.back());
    }));
  }
  void read(const std::shared_ptr<Conversation>& c) {
    const MutableBytes into[] = {c->room};
    c->stream->read(into, [this, c](Result<std::size_t> count) {
      if (!count || *count == 0) return;
      c->head += as_text(ConstBytes(c->room).first(*count));
      if (c->head.find("\r\n\r\n") == std::string::npos) return read(c);
      const std::size_t path = c->head.find(' ') + 1;
      const auto found = answers.find(c->head.substr(path, c->head.find(' ', path) - path));
      c->answer = found == answers.end() ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" : found->second;
      const ConstBytes from[] = {as_bytes(c->answer)};
      c->stream->write(from, [c](Result<void>) { c->stream->shut_down_sending(); });
    });
  }
  std::map<std::string, std::string> answers;  // by path
  std::vector<std::shared_ptr<Conversation>> conversations;
  std::unique_ptr<net::Listener> listener;
};

TEST_F(Recorded, OurClientTakesWhatDesyncsServersAnswer) {
  std::map<int, int> seen;
  for (const json::value& value : recorded("desync-servers.cases.json")) {
    const json::object& row = value.as_object();
    const std::string method = text_of(row.at("method")), path = text_of(row.at("path"));
    if (method != "GET" && method != "HEAD") continue;  // which we never send
    const json::object& response = row.at("response").as_object();
    const int status = status_of(text_of(response.at("line")));
    SCOPED_TRACE(text_of(row.at("server")) + ": " + text_of(row.at("what")) + ", " + method);
    ++seen[status];
    Replayer server(loop_);
    server.answers[path] = wire_text(response);
    const std::string to = header_of(response, "Location");
    if (!to.empty()) server.answers[to] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    const std::string base = "http://" + server.listener->address().text();
    HttpClientOptions once;
    once.tries = 1;
    HttpClient client(loop_, once);
    const Result<HttpAnswer> answer = wait<HttpAnswer>([&](auto done) {
      method == "HEAD" ? client.head(base + path, std::move(done)) : client.get(base + path, 1 << 20, std::move(done));
    });
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->status, to.empty() ? status : 200);
    EXPECT_EQ(answer->body.size(), to.empty() ? body_size(response) : 3u);

    // The same as a chunk: there, not there (also in this form only), or an error that is no "not there".
    const bool is_chunk = path.size() > 70 && path[5] == '/' && path.find('?') == std::string::npos;
    if (!is_chunk || method == "HEAD" || !to.empty()) continue;
    const auto blobs = make_http_blobs(base, loop_, once);
    const Result<Bytes> chunk = wait<Bytes>([&](auto done) { blobs->get(path.substr(1), 1 << 20, std::move(done)); });
    EXPECT_EQ(chunk.has_value(), status == 200);
    if (chunk) continue;
    EXPECT_EQ(chunk.error().kind() == ErrorKind::not_found, status == 404 || status == 400) << chunk.error().message();
    const bool names_status = chunk.error().message().find(std::to_string(status)) != std::string::npos;
    EXPECT_TRUE(names_status || status != 401) << chunk.error().message();
  }
  EXPECT_GE(seen[200], 10);
  for (const int status : {307, 400, 401, 404}) EXPECT_GE(seen[status], 1) << status;
}

TEST_F(Recorded, OurServerAnswersWhatDesyncsClientAsks) {
  const auto workers = net::make_workers(loop_, 1);
  int answered = 0, refused = 0;
  for (const json::value& value : recorded("desync-client.desync-servers.json")) {
    const json::object& step = value.as_object();
    SCOPED_TRACE(text_of(step.at("step")));
    for (const json::value& exchange : step.at("exchanges").as_array()) {
      const json::object& request = exchange.as_object().at("request").as_object();
      const json::object& response = exchange.as_object().at("response").as_object();
      const std::string line = text_of(request.at("line"));
      SCOPED_TRACE(line);
      const std::string method = line.substr(0, line.find(' '));
      const std::string path = line.substr(method.size() + 1, line.rfind(' ') - method.size() - 1);
      const int status = status_of(text_of(response.at("line")));
      const TemporaryFolder folder;
      if (status == 200) {
        const std::filesystem::path file = folder / path.substr(1);
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file) << std::string(body_size(response), 'x');
      }
      const auto server =
          std::move(*HttpImageServer::listen(loop_, loop_, *workers, *net::Address::parse("127.0.0.1:0", 1), folder.path()));
      const std::unique_ptr<net::Stream> stream =
          std::move(*wait<std::unique_ptr<net::Stream>>([&](auto done) { loop_.connect(server->address(), std::move(done)); }));
      const std::string text = wire_text(request);
      const ConstBytes from[] = {as_bytes(text)};
      ASSERT_TRUE(wait<void>([&](auto done) { stream->write(from, std::move(done)); }));
      stream->shut_down_sending();
      const std::string answer = read_all(*stream, [](const std::string&) { return false; });
      if (method == "PUT") {
        // Read-only: the whole of the answer's body is what desync's user is shown.
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 405 ")) << answer;
        EXPECT_NE(answer.find("only reads"), std::string::npos) << answer;
        ++refused;
        continue;
      }
      EXPECT_EQ(status_of(answer), status) << answer.substr(0, 200);
      EXPECT_EQ(answer.find("Content-Encoding"), std::string::npos) << "desync would not undo it";
      if (status != 200) continue;
      ++answered;
      const std::string length = fmt::format("Content-Length: {}\r\n", body_size(response));
      EXPECT_NE(answer.find(length), std::string::npos) << answer.substr(0, 200);
      const std::size_t body = answer.find("\r\n\r\n") + 4;
      EXPECT_EQ(answer.size() - body, method == "HEAD" ? 0 : body_size(response));
    }
  }
  EXPECT_GE(answered, 10);
  EXPECT_GE(refused, 6);
}

}  // namespace
}  // namespace godwit::chunks
