#include "export/nbd_server.h"

#include <gtest/gtest.h>

#include "export/test_client.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using namespace test;

class NbdServerTest : public ServerFixture {};

// Of a client that says our option first and then goes on to the volume.
Bytes opening_with_our_option(ConstBytes payload = {}) {
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, payload);
  append_option(opening, kOptGo, encode_info_query({"vol", {}}));
  return opening;
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

TEST_F(NbdServerTest, AClientThatAgreedElsewhereBeginsWithItsRequests) {
  begin({.handshake_time_max = Duration::seconds(30)});
  ByHand kernel(scheduler, *server, 1, "vol"), lost(scheduler, *server, 1, "gone");
  EXPECT_TRUE(kernel.received().empty()) << "nobody greets it";
  EXPECT_EQ(server->open_connections("vol"), 1U);
  EXPECT_TRUE(lost.closed());
  scheduler.run_for(Duration::seconds(60));
  EXPECT_FALSE(kernel.closed()) << "it need not say anything";
  std::ranges::copy(pattern(4096, 3), device.content().begin());
  kernel.request(kRead, 7, 0, 4096);
  kernel.request(kRead, 8, kSize, 512);
  const std::vector<Reply> replies = kernel.replies({{7, 4096}});
  ASSERT_EQ(cookies(replies), (std::vector<std::uint64_t>{7, 8}));
  EXPECT_FALSE(replies[0].structured);
  EXPECT_TRUE(std::ranges::equal(replies[0].data, pattern(4096, 3)));
  EXPECT_EQ(replies[1].error, kErrInvalid);
  kernel.request(kDisconnect, 9, 0, 0);
  EXPECT_TRUE(kernel.closed());
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
  client.send(opening_with_our_option(as_bytes("hello")));
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
  client.send(opening_with_our_option());
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

TEST_F(NbdServerTest, AClientThatLeavesWhileItsOptionWaitsIsGone) {
  ByHand client(scheduler, *server);
  Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(bytes, TestOptions::kOption, {});
  bytes.resize(bytes.size() + 500'000);  // whatever it sends on is not gathered
  client.send(bytes);
  EXPECT_GT(client.to_server->bytes.size(), 200'000U);
  EXPECT_TRUE(options.closed.empty());
  ByHand other(scheduler, *server);
  bytes.resize(bytes.size() - 500'000);
  other.send(bytes);
  other.hang_up();
  EXPECT_TRUE(other.closed());
  EXPECT_EQ(options.closed, std::vector<ConnectionId>{options.asked.at(1)});
  options.answers.at(1)({TestOptions::kOption, {}});
  scheduler.run();
  EXPECT_TRUE(other.received().size() == kGreetingBytes) << "nothing is sent after the end";
}

TEST_F(NbdServerTest, ARelayHasItsOwnDeviceAndHearsOfMoves) {
  TestDevice stand_in(scheduler, 8192);
  options.at_once = true;
  options.on_ask = [&](ConnectionId id) { server->set_relay(id, &stand_in); };
  ByHand relay(scheduler, *server), client(scheduler, *server);
  client.shake_hands();
  relay.send(opening_with_our_option());
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
  relay.send(opening_with_our_option());
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
  client.send(opening_with_our_option());
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

TEST_F(NbdServerTest, AClientThatDoesNotFinishItsHandshakeIsClosed) {
  begin({.handshake_time_max = Duration::seconds(30)});
  ByHand silent(scheduler, *server), talking(scheduler, *server), asking(scheduler, *server);
  talking.shake_hands();
  Bytes opening = encode_client_flags(kFixedNewstyle | kNoZeroes);
  append_option(opening, TestOptions::kOption, {});
  asking.send(opening);
  scheduler.run_for(Duration::seconds(29));
  EXPECT_FALSE(silent.closed());
  scheduler.run_for(Duration::seconds(2));
  EXPECT_TRUE(silent.closed());
  EXPECT_FALSE(talking.closed());
  EXPECT_FALSE(asking.closed()) << "it is us who take so long";
  options.answers.at(0)({TestOptions::kOption, {}});
  scheduler.run_for(Duration::seconds(31));
  EXPECT_TRUE(asking.closed());
  EXPECT_FALSE(talking.closed());
}

}  // namespace
}  // namespace godwit::exports
