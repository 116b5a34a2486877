#include "export/nbd_client_link.h"

#include <gtest/gtest.h>

#include "export/nbd_client.h"
#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using test::StreamPair;
using test::TestScheduler;
using test::Told;

constexpr std::uint64_t kSize = 1 << 20;

// --- Servers that do not keep to the protocol, or offer little of it ---

// A server by hand.
class ScriptedServer {
 public:
  explicit ScriptedServer(TestScheduler& scheduler) : scheduler_(scheduler), pair_(scheduler, 5) {
    pair_.server.reset();
    pair_.to_server->broken = pair_.to_client->ended = false;
  }
  void open(Told<std::unique_ptr<NbdClient>>& told, NbdClientOptions client_options = {}) {
    NbdClient::open(scheduler_, std::move(pair_.client), std::move(client_options), told.done());
    scheduler_.run();
  }
  void say(ConstBytes bytes) {
    pair_.to_client->bytes.insert(pair_.to_client->bytes.end(), bytes.begin(), bytes.end());
    if (pair_.to_client->changed_for_reader) pair_.to_client->changed_for_reader();
    scheduler_.run();
  }
  void hang_up() {
    pair_.to_client->ended = true;
    if (pair_.to_client->changed_for_reader) pair_.to_client->changed_for_reader();
    scheduler_.run();
  }
  void hold_writes(bool held) {
    pair_.to_server->capacity = held ? 0 : SIZE_MAX;
    if (!held && pair_.to_server->changed_for_writer) pair_.to_server->changed_for_writer();
    scheduler_.run();
  }
  Bytes heard() {
    Bytes bytes(pair_.to_server->bytes.begin(), pair_.to_server->bytes.end());
    pair_.to_server->bytes.clear();
    return bytes;
  }
  // The handshake of a server with these flags; with structured replies and base:allocation as number 9, or without.
  static Bytes handshake(std::uint16_t flags, bool structured) {
    Bytes bytes = encode_greeting(kFixedNewstyle);
    append_option_reply(bytes, kOptStructuredReply, structured ? kRepAck : kRepErrUnsupported, {});
    if (structured) {
      append_option_reply(bytes, kOptSetMetaContext, kRepMetaContext, encode_meta_context({9, std::string(kBaseAllocation)}));
      append_option_reply(bytes, kOptSetMetaContext, kRepAck, {});
    }
    append_option_reply(bytes, kOptGo, kRepInfo, encode_export_info({kSize, static_cast<std::uint16_t>(flags | kHasFlags)}));
    append_option_reply(bytes, kOptGo, kRepInfo, encode_info_text(77, "of the future"));
    append_option_reply(bytes, kOptGo, kRepAck, {});
    return bytes;
  }

 private:
  TestScheduler& scheduler_;
  StreamPair pair_;
};

// A client that such a server has let in; `told` says whether it is in.
struct Opened {
  Opened(std::uint16_t flags, bool structured) : server(scheduler) {
    server.open(told);
    server.say(ScriptedServer::handshake(flags, structured));
  }
  NbdClient& client() { return ***told.result; }

  TestScheduler scheduler;
  ScriptedServer server;
  Told<std::unique_ptr<NbdClient>> told;
};

std::vector<Request> requests_in(ConstBytes bytes) {
  std::vector<Request> requests;
  while (!bytes.empty()) {
    Request request = decode_request(bytes).value();
    bytes = bytes.subspan(kRequestBytes + (request.type == kWrite ? request.length : 0));
    requests.push_back(request);
  }
  return requests;
}

Bytes simple(std::uint32_t error, std::uint64_t cookie, ConstBytes data = {}) {
  std::array<std::byte, kSimpleReplyBytes> head;
  encode_simple_reply({error, cookie}, head);
  Bytes bytes = to_bytes(head);
  append(bytes, data);
  return bytes;
}

Bytes chunk(std::uint16_t flags, std::uint16_t type, std::uint64_t cookie, std::string_view payload_hex) {
  Bytes payload = from_hex(payload_hex).value();
  std::array<std::byte, kChunkHeaderBytes> head;
  encode_chunk({flags, type, cookie, static_cast<std::uint32_t>(payload.size())}, head);
  Bytes bytes = to_bytes(head);
  append(bytes, payload);
  return bytes;
}

// The stream says late that it has sent: by then the server has answered, and what the client says to that must not get lost.
TEST(NbdClientHandshake, AnswersThatOvertakeTheEndOfAWriteAreAnswered) {
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  NbdClientOptions options;
  OpeningOption opening;
  opening.option = 77;
  opening.answered = [](std::uint32_t, ConstBytes) -> Result<std::string> { return std::string("disk"); };
  options.opening = std::move(opening);
  server.open(told, std::move(options));
  server.say(encode_greeting(kFixedNewstyle));
  server.heard();
  server.hold_writes(true);
  Bytes first, second;
  append_option_reply(first, 77, kRepAck, {});
  append_option_reply(second, kOptStructuredReply, kRepErrUnsupported, {});
  server.say(first);  // the next option is being written
  server.say(second);
  server.hold_writes(false);
  const Bytes said = server.heard();
  const Bytes go = from_hex("49484156454f5054 00000007").value();
  EXPECT_FALSE(std::ranges::search(said, go).empty()) << to_hex(said);
}

TEST(NbdClientHandshake, ServersThatDoNotKeepToItAreRefused) {
  auto greeted = [](std::uint32_t option, std::uint32_t type, ConstBytes payload = {}) {
    Bytes bytes = encode_greeting(kFixedNewstyle | kNoZeroes);
    append_option_reply(bytes, kOptStructuredReply, kRepErrUnsupported, {});
    append_option_reply(bytes, option, type, payload);
    return bytes;
  };
  Bytes huge = encode_greeting(kFixedNewstyle);
  append_option_reply(huge, kOptStructuredReply, kRepAck, Bytes(300'000));
  struct Row {
    const char* name;
    Bytes bytes;
    ErrorKind kind;
  };
  const Row rows[] = {
      {"another protocol", to_bytes(as_bytes("HTTP/1.1 400 Bad Request\r\n")), ErrorKind::invalid},
      {"oldstyle", from_hex("4e42444d41474943 0000420281861253 0000").value(), ErrorKind::unsupported},
      {"a reply to something else", greeted(kOptList, kRepAck), ErrorKind::invalid},
      {"a reply too long", huge, ErrorKind::limit},
      {"no such export", greeted(kOptGo, kRepErrUnknown), ErrorKind::not_found},
      {"no GO", greeted(kOptGo, kRepErrUnsupported), ErrorKind::unsupported},
      {"shutting down", greeted(kOptGo, kRepErrShutdown), ErrorKind::shut_down},
      {"policy", greeted(kOptGo, kRepErrPolicy, as_bytes("not you")), ErrorKind::refused},
      {"an export without a size", greeted(kOptGo, kRepAck), ErrorKind::invalid},
      {"information without a type", greeted(kOptGo, kRepInfo, Bytes(1)), ErrorKind::invalid},
      {"an export's information cut", greeted(kOptGo, kRepInfo, Bytes(5)), ErrorKind::invalid},
      {"impossible block sizes", greeted(kOptGo, kRepInfo, from_hex("0003 00000003 00001000 02000000").value()),
       ErrorKind::invalid},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    TestScheduler scheduler;
    ScriptedServer server(scheduler);
    Told<std::unique_ptr<NbdClient>> told;
    server.open(told);
    server.say(row.bytes);
    EXPECT_EQ(told.error(), row.kind);
  }
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  server.open(told);
  server.say(encode_greeting(kFixedNewstyle));
  server.hang_up();
  EXPECT_EQ(told.error(), ErrorKind::connection_lost);
}

TEST(NbdClientReplies, RepliesThatBreakTheProtocolLoseTheConnection) {
  constexpr std::uint64_t kCookie = 1ULL << 32;  // of the first request
  struct Row {
    const char* name;
    bool structured;
    Bytes bytes;
  };
  const Row rows[] = {
      {"no magic", false, Bytes(kChunkHeaderBytes)},
      {"a cookie never used", false, simple(0, 77)},
      {"an older cookie of the same place", false, simple(0, 0)},
      {"a chunk that was not agreed", false, chunk(kChunkDone, kChunkNone, kCookie, "")},
      {"a simple reply to a read", true, simple(0, kCookie)},
      {"data before the read's begin", true, chunk(kChunkDone, kChunkOffsetData, kCookie, "00000000000001ff 00")},
      {"data past the read's end", true, chunk(kChunkDone, kChunkOffsetData, kCookie, "0000000000000207 0011")},
      {"a hole past the read's end", true, chunk(kChunkDone, kChunkOffsetHole, kCookie, "0000000000000200 00000009")},
      {"more data than asked", true,
       [] {
         Bytes bytes = chunk(0, kChunkOffsetHole, kCookie, "0000000000000200 00000008");
         append(bytes, chunk(0, kChunkOffsetHole, kCookie, "0000000000000200 00000001"));
         return bytes;
       }()},
      {"data without bytes", true, chunk(kChunkDone, kChunkOffsetData, kCookie, "0000000000000200")},
      {"a chunk of the future", true, chunk(kChunkDone, 77, kCookie, "")},
      {"block status for a read", true, chunk(kChunkDone, kChunkBlockStatus, kCookie, "00000009 00000001 00000000")},
      {"an error chunk cut", true, chunk(kChunkDone, kChunkError, kCookie, "00000005")},
      {"a chunk too long", true, from_hex("668e33ef 0001 8001 0000000100000000 7fffffff").value()},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Opened opened(kSendFlush, row.structured);
    ASSERT_TRUE(opened.told.ok());
    NbdClient& client = opened.client();
    bool lost = false;
    client.on_lost([&](const Error&) { lost = true; });
    Bytes into(8);
    Told<void> read;
    client.read(0x200, into, read.done());
    opened.scheduler.run();
    opened.server.say(row.bytes);
    EXPECT_EQ(read.error(), ErrorKind::connection_lost);
    EXPECT_TRUE(lost);
  }
}

TEST(NbdClientReplies, AReadMayComeInAnyPieces) {
  constexpr std::uint64_t kCookie = 1ULL << 32;
  Opened opened(0, true);
  ASSERT_TRUE(opened.told.ok());
  Bytes into(8, std::byte{0xee});
  Told<void> read;
  opened.client().read(0x200, into, read.done());
  opened.scheduler.run();
  opened.server.say(chunk(0, kChunkOffsetData, kCookie, "0000000000000205 aabbcc"));
  opened.server.say(chunk(0, kChunkOffsetHole, kCookie, "0000000000000201 00000004"));
  opened.server.say(chunk(0, kChunkOffsetData, kCookie, "0000000000000200 dd"));
  EXPECT_FALSE(read.result);
  opened.server.say(chunk(kChunkDone, kChunkNone, kCookie, ""));
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(to_hex(into), "dd00000000aabbcc");
}

TEST(NbdClientReplies, AReadWithPartOfItsDataOrAnErrorFailsAlone) {
  Opened opened(kReadOnly, true);
  ASSERT_TRUE(opened.told.ok());
  NbdClient& client = opened.client();
  Bytes into(8);
  Told<void> partly, refused, later;
  client.read(0, into, partly.done());
  client.read(0, into, refused.done());
  opened.scheduler.run();
  opened.server.say(chunk(kChunkDone, kChunkOffsetData, 1ULL << 32, "0000000000000000 dd"));
  EXPECT_EQ(partly.error(), ErrorKind::invalid);
  opened.server.say(chunk(0, kChunkErrorOffset, (1ULL << 32) + 1, "00000001 0001 41 0000000000000000"));
  opened.server.say(chunk(kChunkDone, kChunkNone, (1ULL << 32) + 1, ""));
  EXPECT_EQ(refused.error(), ErrorKind::read_only);
  client.read(0, into, later.done());
  opened.scheduler.run();
  EXPECT_FALSE(later.result) << "the connection goes on";
}

TEST(NbdClientReplies, WhatAServerDoesNotOfferIsDoneByOtherMeans) {
  Opened opened(kSendFlush, false);
  ASSERT_TRUE(opened.told.ok());
  NbdClient& client = opened.client();
  opened.server.heard();

  Told<void> zero, discard;
  client.zero(100, 100'000, store::ZeroMode::may_punch, store::Durability::durable, zero.done());
  client.discard(0, 100, discard.done());
  opened.scheduler.run();
  EXPECT_TRUE(discard.ok());
  std::vector<Request> sent = requests_in(opened.server.heard());
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0], (Request{0, kWrite, sent[0].cookie, 100, 65536}));
  EXPECT_EQ(sent[1], (Request{0, kWrite, sent[1].cookie, 65636, 34464}));
  opened.server.say(simple(0, sent[1].cookie));
  opened.server.say(simple(0, sent[0].cookie));
  EXPECT_FALSE(zero.result) << "durable by a flush";
  sent = requests_in(opened.server.heard());
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].type, kFlush);
  opened.server.say(simple(0, sent[0].cookie));
  EXPECT_TRUE(zero.ok());

  Told<std::vector<store::Extent>> extents;
  client.extents(5, 10, extents.done());
  opened.scheduler.run();
  ASSERT_TRUE(extents.ok());
  EXPECT_EQ(**extents.result, (std::vector<store::Extent>{{5, 10, false, false}}));
}

TEST(NbdClientReplies, WithoutFlushAFlushIsRefused) {
  Opened opened(0, false);
  ASSERT_TRUE(opened.told.ok());
  Told<void> flush;
  opened.client().flush(flush.done());
  opened.scheduler.run();
  EXPECT_EQ(flush.error(), ErrorKind::unsupported);
}

}  // namespace
}  // namespace godwit::exports
