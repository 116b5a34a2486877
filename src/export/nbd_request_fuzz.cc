// A whole server fed by an arbitrary client, and a client fed by an arbitrary server. The first byte chooses: which side, whether
// a handshake precedes, how the device behaves. Whatever comes, nothing stays behind once the stream has ended.
#include <cstdint>

#include "base/check.h"
#include "export/nbd_client.h"
#include "export/nbd_protocol.h"
#include "export/nbd_server.h"
#include "export/test_world.h"

namespace godwit::exports {
namespace {

using namespace nbd;

constexpr std::uint64_t kSize = 64 * 1024;

class FuzzOptions final : public OptionHandler {
 public:
  bool handles(std::uint32_t option) const override { return option == 0x47445701; }
  void handle_option(ConnectionId, std::uint32_t option, ConstBytes payload,
                     std::move_only_function<void(OptionReply)> answer) override {
    ++asked;
    answer({option, to_bytes(payload)});
  }
  void handle_closed(ConnectionId) override { ++closed; }
  int asked = 0, closed = 0;
};

void put(test::Pipe& pipe, ConstBytes bytes) {
  pipe.bytes.insert(pipe.bytes.end(), bytes.begin(), bytes.end());
  if (pipe.changed_for_reader) pipe.changed_for_reader();
}

Bytes client_handshake(bool structured) {
  Bytes bytes = encode_client_flags(kFixedNewstyle | kNoZeroes);
  if (structured) {
    append_option(bytes, kOptStructuredReply, {});
    append_option(bytes, kOptSetMetaContext, encode_meta_query({"", {std::string(kBaseAllocation)}}));
  }
  append_option(bytes, kOptGo, encode_info_query({"", {kInfoBlockSize}}));
  return bytes;
}

Bytes server_handshake(bool structured) {
  Bytes bytes = encode_greeting(kFixedNewstyle | kNoZeroes);
  append_option_reply(bytes, kOptStructuredReply, structured ? kRepAck : kRepErrUnsupported, {});
  if (structured) {
    append_option_reply(bytes, kOptSetMetaContext, kRepMetaContext, encode_meta_context({1, std::string(kBaseAllocation)}));
    append_option_reply(bytes, kOptSetMetaContext, kRepAck, {});
  }
  append_option_reply(bytes, kOptGo, kRepInfo, encode_export_info({kSize, kHasFlags | kSendFlush | kSendTrim}));
  append_option_reply(bytes, kOptGo, kRepAck, {});
  return bytes;
}

void fuzz_server(std::uint8_t choice, ConstBytes bytes) {
  test::TestScheduler scheduler;
  test::TestDevice device(scheduler, kSize);
  device.as_memory = (choice & 2) != 0;
  device.holds = (choice & 4) != 0;
  net::BufferPool buffers(1 << 20);
  FuzzOptions options;
  {
    NbdLimits limits;
    limits.requests_in_flight_max = (choice & 8) != 0 ? 2 : 256;
    NbdServer server(scheduler, buffers, limits, &options);
    GODWIT_CHECK(server.add({}, device).has_value());
    test::StreamPair pair(scheduler, choice);
    auto to_server = pair.to_server, to_client = pair.to_client;
    pair.client.reset();
    to_client->broken = to_server->ended = false;
    server.accept(std::move(pair.server));
    if ((choice & 16) != 0) put(*to_server, client_handshake((choice & 32) != 0));
    put(*to_server, bytes);
    scheduler.run();
    if ((choice & 64) != 0) return;  // the server goes in the middle of it
    to_server->ended = true;
    if (to_server->changed_for_reader) to_server->changed_for_reader();
    scheduler.run();
    device.holds = false;
    device.let_all_go();
    scheduler.run();
    GODWIT_CHECK(server.open_connections("") == 0);
    GODWIT_CHECK(to_client->ended);
  }
  GODWIT_CHECK(options.closed == std::min(options.asked, 1));
  device.let_all_go();
  scheduler.run();
}

void fuzz_client(std::uint8_t choice, ConstBytes bytes) {
  test::TestScheduler scheduler;
  test::StreamPair pair(scheduler, choice);
  auto to_client = pair.to_client;
  pair.server.reset();
  pair.to_server->broken = to_client->ended = false;
  std::unique_ptr<NbdClient> client;
  int opened = 0, answered = 0, asked = 0;
  NbdClient::open(scheduler, std::move(pair.client), {}, [&](Result<std::unique_ptr<NbdClient>> result) {
    ++opened;
    if (result) client = std::move(*result);
  });
  if ((choice & 16) != 0) put(*to_client, server_handshake((choice & 32) != 0));
  scheduler.run();
  Bytes into(300);
  if (client && client->size() >= 1000) {
    asked = 5;
    client->read(0, MutableBytes(into).first(100), [&](const Result<void>&) { ++answered; });
    client->read(100, MutableBytes(into).last(200), [&](const Result<void>&) { ++answered; });
    client->flush([&](const Result<void>&) { ++answered; });
    client->discard(0, 1000, [&](const Result<void>&) { ++answered; });
    client->extents(0, 1000, [&](const Result<std::vector<store::Extent>>&) { ++answered; });
    scheduler.run();
  }
  put(*to_client, bytes);
  scheduler.run();
  to_client->ended = true;
  if (to_client->changed_for_reader) to_client->changed_for_reader();
  scheduler.run();
  GODWIT_CHECK(opened == 1);
  GODWIT_CHECK(answered == asked);
}

}  // namespace
}  // namespace godwit::exports

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  if (size == 0) return 0;
  ConstBytes bytes(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if ((data[0] & 1) != 0)
    exports::fuzz_client(data[0], bytes);
  else
    exports::fuzz_server(data[0], bytes);
  return 0;
}
