// An NBD client by hand for the server's tests: its bytes go into the server's stream as they are, what comes back is decoded by
// the protocol's own functions. And the fixture that both of the server's tests share.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "export/nbd_protocol.h"
#include "export/nbd_server.h"
#include "export/test_world.h"

namespace godwit::exports::test {

using namespace nbd;

inline constexpr std::uint64_t kSize = 1 << 20;

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
  // With `agreed` it is one that needs no handshake.
  explicit ByHand(TestScheduler& scheduler, NbdServer& server, std::uint64_t seed = 1,
                  const std::optional<std::string>& agreed = std::nullopt)
      : scheduler_(scheduler), pair_(scheduler, seed) {
    pair_.client.reset();  // its half of the pipes is used by hand
    pair_.to_client->broken = pair_.to_server->ended = false;
    to_server = pair_.to_server;
    to_client = pair_.to_client;
    stream = pair_.server.get();
    if (agreed)
      server.accept_agreed(std::move(pair_.server), *agreed);
    else
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

inline std::vector<std::uint64_t> cookies(const std::vector<Reply>& replies) {
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

class ServerFixture : public testing::Test {
 protected:
  ServerFixture() { begin({}); }

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

}  // namespace godwit::exports::test
