#include "export/nbd_client.h"

#include <gtest/gtest.h>

#include <optional>

#include "export/nbd_protocol.h"
#include "export/nbd_server.h"
#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace nbd;
using test::pattern;
using test::StreamPair;
using test::TestDevice;
using test::TestScheduler;
using test::Told;

constexpr std::uint64_t kSize = 1 << 20;
constexpr std::uint32_t kRelayOption = 0x47445701;

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

}  // namespace
}  // namespace godwit::exports
