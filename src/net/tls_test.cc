// TLS streams with OpenSSL's own client at the other end, over a socket pair.
#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/temporary_folder.h"
#include "net/descriptor.h"
#include "net/event_loop_wait_test.h"
#include "net/tls_identity_test.h"

namespace godwit::net {
namespace {

// Blocks, on a thread of its own.
class Client {
 public:
  explicit Client(int socket) : socket_(socket) {
    SSL_set_fd(ssl_, socket_.get());
    SSL_set_connect_state(ssl_);
  }
  ~Client() {
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  SSL* ssl() { return ssl_; }
  bool write(ConstBytes bytes) {
    std::size_t count = 0;
    return bytes.empty() || (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &count) == 1 && count == bytes.size());
  }
  bool read(MutableBytes into) {
    while (!into.empty()) {
      std::size_t count = 0;
      if (SSL_read_ex(ssl_, into.data(), into.size(), &count) != 1) return false;
      into = into.subspan(count);
    }
    return true;
  }

 private:
  Descriptor socket_;
  SSL_CTX* context_ = SSL_CTX_new(TLS_client_method());
  SSL* ssl_ = SSL_new(context_);
};

class Tls : public ::testing::Test {
 protected:
  Tls() {
    write_identity(folder_ / "certificate", folder_ / "key");
    int sockets[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    const auto identity = TlsIdentity::load(folder_ / "certificate", folder_ / "key");
    EXPECT_TRUE(identity) << identity.error().message();
    server_ = make_tls_stream(loop_, loop_.adopt(sockets[0]), *identity);
    client_socket_ = sockets[1];
  }
  template <class T>
  Result<T> wait(const std::function<void(Done<T>)>& start) {
    bool is_begun = false;
    return wait_for<T>(loop_, [&](Done<T> done) {
      start([&is_begun, done = std::move(done)](Result<T> result) mutable {
        EXPECT_TRUE(is_begun) << "within the call";
        done(std::move(result));
      });
      is_begun = true;
    });
  }
  Result<std::size_t> read(MutableBytes into) {
    const MutableBytes spans[] = {into.first(into.size() / 2), into.subspan(into.size() / 2)};
    return wait<std::size_t>([&](auto done) { server_->read(spans, std::move(done)); });
  }
  Result<void> write(ConstBytes bytes) {
    const ConstBytes spans[] = {bytes.first(bytes.size() / 3), {}, bytes.subspan(bytes.size() / 3)};
    return wait<void>([&](auto done) { server_->write(spans, std::move(done)); });
  }

  TemporaryFolder folder_;
  EventLoop loop_;
  std::unique_ptr<Stream> server_;
  int client_socket_ = -1;
};

Bytes some_bytes(std::size_t size) {
  Random random(size);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

TEST_F(Tls, BytesArriveAsTheyWereWrittenWhateverTheirNumber) {
  const std::size_t sizes[] = {1, 100, 16'383, 16'384, 16'385, 100'000, 3'000'000};
  bool client_was_right = true;
  std::thread client([&, socket = client_socket_] {
    Client peer(socket);
    for (const std::size_t size : sizes) {
      const Bytes sent = some_bytes(size);
      Bytes back(size);
      client_was_right = client_was_right && peer.write(sent) && peer.read(back) && back == sent;
    }
    char rest = 0;
    std::size_t count = 0;
    const int end = SSL_read_ex(peer.ssl(), &rest, 1, &count);
    client_was_right = client_was_right && end == 0 && SSL_get_error(peer.ssl(), end) == SSL_ERROR_ZERO_RETURN;
    SSL_shutdown(peer.ssl());
  });
  for (const std::size_t size : sizes) {
    Bytes received(size);
    for (std::size_t at = 0; at < size;) {
      const Result<std::size_t> count = read(MutableBytes(received).subspan(at));
      ASSERT_TRUE(count) << count.error().message();
      ASSERT_GT(*count, 0u);
      at += *count;
    }
    EXPECT_EQ(received, some_bytes(size));
    ASSERT_TRUE(write(received));
  }
  server_->shut_down_sending();
  Bytes room(10);
  const Result<std::size_t> end = read(room);
  client.join();
  ASSERT_TRUE(end) << end.error().message();
  EXPECT_EQ(*end, 0u) << "the peer said goodbye";
  EXPECT_TRUE(client_was_right);
}

TEST_F(Tls, APeerThatSpeaksSomethingElseIsNamed) {
  const Descriptor socket(client_socket_);
  const std::string_view text = "GET / HTTP/1.1\r\n\r\n";
  ASSERT_EQ(::send(socket.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  Bytes room(10);
  const Result<std::size_t> count = read(room);
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().kind(), ErrorKind::invalid);
  EXPECT_TRUE(count.error().message().starts_with("TLS: ")) << count.error().message();
  EXPECT_FALSE(write(room)) << "it stays an error";
}

TEST_F(Tls, ACutIsNoEnd) {
  std::thread client([socket = client_socket_] {
    Client peer(socket);
    EXPECT_TRUE(peer.write(some_bytes(10)));  // and no goodbye
  });
  Bytes room(100);
  const Result<std::size_t> first = read(room);
  client.join();
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(*first, 10u);
  const Result<std::size_t> second = read(room);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::connection_lost) << second.error().message();
}

// What the server still has to say (session tickets, say) meets a closed socket; that hides nothing of what came before.
TEST_F(Tls, WhatAPeerSaidBeforeItLeftIsReadThoughNothingReachesItAnyMore) {
  std::thread client([socket = client_socket_] {
    Client peer(socket);
    EXPECT_TRUE(peer.write(some_bytes(10)));
    std::byte answer[1];
    EXPECT_TRUE(peer.read(answer));
    EXPECT_TRUE(peer.write(some_bytes(20)));
  });
  Bytes room(100);
  const Result<std::size_t> first = read(room);
  ASSERT_TRUE(first) << first.error().message();
  ASSERT_TRUE(write(some_bytes(1)));
  client.join();
  const Result<void> written = write(some_bytes(3));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::connection_lost) << written.error().message();
  const Result<std::size_t> last = read(room);
  ASSERT_TRUE(last) << last.error().message();
  EXPECT_EQ(*last, 20u);
  EXPECT_FALSE(read(room));
}

TEST_F(Tls, ClosingEndsWhatIsUnderWayAndDestroyingDropsIt) {
  const Descriptor socket(client_socket_);
  Bytes room(10);
  const MutableBytes into[] = {room};
  int cancelled = 0;
  server_->read(into, [&](Result<std::size_t> count) { cancelled += !count && count.error().kind() == ErrorKind::cancelled; });
  server_->close();
  loop_.post([&] { loop_.stop(); });
  loop_.run();
  EXPECT_EQ(cancelled, 1);
  server_->read(into, [&](Result<std::size_t>) { cancelled = 100; });
  server_.reset();
  loop_.post([&] { loop_.stop(); });
  loop_.run();
  EXPECT_EQ(cancelled, 1);
}

TEST_F(Tls, AnIdentityThatIsNoneIsNamed) {
  const std::string certificate = folder_ / "certificate", key = folder_ / "key", other = folder_ / "other";
  write_identity(folder_ / "other_certificate", other);
  std::ofstream(folder_ / "text") << "text";
  const std::string text = folder_ / "text", none = folder_ / "none";
  const struct {
    const char* name;
    std::string certificate, key;
    ErrorKind kind;
    std::string names;
  } rows[] = {
      {"no certificate", none, key, ErrorKind::not_found, none},
      {"no key", certificate, none, ErrorKind::not_found, none},
      {"another file as certificate", text, key, ErrorKind::invalid, text},
      {"another file as key", certificate, text, ErrorKind::invalid, text},
      {"the key of another", certificate, other, ErrorKind::invalid, other},
      {"the wrong way round", key, certificate, ErrorKind::invalid, key},
  };
  for (const auto& row : rows) {
    const auto identity = TlsIdentity::load(row.certificate, row.key);
    ASSERT_FALSE(identity) << row.name;
    EXPECT_EQ(identity.error().kind(), row.kind) << row.name << ": " << identity.error().message();
    EXPECT_NE(identity.error().message().find(row.names), std::string::npos) << row.name << ": " << identity.error().message();
  }
}

}  // namespace
}  // namespace godwit::net
