#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

#include <godwit/homa.hpp>

#include "base/random.h"
#include "homa/driver/kernel_address.h"
#include "homa/driver/lossy_relay_test.h"

namespace godwit::homa {

namespace {

using namespace std::chrono_literals;

constexpr std::uint16_t kEcho = 99;

// Where client and server share a thread: each turn counts one tick at most, however long it takes.
constexpr std::chrono::nanoseconds kQuickTick = 999us;

std::unique_ptr<Transport> open(TransportOptions options = {}) {
  if (options.bind.empty()) options.bind = "127.0.0.1";
  // A loaded machine may not run a thread for longer than the protocol's usual patience.
  if (options.tick == 1ms) options.tick = 20ms;
  Outcome<std::unique_ptr<Transport>> transport = Transport::open(options);
  if (!transport) {
    ADD_FAILURE() << transport.error().text;
    std::abort();
  }
  return std::move(*transport);
}

std::unique_ptr<Transport> open_echo(TransportOptions options = {}) {
  std::unique_ptr<Transport> server = open(options);
  const auto echo = [](Request request) {
    Message message = request.take_message();
    EXPECT_TRUE(request.reply(std::move(message)));
  };
  EXPECT_TRUE(server->serve(kEcho, echo));
  return server;
}

TransportOptions threaded(TransportOptions options = {}) {
  options.threaded = true;
  return options;
}

// Bytes that tell where they belong.
Bytes pattern(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  Random random(seed);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::ranges::equal(a, b);
}

// Turns both transports of one thread until `done`.
template <class Done>
void turn_until(Transport& a, Transport& b, Done done) {
  while (!done()) {
    a.run_once(0ms);
    b.run_once(0ms);
  }
}

}  // namespace

TEST(Transport, AMessageOfAnyLengthComesBackAsItWas) {
  const struct {
    const char* name;
    TransportOptions options;
  } rows[] = {{"loopback's own packets", {}},
              {"Ethernet's packets", {.mtu = 1500}},
              {"without the kernel's segmentation", {.mtu = 1500, .gso = false, .gro = false}},
              {"one priority", {.mtu = 1500, .priorities = 1}},
              {"paced", {.link_mbps = 1000, .mtu = 1500}},
              {"IPv6", {.bind = "[::1]"}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    const std::unique_ptr<Transport> server = open_echo(threaded(row.options));
    const std::unique_ptr<Transport> client = open(row.options);
    for (const std::size_t size : {1, 100, 1412, 1413, 60'000, 500'001, 1'000'000}) {
      const Bytes request = pattern(size, size);
      const Outcome<Message> response = client->call_and_wait(server->local_address(), kEcho, request);
      ASSERT_TRUE(response) << size << ": " << response.error().text;
      EXPECT_TRUE(equal(response->bytes(), request)) << size;
    }
  }
}

TEST(Transport, ADualSocketReachesBothFamilies) {
  const std::unique_ptr<Transport> four = open_echo(threaded());
  const std::unique_ptr<Transport> six = open_echo(threaded({.bind = "[::1]"}));
  Outcome<std::unique_ptr<Transport>> both = Transport::open({.tick = 20ms});
  ASSERT_TRUE(both) << both.error().text;
  for (const Transport* server : {four.get(), six.get()}) {
    const Outcome<Message> response = (*both)->call_and_wait(server->local_address(), kEcho, pattern(30'000, 1));
    ASSERT_TRUE(response) << response.error().text;
    EXPECT_EQ(response->size(), 30'000U);
  }
}

TEST(Transport, OneThreadCanTurnClientAndServer) {
  const std::unique_ptr<Transport> server = open_echo();
  const std::unique_ptr<Transport> client = open();
  int done = 0;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(
        client->call(server->local_address(), kEcho, pattern(100, i), [&](Outcome<Message> m) { done += m.has_value(); }));
  turn_until(*client, *server, [&] { return done == 100; });
  EXPECT_EQ(client->latencies().count, 100U);
}

TEST(Transport, CoroutinesCallAndServe) {
  const std::unique_ptr<Transport> server = open();
  const std::unique_ptr<Transport> backend = open_echo(threaded());
  // A server that asks another before it answers.
  const auto ask = [](Transport& self, Address next, Request request) -> Task {
    const Outcome<Message> inner = co_await self.call(next, kEcho, request.bytes());
    EXPECT_TRUE(inner && request.reply(inner->text()));
  };
  ASSERT_TRUE(server->serve(7, [&](Request request) { ask(*server, backend->local_address(), std::move(request)); }));
  const std::unique_ptr<Transport> client = open();
  bool is_done = false;
  const auto twice = [&](Transport& self) -> Task {
    for (const char* text : {"first", "second"}) {
      const Outcome<Message> answer = co_await self.call(server->local_address(), 7, as_bytes(text));
      EXPECT_TRUE(answer && answer->text() == text);
    }
    is_done = true;
  };
  twice(*client);
  turn_until(*client, *server, [&] { return is_done; });
}

TEST(Transport, WhereNobodyListensACallIsRefused) {
  Address gone;
  {
    gone = open()->local_address();
  }
  const Outcome<Message> response = open()->call_and_wait(gone, kEcho, as_bytes("x"));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, Reason::refused) << response.error().text;
}

TEST(Transport, AServerThatDoesNotServeThePortTimesOut) {
  const std::unique_ptr<Transport> server = open_echo(threaded({.tick = 500us}));
  const Outcome<Message> response = open({.tick = 500us})->call_and_wait(server->local_address(), kEcho + 1, as_bytes("x"));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().reason, Reason::timed_out) << response.error().text;
}

TEST(Transport, ADeadlineEndsACallThatIsNotAnswered) {
  const std::unique_ptr<Transport> server = open();
  std::vector<Request> kept;
  ASSERT_TRUE(server->serve(kEcho, [&](Request request) { kept.push_back(std::move(request)); }));
  const std::unique_ptr<Transport> client = open();
  std::optional<Outcome<Message>> outcome;
  ASSERT_TRUE(client->call(server->local_address(), kEcho, as_bytes("x"), [&](Outcome<Message> m) { outcome = std::move(m); },
                           {.deadline = 5ms}));
  turn_until(*client, *server, [&] { return outcome.has_value() && !kept.empty(); });
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().reason, Reason::timed_out);
  EXPECT_NE(outcome->error().text.find("deadline"), std::string::npos);
}

TEST(Transport, ACancelledCallEndsWithoutAWord) {
  const std::unique_ptr<Transport> server = open_echo();
  const std::unique_ptr<Transport> client = open();
  int words = 0;
  const Outcome<CallId> call = client->call(server->local_address(), kEcho, as_bytes("x"), [&](Outcome<Message>) { ++words; });
  ASSERT_TRUE(call);
  EXPECT_TRUE(client->cancel(*call));
  EXPECT_FALSE(client->cancel(*call));
  bool is_done = false;
  ASSERT_TRUE(client->call(server->local_address(), kEcho, as_bytes("y"), [&](Outcome<Message>) { is_done = true; }));
  turn_until(*client, *server, [&] { return is_done; });
  EXPECT_EQ(words, 0);
}

TEST(Transport, ArgumentsThatBreakARuleAreRefusedAtOnce) {
  const std::unique_ptr<Transport> t = open();
  const Address to = t->local_address();
  const auto never = [](Outcome<Message>) { ADD_FAILURE() << "completed"; };
  EXPECT_EQ(t->call(to, kEcho, Message(), never).error().reason, Reason::invalid);
  EXPECT_EQ(t->call(to, kEcho, t->make_message(1'000'001), never).error().reason, Reason::invalid);
  EXPECT_EQ(t->call(to, 0, as_bytes("x"), never).error().reason, Reason::invalid);
  EXPECT_EQ(t->serve(0, [](Request) {}).error().reason, Reason::invalid);
  EXPECT_EQ(t->serve(40'000, [](Request) {}).error().reason, Reason::invalid);
  EXPECT_TRUE(t->serve(5, [](Request) {}));
  EXPECT_EQ(t->serve(5, [](Request) {}).error().reason, Reason::invalid);
  EXPECT_EQ(Transport::open({.mtu = 100}).error().reason, Reason::invalid);
  EXPECT_EQ(Transport::open({.bind = "127.0.0.1:x"}).error().reason, Reason::invalid);
  EXPECT_EQ(Transport::open({.bind = "192.0.2.1"}).error().reason, Reason::io);
}

TEST(Transport, MoreBytesThanAllowedAreRefusedAsBusy) {
  const std::unique_ptr<Transport> client = open({.outbound_bytes_max = 1 << 20});
  const auto ignore = [](Outcome<Message>) {};
  const Address nowhere = client->local_address();
  ASSERT_TRUE(client->call(nowhere, kEcho, pattern(900'000, 1), ignore));
  EXPECT_EQ(client->call(nowhere, kEcho, pattern(900'000, 1), ignore).error().reason, Reason::busy);
}

TEST(Transport, LossAndDisorderAreRepaired) {
  for (const std::uint32_t mtu : {1500U, 9000U}) {
    SCOPED_TRACE(mtu);
    TransportOptions options{.mtu = mtu};
    options.tick = kQuickTick;
    const std::unique_ptr<Transport> server = open_echo(options);
    const PeerAddress at{server->local_address().ip, server->local_address().port};
    LossyRelay relay(at, {.loss = 0.01, .duplication = 0.01, .reordering = 0.02}, mtu);
    const std::unique_ptr<Transport> client = open(options);
    const Address through{relay.address().ip, relay.address().udp_port};
    int right = 0, ended = 0;
    constexpr int kCalls = 300;
    for (int i = 0; i < kCalls; ++i) {
      const std::size_t size = i % 10 == 0 ? 200'000 : 1 + 37 * i;
      ASSERT_TRUE(client->call(through, kEcho, pattern(size, i), [&, i, size](Outcome<Message> m) {
        ++ended;
        EXPECT_TRUE(m) << m.error().text;
        right += m && equal(m->bytes(), pattern(size, i));
      }));
    }
    const auto is_over = [&] {
      relay.turn();
      return ended == kCalls;
    };
    turn_until(*client, *server, is_over);
    EXPECT_EQ(right, kCalls) << client->metrics() << server->metrics();
    EXPECT_GT(relay.lost(), 0U);
  }
}

TEST(Transport, TenThousandCallsAreUnderWayAtOnce) {
  const std::unique_ptr<Transport> server = open();
  std::vector<Request> kept;
  constexpr std::size_t kCalls = 10'000;
  ASSERT_TRUE(server->serve(kEcho, [&](Request request) { kept.push_back(std::move(request)); }));
  std::vector<std::unique_ptr<Transport>> clients;
  // A server takes up to 1024 requests of one peer ahead of its application.
  for (int i = 0; i < 16; ++i) clients.push_back(open());
  std::size_t right = 0, ended = 0;
  for (std::size_t i = 0; i < kCalls; ++i)
    ASSERT_TRUE(clients[i % clients.size()]->call(server->local_address(), kEcho, pattern(100, i), [&, i](Outcome<Message> m) {
      ++ended;
      right += m && equal(m->bytes(), pattern(100, i));
    }));
  const auto turn = [&] {
    for (const std::unique_ptr<Transport>& client : clients) client->run_once(0ms);
    server->run_once(0ms);
  };
  while (kept.size() < kCalls && ended == 0) turn();
  EXPECT_EQ(kept.size(), kCalls);
  for (Request& request : kept) EXPECT_TRUE(request.reply(request.take_message()));
  while (ended < kCalls) turn();
  EXPECT_EQ(right, kCalls);
}

TEST(ThreadedTransport, ManyThreadsCallOneTransport) {
  const std::unique_ptr<Transport> server = open_echo(threaded());
  const std::unique_ptr<Transport> client = open(threaded());
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  constexpr int kThreads = 4, kCalls = 200;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const Bytes request = pattern(1 + 100 * i, t * kCalls + i);
        const Outcome<Message> response = client->call_and_wait(server->local_address(), kEcho, request);
        right += response && equal(response->bytes(), request);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, kThreads * kCalls);
  EXPECT_EQ(client->latencies().count, static_cast<std::uint64_t>(kThreads * kCalls));
}

TEST(ThreadedTransport, RequestsAreAnsweredOnOtherThreads) {
  const std::unique_ptr<Transport> server = open(threaded());
  std::vector<std::thread> workers;
  ASSERT_TRUE(server->serve(kEcho, [&](Request request) {
    workers.emplace_back([request = std::move(request)]() mutable { EXPECT_TRUE(request.reply("done")); });
  }));
  const std::unique_ptr<Transport> client = open();
  for (int i = 0; i < 10; ++i) {
    const Outcome<Message> response = client->call_and_wait(server->local_address(), kEcho, as_bytes("x"));
    ASSERT_TRUE(response) << response.error().text;
    EXPECT_EQ(response->text(), "done");
  }
  server->stop_serving(kEcho);
  for (std::thread& worker : workers) worker.join();
}

TEST(ThreadedTransport, CallsThatAreUnderWayAtTheEndAreToldSo) {
  const std::unique_ptr<Transport> server = open(threaded());
  std::vector<Request> kept;
  std::latch arrived(1);
  ASSERT_TRUE(server->serve(kEcho, [&](Request request) {
    kept.push_back(std::move(request));
    arrived.count_down();
  }));
  std::unique_ptr<Transport> client = open(threaded());
  std::optional<Outcome<Message>> outcome;
  ASSERT_TRUE(client->call(server->local_address(), kEcho, as_bytes("x"), [&](Outcome<Message> m) { outcome = std::move(m); }));
  arrived.wait();
  client.reset();
  ASSERT_TRUE(outcome.has_value());
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().reason, Reason::shut_down);
  server->stop_serving(kEcho);
}

TEST(ThreadedTransport, CallsAreCancelledFromOtherThreads) {
  constexpr int kCalls = 1000;
  std::vector<std::atomic<int>> ended(kCalls);  // outlives the transport, whose end answers what is still under way
  const std::unique_ptr<Transport> server = open_echo(threaded());
  std::unique_ptr<Transport> client = open(threaded());
  for (int i = 0; i < kCalls; ++i) {
    const Outcome<CallId> call =
        client->call(server->local_address(), kEcho, pattern(50'000, i), [&ended, i](Outcome<Message>) { ++ended[i]; });
    ASSERT_TRUE(call);
    if (i % 2 == 0) {
      EXPECT_TRUE(client->cancel(*call));
    }
  }
  ASSERT_TRUE(client->call_and_wait(server->local_address(), kEcho, as_bytes("last")));
  EXPECT_NE(client->metrics().find("godwit_homa_calls_started_total 1001\n"), std::string::npos);
  client.reset();
  int silent = 0;  // a cancelled call may have been answered before the transport's thread heard of it
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_LE(ended[i], 1) << i;
    if (i % 2 == 0)
      silent += ended[i] == 0 ? 1 : 0;
    else
      EXPECT_EQ(ended[i], 1) << i;
  }
  EXPECT_GT(silent, 0);
}

TEST(ThreadedTransport, TellsTheRoundTripInSeconds) {
  const std::unique_ptr<Transport> server = open_echo(threaded());
  const std::unique_ptr<Transport> client = open(threaded());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client->call_and_wait(server->local_address(), kEcho, as_bytes("x")));
  const std::string metrics = client->metrics();
  const std::string name = "\ngodwit_homa_round_trip_seconds ";
  const std::size_t at = metrics.find(name);
  ASSERT_NE(at, std::string::npos) << metrics;
  const double seconds = std::stod(metrics.substr(at + name.size()));
  EXPECT_GT(seconds, 0) << metrics;
  EXPECT_LT(seconds, 60) << metrics;
}

TEST(Message, OutlivesItsTransport) {
  Outcome<Message> response = std::unexpected(Failure{});
  {
    const std::unique_ptr<Transport> server = open_echo(threaded());
    response = open()->call_and_wait(server->local_address(), kEcho, pattern(300'000, 3));
  }
  ASSERT_TRUE(response);
  EXPECT_TRUE(equal(response->bytes(), pattern(300'000, 3)));
}

}  // namespace godwit::homa
