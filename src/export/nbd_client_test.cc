#include "export/nbd_client.h"

#include <gtest/gtest.h>

#include <optional>

#include "export/nbd_protocol.h"
#include "export/nbd_server.h"
#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using test::StreamPair;
using test::TestDevice;
using test::TestScheduler;

constexpr std::uint64_t kSize = 1 << 20;
constexpr std::uint32_t kRelayOption = 0x47445701;

Bytes pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

// Keeps what a `done` was told.
template <class T>
struct Told {
  std::optional<Result<T>> result;
  net::Done<T> done() {
    return [this](Result<T> told) {
      EXPECT_FALSE(result) << "told twice";
      result.emplace(std::move(told));
    };
  }
  bool ok() const { return result && result->has_value(); }
  ErrorKind error() const { return result && !*result ? result->error().kind() : ErrorKind::usage; }
};

class TestOptions final : public OptionHandler {
 public:
  bool handles(std::uint32_t option) const override { return option == kRelayOption; }
  void handle_option(ConnectionId connection, std::uint32_t, ConstBytes payload,
                     std::move_only_function<void(OptionReply)> answer) override {
    if (server != nullptr) server->set_relay(connection, nullptr);
    answer({reply_type, to_bytes(payload)});
  }
  void handle_closed(ConnectionId) override {}

  NbdServer* server = nullptr;
  std::uint32_t reply_type = kRelayOption;
};

class NbdClientTest : public testing::Test {
 protected:
  NbdClientTest() {
    options.server = &server;
    add("vol", [](ExportOptions&) {});
  }
  void add(const std::string& name, auto change) {
    ExportOptions exported;
    exported.name = name;
    change(exported);
    ASSERT_TRUE(server.add(std::move(exported), device));
  }
  std::unique_ptr<NbdClient> open(NbdClientOptions client_options, std::uint64_t seed = 1) {
    StreamPair pair(scheduler, seed);
    to_client = pair.to_client;
    to_server = pair.to_server;
    server.accept(std::move(pair.server));
    Told<std::unique_ptr<NbdClient>> opened;
    NbdClient::open(scheduler, std::move(pair.client), std::move(client_options), opened.done());
    EXPECT_FALSE(opened.result) << "not from inside the call";
    scheduler.run();
    if (!opened.result) return nullptr;
    if (!*opened.result) {
      open_error = opened.result->error();
      return nullptr;
    }
    return std::move(**opened.result);
  }
  std::unique_ptr<NbdClient> open_vol(std::uint64_t seed = 1) { return open({.export_name = "vol", .opening = {}}, seed); }

  TestScheduler scheduler;
  net::BufferPool buffers{64 * 1024 * 1024};
  TestDevice device{scheduler, kSize};
  TestOptions options;
  NbdServer server{scheduler, buffers, {}, &options};
  std::shared_ptr<test::Pipe> to_client, to_server;
  std::optional<Error> open_error;
};

TEST_F(NbdClientTest, ManyRequestsAtOnceReachTheDeviceAndComeBack) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    device.as_memory = seed % 2 == 0;
    std::unique_ptr<NbdClient> client = open_vol(seed);
    ASSERT_TRUE(client);
    EXPECT_EQ(client->size(), kSize);
    EXPECT_FALSE(client->read_only());
    Random random(seed);
    Bytes content = pattern(kSize, seed);
    struct Piece {
      std::size_t at, length;
      Bytes read;
      Told<void> written, was_read;
    };
    std::deque<Piece> pieces;
    for (std::size_t at = 0; at < kSize;) {
      std::size_t length = 1 + static_cast<std::size_t>(random.below(random.chance(0.2) ? 200'000 : 8000));
      length = std::min(length, kSize - at);
      pieces.push_back({at, length, Bytes(length), {}, {}});
      at += length;
    }
    for (Piece& piece : pieces)
      client->write(piece.at, ConstBytes(content).subspan(piece.at, piece.length),
                    random.chance(0.5) ? store::Durability::durable : store::Durability::written, piece.written.done());
    EXPECT_EQ(client->unanswered(), pieces.size());
    scheduler.run();
    EXPECT_EQ(client->unanswered(), 0U);
    EXPECT_TRUE(std::ranges::equal(device.content(), content));
    for (Piece& piece : pieces) client->read(piece.at, piece.read, piece.was_read.done());
    scheduler.run();
    for (Piece& piece : pieces) {
      EXPECT_TRUE(piece.written.ok());
      ASSERT_TRUE(piece.was_read.ok());
      EXPECT_TRUE(std::ranges::equal(piece.read, ConstBytes(content).subspan(piece.at, piece.length)));
    }
  }
}

TEST_F(NbdClientTest, EachOperationIsTheDevicesOwn) {
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  using store::Durability;
  using store::ZeroMode;
  struct Row {
    const char* name;
    std::function<void(store::Done<void>)> call;
    std::vector<std::string> log;
  };
  const Bytes payload(512);
  const Row rows[] = {
      {"write", [&](auto done) { client->write(0, payload, Durability::written, std::move(done)); }, {"write 0+512"}},
      {"durable write", [&](auto done) { client->write(0, payload, Durability::durable, std::move(done)); }, {"write fua 0+512"}},
      {"flush", [&](auto done) { client->flush(std::move(done)); }, {"flush 0+0"}},
      {"zero",
       [&](auto done) { client->zero(512, 1024, ZeroMode::may_punch, Durability::written, std::move(done)); },
       {"zero 512+1024"}},
      {"durable zero, allocated",
       [&](auto done) { client->zero(512, 1024, ZeroMode::keep_allocated, Durability::durable, std::move(done)); },
       {"zero keep fua 512+1024"}},
      {"discard", [&](auto done) { client->discard(512, 1024, std::move(done)); }, {"discard 512+1024"}},
      {"write of nothing", [&](auto done) { client->write(kSize, {}, Durability::written, std::move(done)); }, {}},
      {"zero of nothing", [&](auto done) { client->zero(0, 0, ZeroMode::may_punch, Durability::written, std::move(done)); }, {}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    device.log.clear();
    Told<void> told;
    row.call(told.done());
    EXPECT_FALSE(told.result);
    scheduler.run();
    EXPECT_TRUE(told.ok());
    EXPECT_EQ(device.log, row.log);
  }
}

TEST_F(NbdClientTest, RequestsLongerThanTheServersLargestBlockAreCut) {
  add("small", [](ExportOptions& exported) { exported.block_size_max = 4096; });
  std::unique_ptr<NbdClient> client = open({.export_name = "small", .opening = {}});
  ASSERT_TRUE(client);
  const Bytes content = pattern(10'000, 3);
  Told<void> written, read, refused;
  client->write(5, content, store::Durability::written, written.done());
  scheduler.run();
  EXPECT_TRUE(written.ok());
  EXPECT_EQ(device.log, (std::vector<std::string>{"write 5+4096", "write 4101+4096", "write 8197+1808"}));
  Bytes back(content.size());
  client->read(5, back, read.done());
  scheduler.run();
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(back, content);
  device.error = Error(ErrorKind::no_space, "full");
  client->write(5, content, store::Durability::written, refused.done());
  scheduler.run();
  EXPECT_EQ(refused.error(), ErrorKind::no_space);
}

TEST_F(NbdClientTest, ErrorsComeBackAsTheirKinds) {
  const std::pair<ErrorKind, ErrorKind> rows[] = {
      {ErrorKind::invalid, ErrorKind::invalid},
      {ErrorKind::no_space, ErrorKind::no_space},
      {ErrorKind::refused, ErrorKind::refused},
      {ErrorKind::limit, ErrorKind::limit},
      {ErrorKind::unsupported, ErrorKind::unsupported},
      {ErrorKind::shut_down, ErrorKind::shut_down},
      {ErrorKind::io, ErrorKind::io},
      {ErrorKind::moved, ErrorKind::io},
  };
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  Bytes into(512);
  for (const auto& [given, expected] : rows) {
    SCOPED_TRACE(name_of(given));
    device.error = Error(given, "no");
    Told<void> read, write, flush, zero, discard;
    Told<std::vector<store::Extent>> extents;
    client->read(0, into, read.done());
    client->write(0, into, store::Durability::written, write.done());
    client->flush(flush.done());
    client->zero(0, 512, store::ZeroMode::may_punch, store::Durability::written, zero.done());
    client->discard(0, 512, discard.done());
    client->extents(0, 512, extents.done());
    scheduler.run();
    for (const Told<void>* told : {&read, &write, &flush, &zero, &discard}) EXPECT_EQ(told->error(), expected);
    EXPECT_EQ(extents.error(), expected);
  }
}

TEST_F(NbdClientTest, RangesOutsideTheDeviceAreInvalidAndNotSent) {
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  Bytes bytes(2);
  Told<void> read, write, zero, discard;
  Told<std::vector<store::Extent>> extents;
  client->read(kSize - 1, bytes, read.done());
  client->write(~0ULL, bytes, store::Durability::written, write.done());
  client->zero(1, kSize, store::ZeroMode::may_punch, store::Durability::written, zero.done());
  client->discard(kSize + 1, 0, discard.done());
  client->extents(0, kSize + 1, extents.done());
  scheduler.run();
  for (const Told<void>* told : {&read, &write, &zero, &discard}) EXPECT_EQ(told->error(), ErrorKind::invalid);
  EXPECT_EQ(extents.error(), ErrorKind::invalid);
  EXPECT_TRUE(device.log.empty());
}

TEST_F(NbdClientTest, AReadOnlyExportIsAReadOnlyDevice) {
  add("ro", [](ExportOptions& exported) { exported.read_only = true; });
  std::unique_ptr<NbdClient> client = open({.export_name = "ro", .opening = {}});
  ASSERT_TRUE(client);
  EXPECT_TRUE(client->read_only());
  Told<void> write;
  client->write(0, Bytes(1), store::Durability::written, write.done());
  scheduler.run();
  EXPECT_EQ(write.error(), ErrorKind::read_only);
}

TEST_F(NbdClientTest, ExtentsAreTheServersAllocation) {
  device.allocation = {{0, 4096, false, false}, {4096, 8192, true, true}, {12288, kSize - 12288, false, true}};
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  Told<std::vector<store::Extent>> told;
  client->extents(1000, 20'000, told.done());
  scheduler.run();
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(**told.result,
            (std::vector<store::Extent>{{1000, 3096, false, false}, {4096, 8192, true, true}, {12288, 8712, false, true}}));
}

TEST_F(NbdClientTest, AnUnknownExportIsNotFound) {
  EXPECT_FALSE(open({.export_name = "lov", .opening = {}}));
  ASSERT_TRUE(open_error);
  EXPECT_EQ(open_error->kind(), ErrorKind::not_found);
}

TEST_F(NbdClientTest, TheOpeningOptionSaysWhereToGo) {
  std::string heard;
  NbdClientOptions relay{.export_name = "elsewhere",
                         .opening = OpeningOption{kRelayOption, to_bytes(as_bytes("vol")),
                                                  [&](std::uint32_t type, ConstBytes payload) -> Result<std::string> {
                                                    EXPECT_EQ(type, kRelayOption);
                                                    heard = as_text(payload);
                                                    return heard;
                                                  }}};
  std::unique_ptr<NbdClient> client = open(std::move(relay));
  ASSERT_TRUE(client);
  EXPECT_EQ(heard, "vol");
  device.error = Error(ErrorKind::moved, "gone on");
  Told<void> told;
  client->flush(told.done());
  scheduler.run();
  EXPECT_EQ(told.error(), ErrorKind::moved) << "a relay's connection hears of it";
}

TEST_F(NbdClientTest, TheOpeningOptionMayEndIt) {
  options.reply_type = kRelayOption | kRepErrorBit;
  NbdClientOptions relay{.export_name = "",
                         .opening = OpeningOption{kRelayOption, {}, [](std::uint32_t type, ConstBytes) -> Result<std::string> {
                                                    EXPECT_EQ(type, kRelayOption | kRepErrorBit);
                                                    return fail(ErrorKind::busy, "not now");
                                                  }}};
  EXPECT_FALSE(open(std::move(relay)));
  ASSERT_TRUE(open_error);
  EXPECT_EQ(open_error->kind(), ErrorKind::busy);
}

TEST_F(NbdClientTest, WhenTheConnectionIsLostEverythingFailsAndTheOwnerHearsOnce) {
  device.holds = true;
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  int lost = 0;
  client->on_lost([&](Error error) {
    EXPECT_EQ(error.kind(), ErrorKind::connection_lost);
    ++lost;
  });
  Bytes into(512);
  Told<void> read, write, later;
  client->read(0, into, read.done());
  client->write(0, into, store::Durability::written, write.done());
  scheduler.run();
  EXPECT_EQ(client->unanswered(), 2U);
  server.close_clients("vol");
  scheduler.run();
  EXPECT_EQ(read.error(), ErrorKind::connection_lost);
  EXPECT_EQ(write.error(), ErrorKind::connection_lost);
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(client->unanswered(), 0U);
  client->flush(later.done());
  EXPECT_EQ(client->unanswered(), 1U);
  EXPECT_FALSE(later.result);
  scheduler.run();
  EXPECT_EQ(later.error(), ErrorKind::connection_lost);
  EXPECT_EQ(client->unanswered(), 0U);
  device.let_all_go();
  scheduler.run();
}

TEST_F(NbdClientTest, AClientThatIsDestroyedForgetsItsRequests) {
  device.holds = true;
  std::unique_ptr<NbdClient> client = open_vol();
  ASSERT_TRUE(client);
  Told<void> told;
  client->flush(told.done());
  scheduler.run();
  client.reset();
  device.let_all_go();
  scheduler.run();
  EXPECT_FALSE(told.result);
  EXPECT_EQ(server.open_connections("vol"), 0U);
}

TEST_F(NbdClientTest, AClientMayBeDestroyedFromWithinItsAnswers) {
  for (bool from_lost : {false, true}) {
    std::unique_ptr<NbdClient> client = open_vol();
    ASSERT_TRUE(client);
    int ended = 0;
    if (from_lost) client->on_lost([&](const Error&) { client.reset(); });
    for (int i = 0; i < 5; ++i)
      client->flush([&](const Result<void>&) {
        ++ended;
        if (!from_lost) client.reset();
      });
    if (from_lost) server.close_clients("vol");
    scheduler.run();
    EXPECT_EQ(ended, from_lost ? 5 : 1);
    if (from_lost) {
      server.close_clients("vol");
      scheduler.run();
    }
    EXPECT_FALSE(client);
  }
}

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
    TestScheduler scheduler;
    ScriptedServer server(scheduler);
    Told<std::unique_ptr<NbdClient>> told;
    server.open(told);
    server.say(ScriptedServer::handshake(kSendFlush, row.structured));
    ASSERT_TRUE(told.ok());
    NbdClient& client = ***told.result;
    bool lost = false;
    client.on_lost([&](const Error&) { lost = true; });
    Bytes into(8);
    Told<void> read;
    client.read(0x200, into, read.done());
    scheduler.run();
    server.say(row.bytes);
    EXPECT_EQ(read.error(), ErrorKind::connection_lost);
    EXPECT_TRUE(lost);
  }
}

TEST(NbdClientReplies, AReadMayComeInAnyPieces) {
  constexpr std::uint64_t kCookie = 1ULL << 32;
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  server.open(told);
  server.say(ScriptedServer::handshake(0, true));
  ASSERT_TRUE(told.ok());
  Bytes into(8, std::byte{0xee});
  Told<void> read;
  (**told.result)->read(0x200, into, read.done());
  scheduler.run();
  server.say(chunk(0, kChunkOffsetData, kCookie, "0000000000000205 aabbcc"));
  server.say(chunk(0, kChunkOffsetHole, kCookie, "0000000000000201 00000004"));
  server.say(chunk(0, kChunkOffsetData, kCookie, "0000000000000200 dd"));
  EXPECT_FALSE(read.result);
  server.say(chunk(kChunkDone, kChunkNone, kCookie, ""));
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(to_hex(into), "dd00000000aabbcc");
}

TEST(NbdClientReplies, AReadWithPartOfItsDataOrAnErrorFailsAlone) {
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  server.open(told);
  server.say(ScriptedServer::handshake(kReadOnly, true));
  ASSERT_TRUE(told.ok());
  NbdClient& client = ***told.result;
  Bytes into(8);
  Told<void> partly, refused, later;
  client.read(0, into, partly.done());
  client.read(0, into, refused.done());
  scheduler.run();
  server.say(chunk(kChunkDone, kChunkOffsetData, 1ULL << 32, "0000000000000000 dd"));
  EXPECT_EQ(partly.error(), ErrorKind::invalid);
  server.say(chunk(0, kChunkErrorOffset, (1ULL << 32) + 1, "00000001 0001 41 0000000000000000"));
  server.say(chunk(kChunkDone, kChunkNone, (1ULL << 32) + 1, ""));
  EXPECT_EQ(refused.error(), ErrorKind::read_only);
  client.read(0, into, later.done());
  scheduler.run();
  EXPECT_FALSE(later.result) << "the connection goes on";
}

TEST(NbdClientReplies, WhatAServerDoesNotOfferIsDoneByOtherMeans) {
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  server.open(told);
  server.say(ScriptedServer::handshake(kSendFlush, false));
  ASSERT_TRUE(told.ok());
  NbdClient& client = ***told.result;
  server.heard();

  Told<void> zero, discard;
  client.zero(100, 100'000, store::ZeroMode::may_punch, store::Durability::durable, zero.done());
  client.discard(0, 100, discard.done());
  scheduler.run();
  EXPECT_TRUE(discard.ok());
  std::vector<Request> sent = requests_in(server.heard());
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0], (Request{0, kWrite, sent[0].cookie, 100, 65536}));
  EXPECT_EQ(sent[1], (Request{0, kWrite, sent[1].cookie, 65636, 34464}));
  server.say(simple(0, sent[1].cookie));
  server.say(simple(0, sent[0].cookie));
  EXPECT_FALSE(zero.result) << "durable by a flush";
  sent = requests_in(server.heard());
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].type, kFlush);
  server.say(simple(0, sent[0].cookie));
  EXPECT_TRUE(zero.ok());

  Told<std::vector<store::Extent>> extents;
  client.extents(5, 10, extents.done());
  scheduler.run();
  ASSERT_TRUE(extents.ok());
  EXPECT_EQ(**extents.result, (std::vector<store::Extent>{{5, 10, false, false}}));
}

TEST(NbdClientReplies, WithoutFlushAFlushIsRefused) {
  TestScheduler scheduler;
  ScriptedServer server(scheduler);
  Told<std::unique_ptr<NbdClient>> told;
  server.open(told);
  server.say(ScriptedServer::handshake(0, false));
  ASSERT_TRUE(told.ok());
  Told<void> flush;
  (**told.result)->flush(flush.done());
  scheduler.run();
  EXPECT_EQ(flush.error(), ErrorKind::unsupported);
}

}  // namespace
}  // namespace godwit::exports
