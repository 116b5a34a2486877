// What the HTTP client makes of answers: good ones in every framing, and each kind of bad one with a sentence that names the URL
// and the cause. The server is the test's own and says just what it is told.
#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_scene_test.h"
#include "net/event_loop_wait_test.h"
#include "net/tls.h"
#include "net/tls_identity_test.h"

namespace godwit::chunks {
namespace {

class HttpAnswers : public ::testing::Test {
 protected:
  HttpAnswers() { options_.pause = Duration::milliseconds(1); }

  // All that is asked is answered so.
  HttpScene& serve(RawAnswer answer) {
    return serve([answer](const SeenRequest&) { return answer; });
  }
  HttpScene& serve(HttpScene::Handler handler) {
    servers_.push_back(std::make_unique<HttpScene>(loop_, std::move(handler)));
    return *servers_.back();
  }
  Result<Bytes> get(const std::string& store, const std::string& name = "a", std::uint64_t size_max = 1000) {
    const auto blobs = make_http_blobs(store, loop_, options_);
    return net::wait_for<Bytes>(loop_, [&](auto done) { blobs->get(name, size_max, std::move(done)); });
  }
  Result<std::vector<bool>> has(const std::string& store) {
    const auto blobs = make_http_blobs(store, loop_, options_);
    return net::wait_for<std::vector<bool>>(loop_, [&](auto done) { blobs->has({"a"}, std::move(done)); });
  }

  net::EventLoop loop_;
  HttpClientOptions options_;
  std::vector<std::unique_ptr<HttpScene>> servers_;
};

TEST_F(HttpAnswers, ABodyIsTakenInEveryFraming) {
  const struct {
    const char *name, *answer;
    bool closes;
  } rows[] = {
      {"with its length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false},
      {"in small letters", "HTTP/1.1 200 ok\r\ncontent-length:3\r\n\r\nabc", false},
      {"in pieces", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", false},
      {"to the end of the connection", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", true},
      {"of an older version", "HTTP/1.0 200 OK\r\n\r\nabc", true},
      {"after words in between", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false},
      {"and something behind it", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdefgh", false},
  };
  for (const auto& row : rows) {
    const HttpScene& server = serve({row.answer, row.closes});
    const Result<Bytes> got = get(server.url());
    ASSERT_TRUE(got) << row.name << ": " << got.error().message();
    EXPECT_EQ(as_text(*got), "abc") << row.name;
    EXPECT_EQ(server.seen.size(), 1u) << row.name;
  }
}

TEST_F(HttpAnswers, EachBadOneGetsItsSentence) {
  const std::string page(5000, 'x');
  const struct {
    const char* name;
    RawAnswer answer;
    ErrorKind kind;
    const char* words;
    std::size_t requests;
  } rows[] = {
      {"not there", answer_of(404, ""), ErrorKind::not_found, "is not there", 1},
      {"not there, and a page longer than the blob may be", answer_of(404, page), ErrorKind::not_found, "is not there", 1},
      {"not there, and a page without end",
       {answer_of(404, std::string(2'000'000, 'x')).bytes, true},
       ErrorKind::not_found,
       "is not there",
       1},
      {"forbidden", answer_of(403, ""), ErrorKind::refused, "status 403: give a user and password in the URL or in ~/.netrc", 1},
      {"a password is wanted", answer_of(401, "", "WWW-Authenticate: Basic realm=\"x\"\r\n"), ErrorKind::refused,
       "status 401: give a user and password in the URL or in ~/.netrc", 1},
      {"gone", answer_of(410, page), ErrorKind::io, "the server answered with status 410", 1},
      {"too often", answer_of(429, ""), ErrorKind::io, "the server answered with status 429", 1},
      {"a part", answer_of(206, "abc"), ErrorKind::io, "the server answered with status 206", 1},
      {"no content", {"HTTP/1.1 204 No Content\r\n\r\n", false}, ErrorKind::io, "the server answered with status 204", 1},
      {"an error of the server", answer_of(500, page), ErrorKind::io, "the server answered with status 500 (3 tries)", 3},
      {"nobody behind the proxy", answer_of(502, ""), ErrorKind::io, "the server answered with status 502 (3 tries)", 3},
      {"overloaded", answer_of(503, "", "Retry-After: 1\r\n"), ErrorKind::io, "the server answered with status 503 (3 tries)", 3},
      {"a body shorter than said",
       {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", true},
       ErrorKind::connection_lost,
       "97 bytes remaining to read (3 tries)",
       3},
      {"a body in pieces that is cut off",
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", true},
       ErrorKind::connection_lost,
       "outstanding read data remaining (3 tries)",
       3},
      {"no answer", {"", true}, ErrorKind::connection_lost, "(3 tries)", 3},
      {"half an answer's head",
       {"HTTP/1.1 200 OK\r\nContent-Le", true},
       ErrorKind::connection_lost,
       "the answer ends within its head (3 tries)",
       3},
      {"a length that is none",
       {"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nabc", true},
       ErrorKind::invalid,
       "Invalid Content-Length",
       1},
      {"a length below zero",
       {"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", true},
       ErrorKind::invalid,
       "Invalid Content-Length",
       1},
      {"a length of 2^63 - 1",
       {"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc", true},
       ErrorKind::connection_lost,
       "bytes remaining to read (3 tries)",
       3},
      {"pieces that are none",
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc", true},
       ErrorKind::connection_lost,
       "chunk",
       3},
      {"longer than it may be", answer_of(200, page), ErrorKind::limit, "more than 1000 bytes", 1},
      {"an ssh server", {"SSH-2.0-OpenSSH_9.2p1 Debian\r\n", false}, ErrorKind::invalid, "does not speak HTTP", 1},
      {"noise", {std::string("\x00\x01\x02\xff\xfe junk\n", 12), true}, ErrorKind::invalid, "does not speak HTTP", 1},
      {"TLS", {std::string("\x15\x03\x01\x00\x02\x02\x46", 7), true}, ErrorKind::invalid, "does not speak HTTP", 1},
      {"headers without end", {"HTTP/1.1 200 OK\r\nX: " + std::string(2'000'000, 'x'), true}, ErrorKind::connection_lost, "", 0},
      {"redirected to itself", answer_of(302, "", "Location: /a\r\n"), ErrorKind::invalid,
       "it is redirected more than 10 times, perhaps in a circle", 11},
      {"redirected to nowhere", answer_of(302, ""), ErrorKind::io, "the server answered with status 302", 1},
      {"redirected to a file", answer_of(302, "", "Location: file:///etc/passwd\r\n"), ErrorKind::invalid, "file", 1},
      {"redirected to another protocol", answer_of(301, "", "Location: gopher://127.0.0.1/x\r\n"), ErrorKind::invalid, "gopher",
       1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const HttpScene& server = serve(row.answer);
    const Result<Bytes> got = get(server.url());
    EXPECT_FALSE(got);
    if (got) continue;
    EXPECT_EQ(got.error().kind(), row.kind) << name_of(got.error().kind()) << ": " << got.error().message();
    EXPECT_TRUE(got.error().message().starts_with(server.url() + "/a")) << got.error().message();
    EXPECT_NE(got.error().message().find(row.words), std::string::npos) << got.error().message();
    EXPECT_TRUE(row.requests == 0 || server.seen.size() == row.requests) << server.seen.size() << " requests";
  }
}

TEST_F(HttpAnswers, ARefusalsPageDoesNotCostTheConnection) {
  HttpScene& server = serve(answer_of(404, std::string(5000, 'x')));
  const auto blobs = make_http_blobs(server.url(), loop_, options_);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(net::wait_for<Bytes>(loop_, [&](auto done) { blobs->get("a", 10, std::move(done)); }).error().kind(),
              ErrorKind::not_found);
  EXPECT_EQ(server.seen.size(), 3u);
  EXPECT_EQ(server.connections, 1);
}

TEST_F(HttpAnswers, RedirectsAreFollowed) {
  for (const int status : {301, 302, 303, 307, 308}) {
    HttpScene& there = serve(
        [](const SeenRequest& request) { return request.path == "/moved/a?key=1" ? answer_of(200, "abc") : answer_of(404, ""); });
    HttpScene& here = serve(answer_of(status, "moved", "Location: " + there.url() + "/moved/a?key=1\r\n"));
    EXPECT_EQ(as_text(get(here.url()).value()), "abc") << status;
    EXPECT_EQ(has(here.url()).value(), std::vector<bool>{true}) << status;
    EXPECT_EQ(there.seen.at(0).method, "GET");
    EXPECT_EQ(there.seen.at(1).method, "HEAD");
  }
}

TEST_F(HttpAnswers, WhereItWasRedirectedToIsTold) {
  HttpScene& there = serve(answer_of(403, ""));
  HttpScene& here = serve(answer_of(302, "", "Location: http://u:secret@" + there.host() + "/moved\r\n"));
  const Result<Bytes> got = get(here.url());
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error().message().starts_with(here.url() + "/a (redirected to http://u:…@" + there.host() + "/moved): "))
      << got.error().message();
}

TEST_F(HttpAnswers, APasswordIsSentToItsHostAndPortAlone) {
  HttpScene& other = serve(answer_of(200, "abc"));
  HttpScene& here = serve([&](const SeenRequest& request) {
    if (request.path == "/a") return answer_of(302, "", "Location: /b\r\n");
    return answer_of(302, "", "Location: " + other.url() + "/c\r\n");
  });
  EXPECT_EQ(as_text(get("http://user:secret@" + here.host()).value()), "abc");
  ASSERT_EQ(here.seen.size(), 2u);
  EXPECT_EQ(here.seen[0].header("Authorization"), "Basic dXNlcjpzZWNyZXQ=");
  EXPECT_EQ(here.seen[1].header("Authorization"), "Basic dXNlcjpzZWNyZXQ=");
  ASSERT_EQ(other.seen.size(), 1u);
  EXPECT_EQ(other.seen[0].head.find("Authorization"), std::string::npos) << other.seen[0].head;
  EXPECT_EQ(other.seen[0].head.find("secret"), std::string::npos) << other.seen[0].head;

  // The same port under another name is another host.
  const std::string port = here.host().substr(here.host().find(':'));
  HttpScene& first = serve(answer_of(302, "", "Location: http://localhost" + port + "/a\r\n"));
  here.seen.clear();
  EXPECT_EQ(as_text(get("http://user:secret@" + first.host()).value()), "abc");
  ASSERT_EQ(here.seen.size(), 2u);
  EXPECT_EQ(here.seen[0].header("Authorization"), "");
}

TEST_F(HttpAnswers, APasswordThatIsRefusedIsNotShown) {
  HttpScene& server = serve(answer_of(401, ""));
  const Result<Bytes> got = get("http://user:secret@" + server.host());
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error().message().starts_with("http://user:…@" + server.host() + "/a: ")) << got.error().message();
  EXPECT_EQ(got.error().message().find("secret"), std::string::npos) << got.error().message();
}

TEST_F(HttpAnswers, NobodyAndAnUnknownHostAreNoAbsence) {
  options_.tries = 2;
  const std::string nobody = serve(answer_of(200, "")).url();
  servers_.clear();
  for (const std::string& url : {nobody, std::string("http://nowhere.invalid")}) {
    const Result<Bytes> got = get(url);
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().kind(), ErrorKind::connection_lost) << got.error().message();
    EXPECT_TRUE(got.error().message().starts_with(url + "/a: ")) << got.error().message();
    EXPECT_TRUE(got.error().message().ends_with("(2 tries)")) << got.error().message();
    EXPECT_EQ(has(url).error().kind(), ErrorKind::connection_lost);
  }
}

TEST_F(HttpAnswers, AServerThatSaysNoMoreIsGivenUp) {
  options_.tries = 1;
  options_.stall_limit = Duration::seconds(1);
  HttpScene& server = serve({"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", false});
  const Result<Bytes> got = get(server.url());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::timed_out) << got.error().message();
  EXPECT_TRUE(got.error().message().starts_with(server.url() + "/a: ")) << got.error().message();
}

TEST_F(HttpAnswers, WhatIsNoUrlIsSaidSo) {
  for (const char* url : {"http://a b", "http://[::1", "ftp://127.0.0.1/x", "http://127.0.0.1:99999"}) {
    const Result<Bytes> got = get(url);
    ASSERT_FALSE(got) << url;
    EXPECT_EQ(got.error().kind(), ErrorKind::invalid) << url << ": " << got.error().message();
  }
}

// Time stands still and is asked for: how long the client waits before it tries again.
class RecordingScheduler final : public net::Scheduler {
 public:
  explicit RecordingScheduler(net::EventLoop& loop) : loop_(loop) {}
  Instant now() const override { return Instant{}; }
  void post(net::Task task) override { loop_.post(std::move(task)); }
  net::TimerId schedule(Instant when, net::Task task) override {
    waits.push_back(when - now());
    loop_.post(std::move(task));
    return {};
  }
  void cancel(net::TimerId) override {}
  void hold() override { loop_.hold(); }
  void release() override { loop_.release(); }
  std::vector<Duration> waits;

 private:
  net::EventLoop& loop_;
};

TEST_F(HttpAnswers, EachPauseIsLongerThanTheOneBefore) {
  HttpScene& server = serve(answer_of(503, ""));
  RecordingScheduler scheduler(loop_);
  options_.tries = 4;
  options_.pause = Duration::seconds(1000);
  const auto blobs = make_http_blobs(server.url(), scheduler, options_);
  EXPECT_FALSE(net::wait_for<Bytes>(loop_, [&](auto done) { blobs->get("a", 10, std::move(done)); }));
  ASSERT_EQ(scheduler.waits.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(scheduler.waits[static_cast<std::size_t>(i)], Duration::seconds(1000 * (i + 1)));
}

class HttpsAnswers : public HttpAnswers {
 protected:
  HttpsAnswers() {
    net::write_identity(folder_ / "certificate", folder_ / "key");
    tls_.emplace(loop_, loop_, *net::TlsIdentity::load(folder_ / "certificate", folder_ / "key"));
  }
  HttpScene& serve_by_tls(RawAnswer answer) {
    servers_.push_back(std::make_unique<HttpScene>(*tls_, [answer](const SeenRequest&) { return answer; }, "https"));
    return *servers_.back();
  }
  TemporaryFolder folder_;
  std::optional<net::TlsNetwork> tls_;
};

TEST_F(HttpsAnswers, OnlyATrustedCertificateWillDo) {
  HttpScene& server = serve_by_tls(answer_of(200, "abc"));
  const Result<Bytes> unknown = get(server.url());
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind(), ErrorKind::refused) << unknown.error().message();
  EXPECT_NE(unknown.error().message().find("self-signed certificate"), std::string::npos) << unknown.error().message();
  EXPECT_NE(unknown.error().message().find("SSL_CERT_FILE"), std::string::npos) << unknown.error().message();
  EXPECT_TRUE(server.seen.empty());

  options_.authorities = folder_ / "certificate";
  EXPECT_EQ(as_text(get(server.url()).value()), "abc");

  net::write_identity(folder_ / "other", folder_ / "other.key");
  options_.authorities = folder_ / "other";
  EXPECT_EQ(get(server.url()).error().kind(), ErrorKind::refused) << "somebody else's certificate";
  options_.authorities = folder_ / "none";
  const Result<Bytes> none = get(server.url());
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message().find(folder_ / "none"), std::string::npos) << none.error().message();
}

TEST_F(HttpsAnswers, PlainHttpIsNoAnswer) {
  HttpScene& server = serve(answer_of(200, "abc"));
  server.greeting = answer_of(400, "plain").bytes;  // as servers do to what is no request
  const Result<Bytes> got = get("https://" + server.host());
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message().find("does it speak HTTPS?"), std::string::npos) << got.error().message();
}

TEST_F(HttpsAnswers, NoRedirectLeadsOutOfIt) {
  options_.authorities = folder_ / "certificate";
  HttpScene& plain = serve(answer_of(200, "abc"));
  HttpScene& secure = serve_by_tls(answer_of(200, "abc"));
  HttpScene& to_plain = serve_by_tls(answer_of(302, "", "Location: " + plain.url() + "/a\r\n"));
  HttpScene& to_secure = serve(answer_of(302, "", "Location: " + secure.url() + "/a\r\n"));
  const Result<Bytes> got = get(to_plain.url());
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::invalid) << got.error().message();
  EXPECT_TRUE(got.error().message().starts_with(to_plain.url())) << got.error().message();
  EXPECT_TRUE(plain.seen.empty());
  EXPECT_EQ(as_text(get(to_secure.url()).value()), "abc") << "into it is fine";
}

}  // namespace
}  // namespace godwit::chunks
