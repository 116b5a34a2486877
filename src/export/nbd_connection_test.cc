#include "export/nbd_connection.h"

#include <gtest/gtest.h>

#include "export/test_client.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using namespace test;

class NbdConnectionTest : public ServerFixture {};

TEST_F(NbdConnectionTest, WrittenBytesAreReadBackHoweverTheyWereSplit) {
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

TEST_F(NbdConnectionTest, RepliesComeInTheOrderInWhichTheDeviceCompletes) {
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

TEST_F(NbdConnectionTest, RepliesThatAreReadyTogetherLeaveInOneWrite) {
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

TEST_F(NbdConnectionTest, EachCommandReachesTheDeviceWithItsFlags) {
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

TEST_F(NbdConnectionTest, FastZeroIsRefusedWhereItWouldNotBeFast) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kWriteZeroes, 1, 0, 512, kFlagFastZero | kFlagNoHole);
  EXPECT_EQ(client.replies().at(0).error, kErrNotSupported);
  device.can_punch = false;
  client.request(kWriteZeroes, 2, 0, 512, kFlagFastZero);
  EXPECT_EQ(client.replies().at(0).error, kErrNotSupported);
  EXPECT_TRUE(device.log.empty());
}

TEST_F(NbdConnectionTest, BlockStatusTellsTheDevicesExtents) {
  device.allocation = {{0, 4096, false, false}, {4096, 8192, true, true}, {12288, 4096, false, true}};
  ByHand client(scheduler, *server);
  client.shake_hands("vol", true);
  client.request(kBlockStatus, 1, 1024, 16384 - 1024);
  const std::vector<Descriptor> all = {{3072, 0}, {8192, kStateHole | kStateZero}, {4096, kStateZero}};
  EXPECT_EQ(client.replies().at(0).descriptors, all);
  client.request(kBlockStatus, 2, 1024, 16384 - 1024, kFlagReqOne);
  EXPECT_EQ(client.replies().at(0).descriptors, std::vector<Descriptor>({{3072, 0}}));
}

TEST_F(NbdConnectionTest, RequestsOfNothingSucceed) {
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

TEST_F(NbdConnectionTest, DeviceErrorsHaveTheirValues) {
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

TEST_F(NbdConnectionTest, AnErrorOfBlockStatusIsTold) {
  device.error = Error(ErrorKind::io, "no");
  ByHand client(scheduler, *server);
  client.shake_hands("vol", true);
  client.request(kBlockStatus, 1, 0, 512);
  EXPECT_EQ(client.replies().at(0).error, kErrIo);
}

TEST_F(NbdConnectionTest, ConnectionLostClosesInsteadOfAnswering) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  device.error = Error(ErrorKind::connection_lost, "the other side is gone");
  client.request(kRead, 1, 0, 512);
  EXPECT_TRUE(client.received().empty());
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server->open_connections("vol"), 0U);
}

TEST_F(NbdConnectionTest, ARefusedWritesPayloadIsSkipped) {
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

TEST_F(NbdConnectionTest, ReadOnlyExportsRefuseChanges) {
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

TEST_F(NbdConnectionTest, BlockSizesAreAnnouncedAndKept) {
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

TEST_F(NbdConnectionTest, OverTheLimitOfRequestsTheSocketIsNotRead) {
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

TEST_F(NbdConnectionTest, OverTheLimitOfBytesTheSocketIsNotRead) {
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

TEST_F(NbdConnectionTest, AClientThatDoesNotReadIsNotReadEither) {
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

TEST_F(NbdConnectionTest, AFullPoolLetsOneRequestPerConnectionGoOn) {
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

TEST_F(NbdConnectionTest, DisconnectAnswersWhatIsUnderWayAndCloses) {
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

TEST_F(NbdConnectionTest, AClientThatEndsItsSideIsAnsweredStill) {
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

TEST_F(NbdConnectionTest, BytesThatAreNoRequestCloseTheConnection) {
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.send(Bytes(kRequestBytes));
  EXPECT_TRUE(client.closed());
  EXPECT_EQ(server->open_connections("vol"), 0U);
}

TEST_F(NbdConnectionTest, ABrokenHandshakeClosesTheConnection) {
  ByHand client(scheduler, *server);
  client.send(Bytes(100, std::byte{0xff}));
  EXPECT_TRUE(client.closed());
}

TEST_F(NbdConnectionTest, ARequestThatTheDeviceDropsIsAnError) {
  device.holds = true;
  ByHand client(scheduler, *server);
  client.shake_hands();
  client.request(kRead, 1, 0, 4096);
  device.drop_held();
  scheduler.run();
  EXPECT_EQ(client.replies().at(0).error, kErrIo);
}

}  // namespace
}  // namespace godwit::exports
