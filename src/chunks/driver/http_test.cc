// The HTTP client and the image server: rows of what may be asked, and both against each other over loopback.
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/chunk_store.h"
#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_image_server.h"
#include "chunks/driver/http_request.h"
#include "net/event_loop_wait_test.h"
#include "net/http_server.h"

namespace godwit::chunks {
namespace {

FileRequest parse(const std::string& line, const std::string& headers = "") {
  return parse_file_request(line + "\r\n" + headers + "\r\n");
}

TEST(HttpRequest, SaysWhatAFileServerNeeds) {
  const FileRequest get = parse("GET /a%20b/x.caibx?query HTTP/1.1", "Host: h\r\nRange: bytes=1-2\r\n");
  EXPECT_EQ(get.refusal, 0);
  EXPECT_EQ(get.path, "a b/x.caibx");
  EXPECT_EQ(get.range, "bytes=1-2");
  EXPECT_TRUE(get.keep_alive);
  EXPECT_FALSE(get.is_head);
  EXPECT_TRUE(parse("HEAD /x HTTP/1.1").is_head);
  EXPECT_FALSE(parse("GET /x HTTP/1.0").keep_alive);
  EXPECT_TRUE(parse("GET /x HTTP/1.0", "connection: Keep-Alive\r\n").keep_alive);
  EXPECT_FALSE(parse("GET /x HTTP/1.1", "CONNECTION:close\r\n").keep_alive);
}

TEST(HttpRequest, WhatIsNotUnderstoodIsRefused) {
  const struct {
    const char *line, *headers;
    int refusal;
  } rows[] = {
      {"PUT /x HTTP/1.1", "", 405},
      {"GET /x", "", 400},
      {"GET x HTTP/1.1", "", 400},
      {"GET / HTTP/1.1", "", 404},
      {"GET /x HTTP/2.0", "", 505},
      {"GET /%zz HTTP/1.1", "", 400},
      {"GET /a%00 HTTP/1.1", "", 400},
      {"GET /x HTTP/1.1", "no colon\r\n", 400},
      {"GET /x HTTP/1.1", "A: b\r\n folded\r\n", 400},
      {"GET /x HTTP/1.1", "Content-Length: 3\r\n", 400},
      {"GET /x HTTP/1.1", "Transfer-Encoding: chunked\r\n", 400},
  };
  for (const auto& row : rows) {
    const FileRequest request = parse(row.line, row.headers);
    EXPECT_EQ(request.refusal, row.refusal) << row.line << " " << row.headers;
  }
  EXPECT_FALSE(parse("GET /x HTTP/1.1", "Content-Length: 3\r\n").keep_alive) << "the body would be taken for a request";
}

TEST(HttpRequest, RangesAreOfTheFile) {
  const struct {
    const char* range;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> part;  // first and length; nothing: the whole file
  } rows[] = {
      {"bytes=0-9", {{0, 10}}},
      {"bytes=90-", {{90, 10}}},
      {"bytes=90-200", {{90, 10}}},
      {"bytes=-5", {{95, 5}}},
      {"bytes=-500", {{0, 100}}},
      {"bytes=99-99", {{99, 1}}},
      {"bytes=100-", {{0, 0}}},
      {"bytes=-0", {{100, 0}}},
      {"bytes=9-5", {}},
      {"bytes=1-2,4-5", {}},
      {"lines=1-2", {}},
      {"bytes=", {}},
      {"bytes=-", {}},
      {"bytes=a-b", {}},
      {"bytes=18446744073709551616-", {}},
      {"", {}},
  };
  for (const auto& row : rows) {
    const std::optional<ByteRange> range = parse_range(row.range, 100);
    ASSERT_EQ(range.has_value(), row.part.has_value()) << row.range;
    if (!range) continue;
    EXPECT_EQ(range->first, row.part->first) << row.range;
    EXPECT_EQ(range->length, row.part->second) << row.range;
  }
}

TEST(HttpRequest, TagsAreComparedOneByOne) {
  const FileRequest request = parse("GET /x HTTP/1.1", "If-Range: \"a\"\r\nif-none-match: \"b\"\r\nIf-None-Match: W/\"c\"\r\n");
  EXPECT_EQ(request.if_range, "\"a\"");
  for (const char* tag : {"\"b\"", "\"c\""}) EXPECT_TRUE(names_tag(request.if_none_match, tag)) << tag;
  EXPECT_FALSE(names_tag(request.if_none_match, "\"a\""));
  EXPECT_TRUE(names_tag(" * ", "\"a\""));
  for (const char* list : {"", ",", "a", "\"a", "\"aa\"", "W/"}) EXPECT_FALSE(names_tag(list, "\"a\"")) << list;
}

constexpr const char* kId = "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23";  // of "abc"

TEST(HttpRequest, OnlyImagesAreServed) {
  const std::string chunk = std::string("5304/") + kId;
  for (const std::string& path : {std::string("a.caibx"), std::string("d/e.caidx"), std::string("a.catar"), chunk,
                                  chunk + ".cacnk", "default.castr/" + chunk, "a/b/" + chunk + ".cacnk"})
    EXPECT_TRUE(is_image_path(path)) << path;
  for (const std::string& path :
       {std::string("../a.caibx"), std::string("a/../b.caibx"), std::string("/a.caibx"), std::string(".#a.caibx0123"),
        std::string(".hidden/a.caibx"), std::string("a.txt"), std::string("d//a.caibx"), std::string(kId), chunk + ".tmp",
        chunk + ".0123.tmp", "5305" + chunk.substr(4), std::string("")})
    EXPECT_FALSE(is_image_path(path)) << path;
}

TEST(HttpClient, PasswordsAreNotShown) {
  EXPECT_EQ(url_for_people("http://u:secret@h/x"), "http://u:…@h/x");
  EXPECT_EQ(url_for_people("http://h:80/x@y"), "http://h:80/x@y");
  EXPECT_EQ(url_for_people("http://u@h:80/x"), "http://u@h:80/x");
}

// A folder with an index and a store with the chunk "abc", served on loopback.
class HttpTest : public ::testing::Test {
 protected:
  HttpTest() {
    std::filesystem::create_directories(folder_ / "default.castr/5304");
    std::ofstream(folder_ / "default.castr/5304/" + kId) << "abc";
    std::ofstream(folder_ / "i.caibx") << std::string(1'000'000, 'x') << "end";
    std::ofstream(folder_ / "secret.txt") << "secret";
    std::filesystem::create_symlink("/etc/passwd", folder_ / "out.caibx");
    server_ =
        std::move(*HttpImageServer::listen(loop_, loop_, *workers_, *net::Address::parse("127.0.0.1:0", 1), folder_.path()));
    url_ = "http://" + server_->address().text();
  }

  template <class T>
  Result<T> wait(const std::function<void(net::Done<T>)>& start) {
    return net::wait_for<T>(loop_, start);
  }
  Result<Bytes> get(store::BlobStore& blobs, const std::string& name, std::uint64_t size_max = 1 << 24) {
    return wait<Bytes>([&](auto done) { blobs.get(name, size_max, std::move(done)); });
  }
  Result<HttpAnswer> fetch(HttpClient& client, const std::string& path) {
    return wait<HttpAnswer>([&](auto done) { client.get(url_ + path, 1 << 24, std::move(done)); });
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<HttpImageServer> server_;
  std::string url_;
};

TEST_F(HttpTest, TheClientReadsWhatTheServerServes) {
  HttpClient client(loop_);
  const Result<HttpAnswer> index = fetch(client, "/i.caibx");
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_EQ(index->status, 200);
  EXPECT_EQ(index->body.size(), 1'000'003u);
  EXPECT_EQ(as_text(ConstBytes(index->body).last(4)), "xend");
  for (const char* path : {"/secret.txt", "/none.caibx", "/out.caibx", "/default.castr"})
    EXPECT_EQ(fetch(client, path)->status, 404) << path;
}

// What the server at `address` answers to these bytes, until it ends.
std::string talk(net::EventLoop& loop, const net::Address& address, const std::string& text) {
  const auto stream =
      std::move(*net::wait_for<std::unique_ptr<net::Stream>>(loop, [&](auto done) { loop.connect(address, std::move(done)); }));
  const ConstBytes from[] = {as_bytes(text)};
  EXPECT_TRUE(net::wait_for<void>(loop, [&](auto done) { stream->write(from, std::move(done)); }));
  std::string answer;
  Bytes room(65536);
  for (;;) {
    const MutableBytes into[] = {room};
    const Result<std::size_t> count = net::wait_for<std::size_t>(loop, [&](auto done) { stream->read(into, std::move(done)); });
    if (!count || *count == 0) return answer;
    answer += as_text(ConstBytes(room).first(*count));
  }
}

TEST_F(HttpTest, APartIsOfTheFileThatTheClientHasTheRestOf) {
  const auto ask = [&](const std::string& headers) {
    return talk(loop_, server_->address(),
                "GET /default.castr/5304/" + std::string(kId) + " HTTP/1.1\r\nConnection: close\r\n" + headers + "\r\n");
  };
  const std::string whole = ask("");
  const std::size_t at = whole.find("ETag: ");
  ASSERT_NE(at, std::string::npos) << whole;
  const std::string tag = whole.substr(at + 6, whole.find('\r', at) - at - 6);
  EXPECT_TRUE(ask("Range: bytes=1-\r\nIf-Range: " + tag + "\r\n").ends_with("\r\n\r\nbc"));
  EXPECT_TRUE(ask("Range: bytes=1-\r\nIf-Range: \"other\"\r\n").ends_with("\r\n\r\nabc"));
  EXPECT_TRUE(ask("Range: bytes=1-\r\nIf-Range: Tue, 01 Jan 2030 00:00:00 GMT\r\n").ends_with("\r\n\r\nabc"))
      << "no date is ours";
  const std::string same = ask("If-None-Match: \"other\", " + tag + "\r\n");
  EXPECT_TRUE(same.starts_with("HTTP/1.1 304 ")) << same;
  EXPECT_TRUE(same.ends_with("\r\n\r\n")) << same;
  EXPECT_NE(same.find(tag), std::string::npos);
  std::ofstream(folder_ / "default.castr/5304/" + kId) << "abcd";
  EXPECT_TRUE(ask("If-None-Match: " + tag + "\r\n").ends_with("\r\n\r\nabcd"));
}

TEST_F(HttpTest, WhoDripsARequestOrGoesOnAfterTheEndIsLeft) {
  HttpImageLimits limits;
  limits.idle = Duration::milliseconds(50);
  const auto server = std::move(
      *HttpImageServer::listen(loop_, loop_, *workers_, *net::Address::parse("127.0.0.1:0", 1), folder_.path(), limits));
  // Both send a byte now and then, and would do so for ever.
  for (const char* begin : {"GET /", "GET /none.caibx HTTP/1.1\r\nConnection: close\r\n\r\n"}) {
    const auto stream =
        std::move(*wait<std::unique_ptr<net::Stream>>([&](auto done) { loop_.connect(server->address(), std::move(done)); }));
    bool is_left = false;
    std::string text = begin;
    std::function<void()> drip = [&] {
      const ConstBytes from[] = {as_bytes(text)};
      stream->write(from, [&](Result<void> written) {
        text = "x";
        if (!written) {
          is_left = true;
          return loop_.stop();
        }
        loop_.schedule(loop_.now() + Duration::milliseconds(5), drip);
      });
    };
    drip();
    loop_.run();
    EXPECT_TRUE(is_left) << begin;
  }
}

TEST_F(HttpTest, ManyRequestsAtOnceAreAllAnswered) {
  HttpClient client(loop_);
  std::size_t answered = 0;
  for (int i = 0; i < 200; ++i)
    client.get(url_ + "/i.caibx", 1 << 24, [&](Result<HttpAnswer> answer) {
      ASSERT_TRUE(answer) << answer.error().message();
      EXPECT_EQ(answer->body.size(), 1'000'003u);
      if (++answered == 200) loop_.stop();
    });
  loop_.run();
  EXPECT_EQ(answered, 200u);
}

TEST_F(HttpTest, AChunkStoreBehindHttpGivesItsChunks) {
  auto store = std::move(*make_chunk_store(make_http_blobs(url_ + "/default.castr/", loop_), {}, *workers_));
  const ChunkId id = *ChunkId::from_hex(kId);
  const Result<Bytes> chunk = wait<Bytes>([&](auto done) { store->get(id, Digest::sha512_256, 1000, std::move(done)); });
  ASSERT_TRUE(chunk) << chunk.error().message();
  EXPECT_EQ(as_text(*chunk), "abc");
  EXPECT_EQ(wait<std::vector<bool>>([&](auto done) { store->has({id, ChunkId{}}, std::move(done)); }).value(),
            (std::vector<bool>{true, false}));
  EXPECT_EQ(wait<Bytes>([&](auto done) { store->get(ChunkId{}, Digest::sha512_256, 1000, std::move(done)); }).error().kind(),
            ErrorKind::not_found);
  const Bytes data = to_bytes(as_bytes("new"));
  EXPECT_EQ(wait<bool>([&](auto done) { store->put(ChunkId{}, data, std::move(done)); }).error().kind(), ErrorKind::read_only);
}

TEST_F(HttpTest, ABodyPastTheLimitIsNotTaken) {
  auto blobs = make_http_blobs(url_, loop_);
  EXPECT_EQ(get(*blobs, "i.caibx", 1000).error().kind(), ErrorKind::limit);
  EXPECT_EQ(get(*blobs, "../x").error().kind(), ErrorKind::invalid);
}

// A server of the test's own that answers as it is told, and counts.
class AnsweringTest : public HttpTest {
 protected:
  void serve(std::function<net::HttpResponse(const net::HttpRequest&)> handler) {
    answering_ = std::move(*net::HttpServer::listen(loop_, loop_, *net::Address::parse("127.0.0.1:0", 1),
                                                    [this, handler](const net::HttpRequest& request) {
                                                      ++asked_[request.path];
                                                      return handler(request);
                                                    }));
    HttpClientOptions options;
    options.pause = Duration::milliseconds(1);
    blobs_ = make_http_blobs("http://" + answering_->address().text(), loop_, options);
  }
  std::map<std::string, int> asked_;
  std::unique_ptr<net::HttpServer> answering_;
  std::unique_ptr<store::BlobStore> blobs_;
};

TEST_F(AnsweringTest, AServerThatComesBackIsEnough) {
  serve([this](const net::HttpRequest&) {
    return asked_["/a"] < 3 ? net::HttpResponse{500, "text/plain", ""} : net::HttpResponse{200, "text/plain", "x"};
  });
  EXPECT_EQ(as_text(get(*blobs_, "a").value()), "x");
}

// desync's chunk-server: 400 to names of the form it has not.
TEST_F(AnsweringTest, TheFormThatAServerRefusesIsNotAskedForAgain) {
  serve([](const net::HttpRequest& request) {
    if (request.path.ends_with(".cacnk")) return net::HttpResponse{400, "text/plain", "invalid"};
    return net::HttpResponse{200, "text/plain", "raw"};
  });
  EXPECT_EQ(get(*blobs_, "1234/a.cacnk").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(as_text(get(*blobs_, "1234/a").value()), "raw");
  EXPECT_EQ(get(*blobs_, "1234/b.cacnk").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(asked_["/1234/b.cacnk"], 0);
}

TEST_F(AnsweringTest, AServerThatRefusesBothFormsIsInError) {
  serve([](const net::HttpRequest&) { return net::HttpResponse{400, "text/plain", ""}; });
  EXPECT_EQ(get(*blobs_, "1234/a.cacnk").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(get(*blobs_, "1234/a").error().kind(), ErrorKind::io);
}

}  // namespace
}  // namespace godwit::chunks
