#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include <godwit/homa.h>

namespace {

constexpr int kPatienceMs = 60'000;

struct Homa {
  explicit Homa(uint16_t port) : it(homa_open("127.0.0.1", port)) { EXPECT_NE(it, nullptr) << std::strerror(errno); }
  ~Homa() { homa_close(it); }
  homa_address address() const {
    homa_address address;
    EXPECT_EQ(homa_getsockname(it, &address), 0);
    return address;
  }
  struct homa* it;
};

}  // namespace

TEST(CInterface, ARequestIsReceivedAnsweredAndItsResponseReceived) {
  const Homa server(99), client(0);
  const homa_address to = server.address();
  std::thread serving([&] {
    char request[16] = "";
    uint64_t id = 0, cookie = 1;
    homa_address from;
    size_t length = 0;
    EXPECT_EQ(homa_recv(server.it, request, sizeof request, HOMA_RECV_REQUEST, kPatienceMs, &from, &id, &length, &cookie), 5);
    EXPECT_EQ(length, 5U);
    EXPECT_EQ(cookie, 0U);
    EXPECT_STREQ(request, "hello");
    EXPECT_EQ(homa_reply(server.it, "good day", 8, id), 0);
    EXPECT_EQ(homa_reply(server.it, "twice", 5, id), -1);
    EXPECT_EQ(errno, EINVAL);
  });
  uint64_t id = 0, cookie = 0;
  ASSERT_EQ(homa_send(client.it, "hello", 5, &to, &id, 42), 0);
  char response[4];
  size_t length = 0;
  homa_address from;
  EXPECT_EQ(homa_recv(client.it, response, sizeof response, 0, kPatienceMs, &from, &id, &length, &cookie), 4);
  EXPECT_EQ(std::string(response, 4), "good");
  EXPECT_EQ(length, 8U);
  EXPECT_EQ(cookie, 42U);
  EXPECT_EQ(from.homa_port, 99);
  serving.join();
}

TEST(CInterface, ACallThatFailsTellsWhichAndWhy) {
  homa_address gone;
  {
    gone = Homa(99).address();
  }
  const Homa client(0);
  uint64_t sent = 0, id = 0, cookie = 0;
  ASSERT_EQ(homa_send(client.it, "x", 1, &gone, &sent, 7), 0);
  char buffer[1];
  EXPECT_EQ(homa_recv(client.it, buffer, 1, HOMA_RECV_RESPONSE, kPatienceMs, nullptr, &id, nullptr, &cookie), -1);
  EXPECT_EQ(errno, ENOTCONN);
  EXPECT_EQ(id, sent);
  EXPECT_EQ(cookie, 7U);
}

TEST(CInterface, ArgumentsThatBreakARuleAreRefused) {
  const Homa client(0);
  homa_address to;
  ASSERT_EQ(homa_resolve("127.0.0.1:9", 99, &to), 0);
  char buffer[1];
  uint64_t id = 0;
  const auto failed = [](long result, int number) { return result == -1 && errno == number; };
  EXPECT_TRUE(failed(homa_send(client.it, "x", 0, &to, &id, 0), EINVAL));
  EXPECT_TRUE(failed(homa_send(client.it, "x", HOMA_MAX_MESSAGE_LENGTH + 1, &to, &id, 0), EMSGSIZE));
  EXPECT_TRUE(failed(homa_recv(client.it, buffer, 1, 0, 0, nullptr, nullptr, nullptr, nullptr), EINVAL));
  EXPECT_TRUE(
      failed(homa_recv(client.it, buffer, 1, HOMA_RECV_RESPONSE | HOMA_RECV_NONBLOCKING, 0, nullptr, nullptr, nullptr, nullptr),
             EAGAIN));
  id = 12345;
  EXPECT_TRUE(failed(homa_recv(client.it, buffer, 1, 0, 0, nullptr, &id, nullptr, nullptr), EINVAL));
  EXPECT_TRUE(failed(homa_abort(client.it, 12345), EINVAL));
  EXPECT_TRUE(failed(homa_resolve("127.0.0.1:x", 99, &to), EINVAL));
  EXPECT_EQ(homa_open("127.0.0.1", 40'000), nullptr);
  ASSERT_EQ(homa_send(client.it, "x", 1, &to, &id, 0), 0);
  EXPECT_EQ(homa_abort(client.it, id), 0);
  EXPECT_TRUE(failed(homa_abort(client.it, id), EINVAL));
}
