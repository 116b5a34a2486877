#include "homa/driver/driver.h"

#include <gtest/gtest.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "homa/driver/datagram_text.h"
#include "homa/driver/kernel_address.h"
#include "homa/driver/latency_histogram.h"
#include "homa/driver/link_facts.h"

namespace godwit::homa {

namespace {

constexpr Port kEcho{99};

DriverOptions options_of(std::uint32_t max_data = 1412) {
  DriverOptions options;
  options.udp.bind = ipv4_address(0x7f000001, 0);
  options.config.max_data = max_data;
  options.config.link_mbps = 0;
  options.config.tick = Duration::milliseconds(20);
  options.seed = 1;
  return options;
}

std::unique_ptr<Driver> open(const DriverOptions& options) {
  Result<std::unique_ptr<Driver>> driver = Driver::open(options);
  if (!driver) {
    ADD_FAILURE() << driver.error().message();
    std::abort();
  }
  return std::move(*driver);
}

// A socket that is nobody's peer yet, and what it sends.
class Stranger {
 public:
  Stranger() : descriptor_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~Stranger() { close(descriptor_); }
  // Where it can be reached; nobody reads what comes.
  PeerAddress listen() {
    const KernelAddress any(ipv4_address(0x7f000001, 0), false);
    EXPECT_EQ(bind(descriptor_, any.data(), any.size()), 0);
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    EXPECT_EQ(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&own), &size), 0);
    return peer_address_of(own);
  }
  void send(const PeerAddress& to, const Packet& packet, ConstBytes data = {}) {
    std::array<std::byte, kHeaderSizeMax> header;
    Bytes bytes = to_bytes(ConstBytes(header).first(encode_packet(packet, header)));
    append(bytes, data);
    send(to, bytes);
  }
  void send(const PeerAddress& to, ConstBytes bytes) {
    const KernelAddress name(to, false);
    EXPECT_EQ(sendto(descriptor_, bytes.data(), bytes.size(), 0, name.data(), name.size()), static_cast<ssize_t>(bytes.size()));
  }

 private:
  int descriptor_;
};

Packet request_packet(RpcId id, std::uint32_t length) {
  return {
      kFirstClientPort, kEcho, id,
      Data{.message_length = length, .incoming = length, .cutoff_version = 1, .offset = 0, .segment_length = length, .ack = {}}};
}

// One byte of a message that is said to be long.
Packet first_packet(RpcId id, Port to, std::uint32_t length) {
  Packet packet = request_packet(id, 1);
  std::get<Data>(packet.body).message_length = length;
  packet.destination = to;
  if (!is_client_id(id)) packet.source = kEcho;
  return packet;
}

// Of this process.
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  EXPECT_TRUE(statm >> all >> resident);
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// What the kernel charges for datagrams that wait.
std::uint32_t receive_queue_bytes(const UdpSocket& socket) {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(getsockopt(socket.descriptor(), SOL_SOCKET, SO_MEMINFO, info.data(), &size), 0);
  return info[SK_MEMINFO_RMEM_ALLOC];
}

std::optional<Delivery> next_event(Driver& driver, Port port = kEcho) {
  driver.transmit();
  driver.wait(Driver::now());
  return driver.poll_event(port);
}

}  // namespace

TEST(MessagePool, GivesRoomForEveryLengthAndTakesItBack) {
  MessagePool pool(1 << 20);
  for (const std::uint32_t size : {1U, 256U, 257U, 384U, 385U, 65'536U, 65'537U, 1'000'000U, 40'000'000U}) {
    const MessageBuffer buffer = pool.take(size);
    ASSERT_TRUE(buffer);
    EXPECT_GE(buffer.capacity(), size);
    EXPECT_LE(buffer.capacity(), std::max(256U, size + size / 2)) << size;
    buffer.data()[0] = buffer.data()[size - 1] = std::byte{1};
    EXPECT_EQ(pool.used_bytes(), buffer.capacity());
  }
  EXPECT_EQ(pool.used_bytes(), 0U);
  EXPECT_LE(pool.kept_bytes(), std::size_t{1} << 20);
}

TEST(MessagePool, UsesABufferAgainAndKeepsNoMoreThanItMay) {
  MessagePool pool(4096);
  const std::byte* first = pool.take(1000).data();
  EXPECT_EQ(pool.take(1000).data(), first);
  {
    std::vector<MessageBuffer> many;
    for (int i = 0; i < 100; ++i) many.push_back(pool.take(1000));
  }
  EXPECT_LE(pool.kept_bytes(), 4096U);
}

TEST(MessagePool, BuffersOutliveItOnOtherThreads) {
  MessageBuffer left;
  {
    MessagePool pool(1 << 20);
    left = pool.take(5000);
  }
  std::thread([last = std::move(left)] { EXPECT_TRUE(last); }).join();
}

TEST(LatencyHistogram, TellsQuantilesToAnEighth) {
  LatencyHistogram h;
  EXPECT_EQ(h.quantile(0.5).nanoseconds, 0);
  for (std::int64_t us = 1; us <= 1000; ++us) h.record(Duration::microseconds(us));
  const struct {
    double q;
    double us;
  } rows[] = {{0.001, 1}, {0.5, 500}, {0.9, 900}, {0.99, 990}, {1, 1000}};
  for (const auto& row : rows) {
    const double got = static_cast<double>(h.quantile(row.q).nanoseconds) / 1000;
    EXPECT_GE(got, row.us) << row.q;
    EXPECT_LE(got, row.us * 1.13) << row.q;
  }
  EXPECT_EQ(h.count(), 1000U);
  EXPECT_EQ(h.least().nanoseconds, 1000);
  EXPECT_EQ(h.most().nanoseconds, 1'000'000);
  EXPECT_LE(h.count_up_to(Duration::microseconds(100)), 100U);
  EXPECT_GE(h.count_up_to(Duration::microseconds(100)), 85U);
}

TEST(KernelAddress, TextIsReadAsItIsWritten) {
  for (const char* text : {"127.0.0.1:9160", "[::1]:1", "[2001:db8::7]:65535"}) {
    const Result<PeerAddress> address = resolve_peer(text, 5);
    ASSERT_TRUE(address) << address.error().message();
    EXPECT_EQ(text_of(*address), text);
  }
  EXPECT_EQ(text_of(*resolve_peer("127.0.0.1", 5)), "127.0.0.1:5");
  EXPECT_EQ(text_of(*resolve_peer("[::1]", 5)), "[::1]:5");
  for (const char* text : {"", ":1", "::1", "[::1", "[::1]x", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:1x"})
    EXPECT_FALSE(resolve_peer(text, 5)) << text;
}

TEST(LinkFacts, LoopbackIsKnown) {
  const LinkFacts facts = link_facts(ipv4_address(0x7f000001, 0));
  EXPECT_TRUE(facts.is_loopback);
  EXPECT_GE(facts.mtu, 1500U);
  EXPECT_FALSE(link_facts(PeerAddress{}).is_loopback);
}

TEST(Driver, LooksAtWhatCameBetweenOneThousandDatagramsAndTheNext) {
  const std::unique_ptr<Driver> client = open(options_of());
  const Port port = *client->open_port(kNoPort);
  const PeerAddress nobody_reads = client->socket().local_address();
  constexpr std::uint64_t kCalls = 3000;
  for (std::uint64_t i = 0; i < kCalls; ++i)
    ASSERT_TRUE(client->call(port, nobody_reads, kEcho, client->pool().take(100), 100, i));
  std::uint64_t sent = 0;
  while (sent < kCalls) {
    client->transmit();
    const std::uint64_t now_sent = client->socket().counters().datagrams_sent;
    EXPECT_LE(now_sent - sent, 1100U);
    ASSERT_GT(now_sent, sent);
    sent = now_sent;
    const std::uint64_t looked = client->socket().counters().receive_calls;
    if (sent < kCalls) client->wait(Instant::never());
    if (sent < kCalls) {
      EXPECT_GT(client->socket().counters().receive_calls, looked);
    }
  }
  EXPECT_EQ(client->sleeps(), 0U);
}

TEST(Driver, TenThousandIdlePeersWantNoWakeUps) {
  const std::unique_ptr<Driver> server = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  const PeerAddress at = server->socket().local_address();
  constexpr int kPeers = 10'000;
  for (int i = 0; i < kPeers; ++i) {
    Stranger stranger;
    const RpcId id{2 + 2 * static_cast<std::uint64_t>(i)};
    stranger.send(at, request_packet(id, 5), as_bytes("hello"));
    std::optional<Delivery> request;
    while (!request) request = next_event(*server);
    ASSERT_TRUE(server->reply(request->event.rpc, std::move(request->bytes), 5));
    server->transmit();
    stranger.send(at, {kFirstClientPort, kEcho, id, Ack{}});
    while (server->endpoint().rpc_count() > 0) ASSERT_FALSE(next_event(*server));
  }
  server->transmit();  // gives the last buffer back
  EXPECT_EQ(server->endpoint().next_deadline(), Instant::never());
  EXPECT_EQ(server->pool().used_bytes(), 0U);
  EXPECT_GT(server->endpoint().peer_count(), kPeers / 2U);  // the kernel gives a port again at times
}

TEST(Driver, DeclaredLengthsCountTowardsTheLimits) {
  const std::unique_ptr<Driver> server = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  Stranger stranger;
  constexpr std::uint64_t kRequests = 200;
  for (std::uint64_t i = 1; i <= kRequests; ++i)
    stranger.send(server->socket().local_address(), first_packet(RpcId{2 * i}, kEcho, 1'000'000), as_bytes("x"));
  while (server->endpoint().counters().received[index_of(PacketType::data)] < kRequests) server->wait(Driver::now());
  EXPECT_EQ(server->endpoint().inbound_bytes(), 67U * 1'000'000);
  EXPECT_EQ(server->endpoint().counters().refused_limit, kRequests - 67);
}

// 4 GB are declared and some kilobytes sent, to a server and to a client.
TEST(Driver, DeclaredLengthsCostNoMemoryBeforeTheirBytesCome) {
  constexpr std::uint64_t kMessages = 4'000, kAtATime = 50;
  constexpr std::size_t kResidentMax = 256U << 20;  // a few pages each, a sanitizer's included
  for (const bool to_client : {false, true}) {
    SCOPED_TRACE(to_client ? "client" : "server");
    DriverOptions options = options_of();
    options.config.limits = {.inbound_rpcs_per_peer_max = 0, .inbound_bytes_per_peer_max = 0, .inbound_bytes_max = 0};
    options.config.tick = Duration::seconds(60);
    const std::unique_ptr<Driver> driver = open(options);
    ASSERT_TRUE(driver->open_port(kEcho));
    const Port from = *driver->open_port(kNoPort);
    Stranger stranger;
    const PeerAddress at = stranger.listen(), driver_at = driver->socket().local_address();
    const std::size_t before = resident_bytes();
    for (std::uint64_t i = 1; i <= kMessages; ++i) {
      RpcId id{2 * i};
      if (to_client) {
        const Result<StartedCall> call = driver->call(from, at, kEcho, driver->pool().take(1), 1, i);
        ASSERT_TRUE(call) << call.error().message();
        driver->transmit();
        id = other_side(call->id);
      }
      stranger.send(driver_at, first_packet(id, to_client ? from : kEcho, 1'000'000), as_bytes("x"));
      while (i % kAtATime == 0 && driver->endpoint().counters().data_bytes_received < i) {
        driver->wait(Driver::now());
        driver->transmit();
      }
    }
    EXPECT_EQ(driver->endpoint().counters().data_bytes_received, kMessages);
    EXPECT_GE(driver->pool().used_bytes(), kMessages * 1'000'000);
    EXPECT_LT(resident_bytes(), before + kResidentMax);
  }
}

TEST(Driver, ShortDatagramsOfABatchComeFirst) {
  const std::unique_ptr<Driver> server = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  Stranger stranger;
  const std::uint32_t lengths[] = {1412, 1339, 100, 1400, 1340, 200};
  std::uint64_t id = 0;
  std::uint32_t queued = 0;
  for (const std::uint32_t length : lengths) {
    stranger.send(server->socket().local_address(), request_packet(RpcId{id += 2}, length), Bytes(length));
    const std::uint32_t before = queued;
    while ((queued = receive_queue_bytes(server->socket())) == before) continue;
  }
  server->wait(Driver::now());
  std::vector<std::uint32_t> delivered;
  while (const std::optional<Delivery> request = server->poll_event(kEcho)) delivered.push_back(request->event.length);
  EXPECT_EQ(server->socket().counters().receive_calls, 1U);
  EXPECT_EQ(delivered, (std::vector<std::uint32_t>{1339, 100, 200, 1412, 1400, 1340})) << "60 bytes of header belong to each";
}

TEST(Driver, JunkIsCountedAndChangesNothing) {
  const std::unique_ptr<Driver> server = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  Stranger stranger;
  stranger.send(server->socket().local_address(), Bytes(3000, std::byte{7}));
  stranger.send(server->socket().local_address(), Bytes());
  stranger.send(server->socket().local_address(), Bytes(27));
  const auto junk = [&] {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : server->endpoint().counters().malformed) sum += count;
    return sum;
  };
  while (junk() < 3) server->wait(Driver::now());
  EXPECT_EQ(server->endpoint().rpc_count(), 0U);
  EXPECT_EQ(server->endpoint().peer_count(), 0U);
}

TEST(Driver, SegmentsGoAsOneAndComeAsOneWhereTheKernelCan) {
  const std::unique_ptr<Driver> server = open(options_of());
  const std::unique_ptr<Driver> client = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  const Port from = *client->open_port(kNoPort);
  const std::uint32_t length = 8 * 1412;
  ASSERT_TRUE(client->call(from, server->socket().local_address(), kEcho, client->pool().take(length), length, 7));
  client->transmit();
  EXPECT_EQ(client->socket().counters().send_calls, 1U);
  EXPECT_EQ(client->socket().counters().datagrams_sent, 8U);
  std::optional<Delivery> request;
  while (!request) request = next_event(*server);
  EXPECT_EQ(request->event.length, length);
  EXPECT_EQ(server->socket().counters().datagrams_received, 8U);
  // A kernel without them carries the same datagrams one by one.
  const bool together = client->socket().has_gso() && server->socket().has_gro();
  EXPECT_EQ(server->socket().counters().coalesced_receptions >= 1, together);
}

TEST(Driver, AShortCallTakesOneSystemCallToSendAndOneToReceive) {
  const std::unique_ptr<Driver> server = open(options_of());
  const std::unique_ptr<Driver> client = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  const Port from = *client->open_port(kNoPort);
  ASSERT_TRUE(client->call(from, server->socket().local_address(), kEcho, client->pool().take(100), 100, 7));
  client->transmit();
  std::optional<Delivery> request = next_event(*server);
  ASSERT_TRUE(request);
  ASSERT_TRUE(server->reply(request->event.rpc, std::move(request->bytes), 100));
  server->transmit();
  std::optional<Delivery> response = next_event(*client, from);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->event.cookie, 7U);
  for (const Driver* driver : {server.get(), client.get()}) {
    EXPECT_EQ(driver->socket().counters().receive_calls, 1U);
    EXPECT_EQ(driver->sleeps(), 0U);
  }
  EXPECT_EQ(client->socket().counters().send_calls, 1U);
}

TEST(Driver, ManyShortCallsToOnePeerGoAsOneWhereTheKernelCan) {
  const std::unique_ptr<Driver> server = open(options_of());
  const std::unique_ptr<Driver> client = open(options_of());
  ASSERT_TRUE(server->open_port(kEcho));
  const Port from = *client->open_port(kNoPort);
  const PeerAddress at = server->socket().local_address();
  // The last of a run may be shorter; one of another length begins the next.
  const std::uint32_t lengths[] = {100, 100, 100, 100, 60, 200, 200};
  for (const std::uint32_t length : lengths) {
    MessageBuffer bytes = client->pool().take(length);
    std::memset(bytes.data(), static_cast<int>(length), length);
    ASSERT_TRUE(client->call(from, at, kEcho, std::move(bytes), length, length));
  }
  client->transmit();
  EXPECT_EQ(client->socket().counters().datagrams_sent, 7U);
  EXPECT_EQ(client->socket().counters().segmented_sends, client->socket().has_gso() ? 2U : 0U);
  for (const std::uint32_t length : lengths) {
    std::optional<Delivery> request;
    while (!request) request = next_event(*server);
    ASSERT_EQ(request->event.length, length);
    for (std::uint32_t i = 0; i < length; ++i) ASSERT_EQ(request->bytes.data()[i], static_cast<std::byte>(length)) << i;
  }
}

TEST(Driver, WhereOnlyTicksAreDueAWaitIsOneSystemCall) {
  DriverOptions options = options_of();
  options.wait_in_receive = true;
  const std::unique_ptr<Driver> server = open(options);
  const std::unique_ptr<Driver> client = open(options);
  ASSERT_TRUE(server->open_port(kEcho));
  const Port from = *client->open_port(kNoPort);
  const auto echo_once = [&] {
    ASSERT_TRUE(client->call(from, server->socket().local_address(), kEcho, client->pool().take(100), 100, 7));
    client->transmit();
    std::optional<Delivery> request;
    while (!request) {
      server->wait(Instant::never());
      request = server->poll_event(kEcho);
    }
    ASSERT_TRUE(server->reply(request->event.rpc, std::move(request->bytes), 100));
    server->transmit();
    std::optional<Delivery> response;
    while (!response) {
      client->wait(Instant::never());
      response = client->poll_event(from);
    }
  };
  echo_once();
  const std::uint64_t sleeps = client->sleeps() + server->sleeps();
  for (int i = 0; i < 20; ++i) echo_once();
  // Not one each: a kernel that delivers late makes some of them sleep.
  EXPECT_LT(client->sleeps() + server->sleeps(), sleeps + 20);
  // Silence is waited for exactly: the wait in the receive gives up, and the next one is a sleep until the tick.
  ASSERT_TRUE(client->call(from, server->socket().local_address(), kEcho, client->pool().take(100), 100, 8));
  client->transmit();
  client->wait(Instant::never());
  client->wait(Instant::never());
  EXPECT_GT(client->sleeps() + server->sleeps(), sleeps);
}

TEST(Driver, AWakeUpEndsAWaitInTheReceive) {
  DriverOptions options = options_of();
  options.wait_in_receive = true;
  const std::unique_ptr<Driver> driver = open(options);
  Stranger().send(driver->socket().local_address(), as_bytes("junk"));
  driver->wait(Instant::never());
  std::thread other([&] { driver->wake(); });
  driver->wait(Instant::never());
  other.join();
}

TEST(Driver, AWakeUpEndsAWait) {
  const std::unique_ptr<Driver> driver = open(options_of());
  std::thread other([&] { driver->wake(); });
  driver->wait(Instant::never());
  other.join();
}

TEST(DatagramText, TellsPacketsHeadersAndJunk) {
  const Packet packet = request_packet(RpcId{2}, 1000);
  std::array<std::byte, kHeaderSizeMax> header;
  const std::size_t size = encode_packet(packet, header);
  EXPECT_EQ(describe_datagram(ConstBytes(header).first(size)), describe(packet));
  EXPECT_TRUE(is_packet(ConstBytes(header).first(size)));
  EXPECT_FALSE(is_packet(as_bytes("hello")));
  EXPECT_EQ(describe_datagram(as_bytes("hello")).find("no packet"), 0U);
}

}  // namespace godwit::homa
