#include "export/nbd_server.h"

#include <gtest/gtest.h>

#include <optional>

#include "base/cursor.h"
#include "export/nbd_protocol.h"
#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using test::StreamPair;
using test::TestDevice;
using test::TestScheduler;

constexpr std::uint64_t kSize = 1 << 20;

Bytes pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

// What came back for one cookie.
struct Reply {
  std::uint64_t cookie = 0;
  std::uint32_t error = 0;
  std::string text;
  Bytes data;
  std::vector<Descriptor> descriptors;
  bool structured = false;
};

// A client by hand: its bytes go into the server's stream as they are, what comes back is decoded by the protocol's own
// functions.
class ByHand {
 public:
  explicit ByHand(TestScheduler& scheduler, NbdServer& server, std::uint64_t seed = 1)
      : scheduler_(scheduler), pair_(scheduler, seed) {
    pair_.client.reset();  // its half of the pipes is used by hand
    pair_.to_client->broken = pair_.to_server->ended = false;
    to_server = pair_.to_server;
    to_client = pair_.to_client;
    stream = pair_.server.get();
    server.accept(std::move(pair_.server));
    scheduler_.run();
  }

  void send(ConstBytes bytes) {
    to_server->bytes.insert(to_server->bytes.end(), bytes.begin(), bytes.end());
    if (to_server->changed_for_reader) to_server->changed_for_reader();
    scheduler_.run();
  }
  void request(std::uint16_t type, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length, std::uint16_t flags = 0,
               ConstBytes payload = {}) {
    send(request_bytes(type, cookie, offset, length, flags, payload));
  }
  static Bytes request_bytes(std::uint16_t type, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
                             std::uint16_t flags = 0, ConstBytes payload = {}) {
    std::array<std::byte, kRequestBytes> head;
    encode_request({flags, type, cookie, offset, length}, head);
    Bytes bytes = to_bytes(head);
    append(bytes, payload);
    return bytes;
  }
  void hang_up() {
    to_server->ended = true;
    if (to_server->changed_for_reader) to_server->changed_for_reader();
    scheduler_.run();
  }

  // Everything that has come and was not taken.
  Bytes received() {
    Bytes bytes(to_client->bytes.begin(), to_client->bytes.end());
    to_client->bytes.clear();
    if (to_client->changed_for_writer) to_client->changed_for_writer();
    return bytes;
  }
  bool closed() const { return to_client->ended; }

  void shake_hands(const std::string& name = "vol", bool structured = false) {
    Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
    if (structured) {
      append_option(bytes, kOptStructuredReply, {});
      append_option(bytes, kOptSetMetaContext, encode_meta_query({name, {std::string(kBaseAllocation)}}));
    }
    append_option(bytes, kOptGo, encode_info_query({name, {kInfoBlockSize}}));
    send(bytes);
    Bytes answer = received();
    ASSERT_GE(answer.size(), kOptionReplyHeaderBytes);
    // The handshake ends with GO's acknowledgement.
    OptionReplyHeader last = decode_option_reply_header(ConstBytes(answer).last(kOptionReplyHeaderBytes)).value();
    ASSERT_EQ(last, (OptionReplyHeader{kOptGo, kRepAck, 0}));
  }

  // Whole replies; reads' lengths are those of the requests, told by cookie.
  std::vector<Reply> replies(const std::map<std::uint64_t, std::uint32_t>& read_lengths = {}) {
    Bytes bytes = received();
    std::vector<Reply> replies;
    ConstBytes rest = bytes;
    while (!rest.empty()) {
      Reply reply;
      if (Result<SimpleReply> simple = decode_simple_reply(rest)) {
        reply.cookie = simple->cookie;
        reply.error = simple->error;
        rest = rest.subspan(kSimpleReplyBytes);
        if (auto length = read_lengths.find(reply.cookie); length != read_lengths.end() && reply.error == 0) {
          reply.data = to_bytes(rest.first(length->second));
          rest = rest.subspan(length->second);
        }
      } else {
        Chunk chunk = decode_chunk(rest).value();
        EXPECT_EQ(chunk.flags, kChunkDone);
        ConstBytes payload = rest.subspan(kChunkHeaderBytes, chunk.length);
        rest = rest.subspan(kChunkHeaderBytes + chunk.length);
        reply.cookie = chunk.cookie;
        reply.structured = true;
        if (chunk.type == kChunkOffsetData) reply.data = to_bytes(payload.subspan(kOffsetDataBytes));
        if (chunk.type == kChunkBlockStatus) reply.descriptors = decode_block_status(payload).value().descriptors;
        if (chunk.type == kChunkError) {
          ErrorChunk error = decode_error_chunk(payload).value();
          reply.error = error.error;
          reply.text = error.text;
        }
      }
      replies.push_back(std::move(reply));
    }
    return replies;
  }

  std::shared_ptr<test::Pipe> to_server, to_client;
  test::TestStream* stream = nullptr;  // the server's end; gone with its connection

 private:
  TestScheduler& scheduler_;
  StreamPair pair_;
};

std::vector<std::uint64_t> cookies(const std::vector<Reply>& replies) {
  std::vector<std::uint64_t> all;
  for (const Reply& reply : replies) all.push_back(reply.cookie);
  return all;
}

// The relay's options, by hand.
class TestOptions final : public OptionHandler {
 public:
  static constexpr std::uint32_t kOption = 0x47445701;
  bool handles(std::uint32_t option) const override { return option == kOption; }
  void handle_option(ConnectionId connection, std::uint32_t option, ConstBytes payload,
                     std::move_only_function<void(OptionReply)> answer) override {
    EXPECT_EQ(option, kOption);
    asked.push_back(connection);
    payloads.emplace_back(as_text(payload));
    if (on_ask) on_ask(connection);
    if (at_once) return answer({kOption, to_bytes(as_bytes("at once"))});
    answers.push_back(std::move(answer));
  }
  void handle_closed(ConnectionId connection) override { closed.push_back(connection); }

  bool at_once = false;
  std::function<void(ConnectionId)> on_ask;
  std::vector<ConnectionId> asked, closed;
  std::vector<std::string> payloads;
  std::vector<std::move_only_function<void(OptionReply)>> answers;
};

class NbdServerTest : public testing::Test {
 protected:
  NbdServerTest() { begin({}); }

  void begin(NbdLimits limits) {
    server.reset();
    server.emplace(scheduler, buffers, limits, &options);
    ExportOptions vol;
    vol.name = "vol";
    vol.description = [] { return std::string("a volume"); };
    ASSERT_TRUE(server->add(std::move(vol), device));
  }
  void add(const std::string& name, auto change) {
    ExportOptions exported;
    exported.name = name;
    change(exported);
    ASSERT_TRUE(server->add(std::move(exported), device));
  }

  TestScheduler scheduler;
  net::BufferPool buffers{64 * 1024 * 1024};
  TestDevice device{scheduler, kSize};
  TestOptions options;
  std::optional<NbdServer> server;
};

TEST_F(NbdServerTest, WrittenBytesAreReadBackHoweverTheyWereSplit) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    for (bool structured : {false, true}) {
      SCOPED_TRACE(seed);
      device.as_memory = seed % 2 == 0;
      ByHand client(scheduler, *server, seed);
      client.shake_hands("vol", structured);
      Random random(seed);
      Bytes sent;
      std::map<std::uint64_t, std::uint32_t> reads;
      std::map<std::uint64_t, Bytes> expected;
      std::uint64_t at = 0;
      for (std::uint64_t cookie = 1; at < kSize - 200'000; ++cookie) {
        auto length = static_cast<std::uint32_t>(random.chance(0.2) ? random.below(150'000) : random.below(5000));
        Bytes payload = pattern(length, cookie);
        append(sent, ByHand::request_bytes(kWrite, cookie, at, length, 0, payload));
        reads[cookie + 1000] = length;
        expected[cookie + 1000] = std::move(payload);
        at += length;
      }
      client.send(sent);
      std::vector<Reply> written = client.replies();
      ASSERT_EQ(written.size(), reads.size());
      for (const Reply& reply : written) EXPECT_EQ(reply.error, 0U);
      sent.clear();
      at = 0;
      for (const auto& [cookie, length] : reads) {
        append(sent, ByHand::request_bytes(kRead, cookie, at, length));
        at += length;
      }
      client.send(sent);
      std::vector<Reply> read = client.replies(reads);
      ASSERT_EQ(read.size(), reads.size());
      for (const Reply& reply : read) EXPECT_EQ(reply.data, expected.at(reply.cookie)) << reply.cookie;
    }
  }
}

TEST_F(NbdServerTest, RepliesComeInTheOrderInWhichTheDeviceCompletes) {
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  for (std::uint64_t cookie : {1, 2, 3, 4}) client.request(kFlush, cookie, 0, 0);
  ASSERT_EQ(device.held(), 4U);
  EXPECT_TRUE(client.received().empty());
  for (std::size_t n : {2, 0, 1, 0}) device.let_go(n);
  scheduler.run();
  EXPECT_EQ(cookies(client.replies()), (std::vector<std::uint64_t>{3, 1, 4, 2}));
}

TEST_F(NbdServerTest, RepliesThatAreReadyTogetherLeaveInOneWrite) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  device.holds = true;
  for (std::uint64_t cookie = 0; cookie < 64; ++cookie) client.request(kRead, cookie, 4096 * cookie, 4096);
  std::size_t before = client.stream->writes();
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(client.stream->writes(), before + 1);
  EXPECT_EQ(client.received().size(), 64 * (4096 + kSimpleReplyBytes));
}

TEST_F(NbdServerTest, EachCommandReachesTheDeviceWithItsFlags) {
  struct Row {
    const char* name;
    std::uint16_t type;
    std::uint16_t flags;
    std::vector<std::string> log;
  };
  const Row rows[] = {
      {"read", kRead, 0, {"read 512+1024"}},
      {"write", kWrite, 0, {"write 512+1024"}},
      {"write FUA", kWrite, kFlagFua, {"write fua 512+1024"}},
      {"flush", kFlush, 0, {"flush 0+0"}},
      {"trim", kTrim, 0, {"discard 512+1024"}},
      {"trim FUA is a trim and a flush", kTrim, kFlagFua, {"discard 512+1024", "flush 0+0"}},
      {"zeroes", kWriteZeroes, 0, {"zero 512+1024"}},
      {"zeroes that stay allocated", kWriteZeroes, kFlagNoHole, {"zero keep 512+1024"}},
      {"fast durable zeroes", kWriteZeroes, kFlagFastZero | kFlagFua, {"zero fua 512+1024"}},
      {"cache", kCache, 0, {"prefetch 512+1024"}},
      {"block status", kBlockStatus, 0, {"extents 512+1024"}},
  };
  ByHand client(scheduler, *server);
  client.shake_hands("vol", true);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    device.log.clear();
    client.request(row.type, 7, 512, 1024, row.flags, row.type == kWrite ? Bytes(1024) : Bytes());
    EXPECT_EQ(device.log, row.log);
    std::vector<Reply> replies = client.replies();
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].cookie, 7U);
    EXPECT_EQ(replies[0].error, 0U);
    EXPECT_EQ(replies[0].structured, row.type == kRead || row.type == kBlockStatus);
  }
}

TEST_F(NbdServerTest, FastZeroIsRefusedWhereItWouldNotBeFast) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kWriteZeroes, 1, 0, 512, kFlagFastZero | kFlagNoHole);
  EXPECT_EQ(client.replies().at(0).error, kErrNotSupported);
  device.can_punch = false;
  client.request(kWriteZeroes, 2, 0, 512, kFlagFastZero);
  EXPECT_EQ(client.replies().at(0).error, kErrNotSupported);
  EXPECT_TRUE(device.log.empty());
}

TEST_F(NbdServerTest, BlockStatusTellsTheDevicesExtents) {
  device.allocation = {{0, 4096, false, false}, {4096, 8192, true, true}, {12288, 4096, false, true}};
  ByHand client(scheduler, *server);
  client.shake_hands("vol", true);
  client.request(kBlockStatus, 1, 1024, 16384 - 1024);
  const std::vector<Descriptor> all = {{3072, 0}, {8192, kStateHole | kStateZero}, {4096, kStateZero}};
  EXPECT_EQ(client.replies().at(0).descriptors, all);
  client.request(kBlockStatus, 2, 1024, 16384 - 1024, kFlagReqOne);
  EXPECT_EQ(client.replies().at(0).descriptors, std::vector<Descriptor>({{3072, 0}}));
}

TEST_F(NbdServerTest, RequestsOfNothingSucceed) {
  for (bool structured : {false, true}) {
    ByHand client(scheduler, *server);
    client.shake_hands("vol", structured);
    client.request(kRead, 1, kSize, 0);
    client.request(kWrite, 2, 0, 0);
    std::vector<Reply> replies = client.replies();
    EXPECT_EQ(cookies(replies), (std::vector<std::uint64_t>{1, 2}));
    for (const Reply& reply : replies) EXPECT_EQ(reply.error, 0U);
  }
}

TEST_F(NbdServerTest, DeviceErrorsHaveTheirValues) {
  struct Row {
    ErrorKind kind;
    std::uint32_t error;
  };
  const Row rows[] = {
      {ErrorKind::io, kErrIo},
      {ErrorKind::corrupt, kErrIo},
      {ErrorKind::invalid, kErrInvalid},
      {ErrorKind::no_space, kErrNoSpace},
      {ErrorKind::read_only, kErrPermission},
      {ErrorKind::refused, kErrPermission},
      {ErrorKind::limit, kErrOverflow},
      {ErrorKind::unsupported, kErrNotSupported},
      {ErrorKind::shut_down, kErrShutdown},
      {ErrorKind::moved, kErrIo},
  };
  for (bool structured : {false, true}) {
    ByHand client(scheduler, *server);
    client.shake_hands("vol", structured);
    for (const Row& row : rows) {
      SCOPED_TRACE(name_of(row.kind));
      device.error = Error(row.kind, "/secret/path: no");
      for (std::uint16_t type : {kRead, kWrite, kFlush, kTrim, kWriteZeroes}) {
        client.request(type, 5, 0, 512, 0, type == kWrite ? Bytes(512) : Bytes());
        Reply reply = client.replies().at(0);
        EXPECT_EQ(reply.error, row.error);
        EXPECT_EQ(reply.cookie, 5U);
        if (structured) {
          EXPECT_EQ(reply.text, name_of(row.kind)) << "paths are not a client's business";
        }
      }
    }
    device.error.reset();
    client.request(kRead, 6, 0, 0);
    EXPECT_EQ(client.replies().at(0).error, 0U) << "the connection goes on";
  }
  EXPECT_EQ(server->counters().errors, 2 * 5 * std::size(rows));
}

TEST_F(NbdServerTest, AnErrorOfBlockStatusIsTold) {
  device.error = Error(ErrorKind::io, "no");
  ByHand client(scheduler, *server);
  client.shake_hands("vol", true);
  client.request(kBlockStatus, 1, 0, 512);
  EXPECT_EQ(client.replies().at(0).error, kErrIo);
}

TEST_F(NbdServerTest, ConnectionLostClosesInsteadOfAnswering) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  device.error = Error(ErrorKind::connection_lost, "the other side is gone");
  client.request(kRead, 1, 0, 512);
  EXPECT_TRUE(client.received().empty());
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server->open_connections("vol"), 0U);
}

TEST_F(NbdServerTest, ARefusedWritesPayloadIsSkipped) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  const Bytes payload = pattern(300'000, 1);
  client.request(kWrite, 1, kSize - 1, 300'000, 0, payload);
  client.request(kWrite, 2, 0, 300'000, kFlagNoHole, payload);
  client.request(kFlush, 3, 0, 0);
  std::vector<Reply> replies = client.replies();
  ASSERT_EQ(cookies(replies), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(replies[0].error, kErrNoSpace);
  EXPECT_EQ(replies[1].error, kErrInvalid);
  EXPECT_EQ(replies[2].error, 0U);
  EXPECT_EQ(device.log, std::vector<std::string>{"flush 0+0"});
}

TEST_F(NbdServerTest, ReadOnlyExportsRefuseChanges) {
  add("ro", [](ExportOptions& exported) { exported.read_only = true; });
  ByHand client(scheduler, *server);
  client.shake_hands("ro");
  client.request(kWrite, 1, 0, 512, 0, Bytes(512));
  client.request(kTrim, 2, 0, 512);
  client.request(kWriteZeroes, 3, 0, 512);
  for (const Reply& reply : client.replies()) EXPECT_EQ(reply.error, kErrPermission);
  client.request(kRead, 4, 0, 512);
  EXPECT_EQ(client.replies({{4, 512}}).at(0).data, Bytes(512));
}

TEST_F(NbdServerTest, BlockSizesAreAnnouncedAndKept) {
  add("sectors", [](ExportOptions& exported) {
    exported.block_size_min = 512;
    exported.block_size_max = 8192;
  });
  ByHand client(scheduler, *server);
  client.shake_hands("sectors");
  client.request(kRead, 1, 1, 512);
  client.request(kRead, 2, 0, 8192 + 512);
  client.request(kRead, 3, 512, 512);
  std::vector<Reply> replies = client.replies({{3, 512}});
  ASSERT_EQ(replies.size(), 3U);
  EXPECT_EQ(replies[0].error, kErrInvalid);
  EXPECT_EQ(replies[1].error, kErrInvalid);
  EXPECT_EQ(replies[2].error, 0U);
}

TEST_F(NbdServerTest, ExportsThatTheProtocolCanNotOfferAreRefused) {
  struct Row {
    const char* name;
    std::function<void(ExportOptions&)> change;
    ErrorKind kind;
  };
  const Row rows[] = {
      {"taken", [](ExportOptions& o) { o.name = "vol"; }, ErrorKind::exists},
      {"long name", [](ExportOptions& o) { o.name = std::string(4097, 'x'); }, ErrorKind::invalid},
      {"smallest block of 3", [](ExportOptions& o) { o.block_size_min = 3; }, ErrorKind::invalid},
      {"smallest block too large", [](ExportOptions& o) { o.block_size_min = o.block_size_preferred = 1 << 17; },
       ErrorKind::invalid},
      {"preferred below the smallest", [](ExportOptions& o) { o.block_size_min = 8192; }, ErrorKind::invalid},
      {"largest below the preferred", [](ExportOptions& o) { o.block_size_max = 2048; }, ErrorKind::invalid},
      {"a device that ends within a block", [](ExportOptions& o) { o.block_size_min = 1024; }, ErrorKind::invalid},
  };
  TestDevice odd(scheduler, 1000);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    ExportOptions exported;
    row.change(exported);
    Result<void> added = server->add(std::move(exported), odd);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().kind(), row.kind);
  }
}

TEST_F(NbdServerTest, OverTheLimitOfRequestsTheSocketIsNotRead) {
  begin({.requests_in_flight_max = 3});
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  Bytes sent;
  for (std::uint64_t cookie = 1; cookie <= 30'000; ++cookie) append(sent, ByHand::request_bytes(kFlush, cookie, 0, 0));
  client.send(sent);
  EXPECT_EQ(device.held(), 3U);
  EXPECT_GT(client.to_server->bytes.size(), sent.size() - 300'000) << "at most a receive buffer was read";
  std::size_t unread = client.to_server->bytes.size();
  device.let_go(0);
  scheduler.run();
  EXPECT_EQ(device.held(), 3U);
  EXPECT_EQ(client.to_server->bytes.size(), unread);
  device.holds = false;
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(client.replies().size(), 30'000U);
}

TEST_F(NbdServerTest, OverTheLimitOfBytesTheSocketIsNotRead) {
  begin({.bytes_in_flight_max = 10'000});
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  for (std::uint64_t cookie = 1; cookie <= 5; ++cookie) client.request(kRead, cookie, 0, 4096);
  EXPECT_EQ(device.held(), 2U);
  device.let_go(0);
  scheduler.run();
  EXPECT_EQ(device.held(), 2U);
  // One request over the limit is let in alone, else it would wait forever.
  client.received();
  ByHand other(scheduler, *server);
  other.shake_hands();
  std::size_t before = device.held();
  other.request(kRead, 1, 0, 20'000);
  other.request(kRead, 2, 0, 512);
  EXPECT_EQ(device.held(), before + 1);
  device.holds = false;
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(cookies(other.replies({{1, 20'000}, {2, 512}})), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(NbdServerTest, AClientThatDoesNotReadIsNotReadEither) {
  begin({.requests_in_flight_max = 8});
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.to_client->capacity = 1000;
  for (std::uint64_t cookie = 1; cookie <= 100; ++cookie) client.request(kRead, cookie, 0, 4096);
  EXPECT_LE(device.log.size(), 16U) << "what waits to be sent counts";
  client.to_client->capacity = SIZE_MAX;
  client.to_client->changed_for_writer();
  scheduler.run();
  EXPECT_EQ(device.log.size(), 100U);
}

TEST_F(NbdServerTest, AFullPoolLetsOneRequestPerConnectionGoOn) {
  net::BufferPool tiny(1);
  server.reset();
  server.emplace(scheduler, tiny, NbdLimits{}, nullptr);
  add("vol", [](ExportOptions&) {});
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  for (std::uint64_t cookie = 1; cookie <= 5; ++cookie) client.request(kRead, cookie, 0, 4096);
  EXPECT_EQ(device.held(), 1U);
  device.holds = false;
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(client.received().size(), 5 * (4096 + kSimpleReplyBytes));
  server.reset();
}

TEST_F(NbdServerTest, TooManyConnectionsAreClosed) {
  begin({.connections_max = 2});
  ByHand first(scheduler, *server), second(scheduler, *server), third(scheduler, *server);
  EXPECT_FALSE(second.closed());
  EXPECT_TRUE(third.closed());
  first.hang_up();
  ByHand fourth(scheduler, *server);
  fourth.shake_hands();
  EXPECT_EQ(server->counters().connections, 3U);
}

TEST_F(NbdServerTest, DisconnectAnswersWhatIsUnderWayAndCloses) {
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kFlush, 1, 0, 0);
  client.request(kDisconnect, 2, 0, 0);
  client.request(kFlush, 3, 0, 0);
  EXPECT_FALSE(client.closed());
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(cookies(client.replies()), std::vector<std::uint64_t>{1});
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(device.log.size(), 1U);
}

TEST_F(NbdServerTest, AClientThatEndsItsSideIsAnsweredStill) {
  begin({.requests_in_flight_max = 2});
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  Bytes sent;
  for (std::uint64_t cookie = 1; cookie <= 5; ++cookie) append(sent, ByHand::request_bytes(kFlush, cookie, 0, 0));
  sent.resize(sent.size() + 10);  // and the beginning of a sixth
  client.send(sent);
  client.hang_up();
  device.holds = false;
  device.let_all_go();
  scheduler.run();
  EXPECT_EQ(client.replies().size(), 5U);
  EXPECT_TRUE(client.closed());
}

TEST_F(NbdServerTest, BytesThatAreNoRequestCloseTheConnection) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.send(Bytes(kRequestBytes));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server->open_connections("vol"), 0U);
}

TEST_F(NbdServerTest, ABrokenHandshakeClosesTheConnection) {
  ByHand client(scheduler, *server);
  client.send(Bytes(100, std::byte{0xff}));
  EXPECT_TRUE(client.closed());
}

TEST_F(NbdServerTest, AbortIsAnsweredAndTheConnectionCloses) {
  ByHand client(scheduler, *server);
  client.received();
  Bytes bytes = encode_client_flags(kFixedNewstyle);
  append_option(bytes, kOptAbort, {});
  client.send(bytes);
  EXPECT_EQ(decode_option_reply_header(client.received()).value(), (OptionReplyHeader{kOptAbort, kRepAck, 0}));
  EXPECT_TRUE(client.closed());
}

TEST_F(NbdServerTest, DrainWaitsForWhatIsUnderWayAndAnswersIt) {
  device.holds = true;
  options.at_once = true;
  ByHand client(scheduler, *server);
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, as_bytes("hello"));
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  client.send(opening);
  client.received();
  client.request(kFlush, 1, 0, 0);
  bool drained = false;
  server->drain(options.asked.at(0), [&] { drained = true; });
  client.request(kFlush, 2, 0, 0);  // comes too late
  EXPECT_FALSE(drained);
  EXPECT_FALSE(client.closed());
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(drained);
  EXPECT_EQ(cookies(client.replies()), std::vector<std::uint64_t>{1});
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(device.log.size(), 1U);
  EXPECT_EQ(options.closed, options.asked);

  drained = false;
  server->drain(options.asked.at(0), [&] { drained = true; });
  scheduler.run();
  EXPECT_TRUE(drained) << "of one that is gone already";
}

TEST_F(NbdServerTest, DrainAfterTheClientsEndStillWaitsForTheDevice) {
  device.holds = true;
  options.at_once = true;
  ByHand client(scheduler, *server);
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, {});
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  client.send(opening);
  client.request(kFlush, 1, 0, 0);
  client.to_server->broken = client.to_client->broken = true;
  client.hang_up();
  bool drained = false;
  server->drain(options.asked.at(0), [&] { drained = true; });
  scheduler.run();
  EXPECT_FALSE(drained);
  EXPECT_TRUE(options.closed.empty());
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(drained);
  EXPECT_EQ(options.closed.size(), 1U);
}

TEST_F(NbdServerTest, DrainDoesNotWaitForeverForAClientThatDoesNotRead) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.to_client->capacity = 10;
  client.request(kRead, 1, 0, 4096);
  bool removed = false;
  server->remove("vol", [&] { removed = true; });
  scheduler.run();
  EXPECT_FALSE(removed);
  scheduler.run_for(Duration::seconds(2));
  EXPECT_TRUE(removed);
  EXPECT_TRUE(client.closed());
}

TEST_F(NbdServerTest, ARemovedExportIsNotFoundAndItsConnectionsAreClosedAfterTheirReplies) {
  device.holds = true;
  add("other", [](ExportOptions&) {});
  ByHand client(scheduler, *server), bystander(scheduler, *server);
  client.shake_hands();
  bystander.shake_hands("other");
  client.request(kFlush, 1, 0, 0);
  bool removed = false;
  server->remove("vol", [&] { removed = true; });
  scheduler.run();
  EXPECT_FALSE(removed);
  ByHand late(scheduler, *server);
  late.received();
  Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(bytes, kOptGo, encode_info_query({"vol", {}}));
  late.send(bytes);
  EXPECT_EQ(decode_option_reply_header(late.received()).value().type, kRepErrUnknown);
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(removed);
  EXPECT_EQ(client.replies().size(), 1U);
  EXPECT_TRUE(client.closed());
  EXPECT_FALSE(bystander.closed());

  removed = false;
  server->remove("vol", [&] { removed = true; });
  scheduler.run();
  EXPECT_TRUE(removed) << "of one that is not there";
}

TEST_F(NbdServerTest, AnOptionMayBeAnsweredLater) {
  ByHand client(scheduler, *server);
  client.received();
  Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(bytes, TestOptions::kOption, as_bytes("relay"));
  append_option(bytes, kOptAbort, {});
  client.send(bytes);
  EXPECT_EQ(options.payloads, std::vector<std::string>{"relay"});
  EXPECT_TRUE(client.received().empty()) << "the next option waits too";
  options.answers.at(0)({TestOptions::kOption, to_bytes(as_bytes("ok"))});
  scheduler.run();
  Bytes answer = client.received();
  EXPECT_EQ(decode_option_reply_header(answer).value(), (OptionReplyHeader{TestOptions::kOption, TestOptions::kOption, 2}));
  EXPECT_EQ(as_text(ConstBytes(answer).subspan(kOptionReplyHeaderBytes, 2)), "ok");
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(options.closed, options.asked);
}

TEST_F(NbdServerTest, AnAnswerToAnOptionMayComeAfterTheClientHasGone) {
  ByHand client(scheduler, *server);
  Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(bytes, TestOptions::kOption, {});
  client.send(bytes);
  bool shut = false;
  server->shut_down([&] { shut = true; });
  scheduler.run();
  EXPECT_TRUE(shut);
  EXPECT_EQ(options.closed.size(), 1U);
  options.answers.at(0)({TestOptions::kOption, {}});
  scheduler.run();
}

TEST_F(NbdServerTest, ARelayHasItsOwnDeviceAndHearsOfMoves) {
  TestDevice stand_in(scheduler, 8192);
  options.at_once = true;
  options.on_ask = [&](ConnectionId id) { server->set_relay(id, &stand_in); };
  ByHand relay(scheduler, *server), client(scheduler, *server);
  client.shake_hands();
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, {});
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  relay.send(opening);
  relay.received();
  relay.request(kFlush, 1, 0, 0);
  EXPECT_EQ(relay.replies().at(0).error, 0U);
  EXPECT_EQ(stand_in.log.size(), 1U);
  EXPECT_TRUE(device.log.empty());
  relay.request(kRead, 2, 8192, 1);
  EXPECT_EQ(relay.replies().at(0).error, kErrInvalid) << "the stand-in's size counts";

  device.error = stand_in.error = Error(ErrorKind::moved, "gone on");
  relay.request(kFlush, 3, 0, 0);
  EXPECT_EQ(relay.replies().at(0).error, kErrMoved);
  client.request(kFlush, 3, 0, 0);
  EXPECT_EQ(client.replies().at(0).error, kErrIo);
}

TEST_F(NbdServerTest, CloseClientsSparesRelaysAndLetsRunningRequestsEnd) {
  options.at_once = true;
  options.on_ask = [&](ConnectionId id) { server->set_relay(id, nullptr); };
  device.holds = true;
  ByHand relay(scheduler, *server), client(scheduler, *server);
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, {});
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  relay.send(opening);
  relay.received();
  client.shake_hands();
  client.request(kWrite, 1, 0, 512, 0, pattern(512, 1));
  EXPECT_EQ(server->open_connections("vol"), 2U);
  server->close_clients("vol");
  EXPECT_TRUE(client.closed());
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(client.received().empty());
  EXPECT_TRUE(std::ranges::equal(device.content().first(512), pattern(512, 1))) << "executed all the same";
  EXPECT_FALSE(relay.closed());
  EXPECT_EQ(server->open_connections("vol"), 1U);
}

TEST_F(NbdServerTest, ShutDownEndsEverybodyAfterTheirReplies) {
  device.holds = true;
  ByHand talking(scheduler, *server), client(scheduler, *server);
  client.shake_hands();
  client.request(kFlush, 1, 0, 0);
  bool shut = false;
  server->shut_down([&] { shut = true; });
  scheduler.run();
  EXPECT_TRUE(talking.closed());
  EXPECT_FALSE(shut);
  ByHand late(scheduler, *server);
  EXPECT_TRUE(late.closed());
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(shut);
  EXPECT_EQ(client.replies().size(), 1U);
}

TEST_F(NbdServerTest, TheServerMayGoWhileTheDeviceHasRequests) {
  device.holds = true;
  options.at_once = true;
  ByHand client(scheduler, *server);
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, {});
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  client.send(opening);
  client.request(kRead, 1, 0, 4096);
  client.request(kWrite, 2, 0, 512, 0, pattern(512, 1));
  client.request(kTrim, 3, 0, 512, kFlagFua);
  server.reset();
  EXPECT_EQ(options.closed.size(), 1U);
  EXPECT_TRUE(client.closed());
  device.let_all_go();
  scheduler.run();
  EXPECT_TRUE(std::ranges::equal(device.content().first(512), pattern(512, 1)));
}

TEST_F(NbdServerTest, ARequestThatTheDeviceDropsIsAnError) {
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kRead, 1, 0, 4096);
  device.drop_held();
  scheduler.run();
  EXPECT_EQ(client.replies().at(0).error, kErrIo);
}

TEST_F(NbdServerTest, CountersCountBytesAndRequests) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kWrite, 1, 0, 1000, 0, Bytes(1000));
  client.request(kRead, 2, 0, 300);
  client.request(kRead, 3, kSize, 300);
  NbdServer::Counters counters = server->counters();
  EXPECT_EQ(counters.connections, 1U);
  EXPECT_EQ(counters.requests, 3U);
  EXPECT_EQ(counters.errors, 1U);
  EXPECT_EQ(counters.bytes_written, 1000U);
  EXPECT_EQ(counters.bytes_read, 300U);
}

}  // namespace
}  // namespace godwit::exports
