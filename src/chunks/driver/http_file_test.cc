// Files behind URLs that are read by ranges: from the image server, and from servers that answer otherwise than they should.
#include "chunks/driver/http_file.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/device_archive.h"
#include "chunks/driver/http_image_server.h"
#include "net/event_loop_wait_test.h"
#include "net/http_server.h"

namespace godwit::chunks {
namespace {

class HttpFileTest : public ::testing::Test {
 protected:
  HttpFileTest() {
    std::mt19937 random(5);
    content_.resize(1'000'003);
    for (std::byte& byte : content_) byte = static_cast<std::byte>(random());
    write(content_);
    server_ =
        std::move(*HttpImageServer::listen(loop_, loop_, *workers_, *net::Address::parse("127.0.0.1:0", 1), folder_.path()));
    url_ = "http://" + server_->address().text() + "/";
  }
  void write(ConstBytes content) {
    // Another file of the same name, as one who publishes an image should do it.
    std::ofstream(folder_ / "new", std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
    std::filesystem::rename(folder_ / "new", folder_ / "t.catar");
  }
  // Pieces of 1000 bytes, twenty of which are kept.
  std::unique_ptr<HttpFile> make(const std::string& url, std::uint64_t ahead = 0) {
    HttpClientOptions client;
    client.pause = Duration::milliseconds(1);
    return std::make_unique<HttpFile>(url, loop_, client,
                                      HttpFileOptions{.piece_bytes = 1000, .cache_bytes_max = 20'000, .ahead_bytes_max = ahead});
  }
  Result<void> open(HttpFile& file) {
    return net::wait_for<void>(loop_, [&](net::Done<void> done) { file.open(std::move(done)); });
  }
  Result<Bytes> read(HttpFile& file, std::uint64_t offset, std::size_t length) {
    Bytes into(length);
    const Result<void> done =
        net::wait_for<void>(loop_, [&](net::Done<void> ready) { file.read(offset, into, std::move(ready)); });
    if (!done) return fail(done.error());
    return into;
  }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<HttpImageServer> server_;
  std::string url_;
  Bytes content_;
};

TEST_F(HttpFileTest, ReadsAnywhereAndFetchesNoMore) {
  const auto file = make(url_ + "t.catar");
  ASSERT_TRUE(open(*file));
  EXPECT_EQ(file->size(), content_.size());
  const std::pair<std::uint64_t, std::size_t> rows[] = {{0, 1},         {999, 2}, {500'000, 3000},
                                                        {1'000'000, 3}, {7, 0},   {1'000'003, 0}};
  for (const auto& [offset, length] : rows)
    EXPECT_EQ(read(*file, offset, length).value(), to_bytes(ConstBytes(content_).subspan(offset, length))) << offset;
  EXPECT_EQ(file->bytes_fetched(), 1000U + 1000 + 3000 + 3);
  EXPECT_EQ(read(*file, 1'000'000, 4).error().kind(), ErrorKind::invalid);
}

TEST_F(HttpFileTest, ManyReadsAtOnceOfMoreThanIsKept) {
  const auto file = make(url_ + "t.catar", 5000);
  ASSERT_TRUE(open(*file));
  std::vector<Bytes> into(50, Bytes(30'000));
  std::size_t left = into.size();
  for (std::size_t i = 0; i < into.size(); ++i)
    file->read(i * 19'000, into[i], [&](Result<void> done) {
      EXPECT_TRUE(done) << done.error().message();
      if (--left == 0) loop_.stop();
    });
  loop_.run();
  for (std::size_t i = 0; i < into.size(); ++i)
    EXPECT_EQ(into[i], to_bytes(ConstBytes(content_).subspan(i * 19'000, 30'000))) << i;
}

TEST_F(HttpFileTest, AFileThatIsAnotherOneByThenIsNotReadOn) {
  const auto file = make(url_ + "t.catar");
  ASSERT_TRUE(open(*file));
  Bytes other = content_;
  other[600'000] ^= std::byte{1};
  write(other);
  EXPECT_EQ(read(*file, 0, 1000).value(), to_bytes(ConstBytes(content_).first(1000)));  // it was here
  const Result<Bytes> later = read(*file, 500'500, 10);
  ASSERT_FALSE(later);
  EXPECT_NE(later.error().message().find("at offset 500000"), std::string::npos) << later.error().message();
  EXPECT_NE(later.error().message().find("has become another one"), std::string::npos) << later.error().message();
}

TEST_F(HttpFileTest, WhatIsNotThereOrEmptyIsSaidSo) {
  write({});
  EXPECT_EQ(open(*make(url_ + "t.catar")).error().kind(), ErrorKind::invalid);
  const Result<void> opened = open(*make(url_ + "none.catar"));
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind(), ErrorKind::not_found);
  EXPECT_NE(opened.error().message().find("none.catar"), std::string::npos);
}

TEST_F(HttpFileTest, AServerThatAnswersOtherwiseIsInErrorOrKnowsNoRanges) {
  const struct {
    const char* name;
    int status;
    std::string body;
    ErrorKind kind;
  } rows[] = {
      {"the whole file", 200, std::string(5000, 'x'), ErrorKind::unsupported},
      {"a range that does not say which", 206, std::string(1000, 'x'), ErrorKind::io},
      {"nothing", 204, "", ErrorKind::io},
      {"a refusal", 403, "no", ErrorKind::refused},
      {"a failure", 500, "no", ErrorKind::io},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const auto server =
        std::move(*net::HttpServer::listen(loop_, loop_, *net::Address::parse("127.0.0.1:0", 1), [&row](const net::HttpRequest&) {
          return net::HttpResponse{row.status, "text/html", row.body};
        }));
    const Result<void> opened = open(*make("http://" + server->address().text() + "/t.catar"));
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().kind(), row.kind) << opened.error().message();
  }
}

TEST_F(HttpFileTest, AReaderOnAnotherThreadHasItsBytesUntilItIsGivenUp) {
  const auto file = make(url_ + "t.catar");
  ASSERT_TRUE(open(*file));
  DeviceArchive archive(*file, loop_);
  std::thread reader([&] {
    Bytes into(2500);
    EXPECT_TRUE(archive.read(123'456, into));
    EXPECT_EQ(into, to_bytes(ConstBytes(content_).subspan(123'456, 2500)));
    archive.cancel();
    EXPECT_EQ(archive.read(0, into).error().kind(), ErrorKind::cancelled);
    loop_.post([this] { loop_.stop(); });  // the server would run on
  });
  loop_.run();
  reader.join();
}

// A body of any size goes to a sink, and one of an error does not.
TEST_F(HttpFileTest, AWholeBodyGoesToASinkAndItsErrorEndsIt) {
  HttpClient client(loop_);
  Bytes got(content_.size());
  const auto sink = [&](std::uint64_t offset, ConstBytes piece) -> Result<void> {
    if (piece.size() > got.size() - offset) return fail(ErrorKind::no_space, "no room");
    std::ranges::copy(piece, got.begin() + static_cast<std::ptrdiff_t>(offset));
    return {};
  };
  const auto fetch = [&](const std::string& name) {
    return net::wait_for<HttpAnswer>(
        loop_, [&](net::Done<HttpAnswer> done) { client.get_into(url_ + name, 1 << 30, sink, std::move(done)); });
  };
  EXPECT_EQ(fetch("t.catar")->status, 200);
  EXPECT_EQ(got, content_);
  got.clear();
  EXPECT_EQ(fetch("none.catar")->status, 404);
  EXPECT_EQ(fetch("t.catar").error().kind(), ErrorKind::no_space);
}

}  // namespace
}  // namespace godwit::chunks
