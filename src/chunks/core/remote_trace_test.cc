// Conversations of real casync and desync programs, replayed against both sessions. Their origin: testdata/desync/README.md.
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "chunks/core/remote_client.h"
#include "chunks/core/remote_server.h"

namespace godwit::chunks {
namespace {

struct Record {
  bool from_client = false;
  Bytes bytes;
};

std::vector<Record> read_trace(const std::string& name) {
  std::ifstream file(std::string(GODWIT_TESTDATA "/desync/wire/") + name + ".trace", std::ios::binary);
  EXPECT_TRUE(file) << name;
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  Cursor cursor(as_bytes(text));
  std::vector<Record> records;
  while (!cursor.at_end() && cursor.ok()) {
    const bool from_client = cursor.u8() == '>';
    const std::uint32_t size = cursor.u32_le();
    records.push_back({from_client, to_bytes(cursor.take(size))});
  }
  EXPECT_TRUE(cursor.ok()) << name;
  return records;
}

// The whole frames of one direction that have come with each record: a frame counts where its last byte does.
std::vector<std::pair<bool, Bytes>> frames_of(const std::vector<Record>& records) {
  wire::Assembler assemblers[2];
  std::vector<std::pair<bool, Bytes>> frames;
  for (const Record& record : records) {
    wire::Assembler& assembler = assemblers[record.from_client ? 0 : 1];
    assembler.feed(record.bytes);
    while (true) {
      const Result<std::optional<ConstBytes>> frame = assembler.next();
      EXPECT_TRUE(frame);
      if (!frame || !*frame) break;
      frames.emplace_back(record.from_client, to_bytes(**frame));
    }
  }
  EXPECT_TRUE(assemblers[0].at_frame_boundary() && assemblers[1].at_frame_boundary());
  return frames;
}

std::vector<std::string> trace_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(GODWIT_TESTDATA "/desync/wire"))
    names.push_back(entry.path().stem().string());
  std::ranges::sort(names);
  return names;
}

TEST(RemoteTrace, EveryRecordedFrameDecodesAndEncodesToTheSameBytes) {
  const std::vector<std::string> names = trace_names();
  ASSERT_EQ(names.size(), 12u);
  for (const std::string& name : names) {
    for (const auto& [from_client, frame] : frames_of(read_trace(name))) {
      const Result<wire::Message> message = wire::decode_message(frame);
      ASSERT_TRUE(message) << name << ": " << message.error().message();
      Bytes again;
      wire::encode_message(*message, again);
      EXPECT_EQ(again, frame) << name;
    }
  }
}

using Answers = std::vector<std::pair<ChunkId, bool>>;  // chunk, and whether it is there

Answers answers_in(const std::vector<std::pair<bool, Bytes>>& frames) {
  Answers answers;
  for (const auto& [from_client, frame] : frames) {
    const Result<wire::Message> message = wire::decode_message(frame);
    if (const auto* chunk = std::get_if<wire::Chunk>(&*message)) answers.emplace_back(chunk->id, true);
    if (const auto* missing = std::get_if<wire::Missing>(&*message)) answers.emplace_back(missing->id, false);
  }
  return answers;
}

// Plays a recorded client to our server, whose store has what the recorded server's had; gives our answers.
Answers serve(const std::string& name, bool expect_end) {
  const auto frames = frames_of(read_trace(name));
  std::map<ChunkId, bool> store;
  for (const auto& [id, is_present] : answers_in(frames)) store[id] = is_present;
  RemoteServer server = *RemoteServer::start({.store = true}, {});
  Answers answers;
  const auto work = [&] {
    while (const std::optional<RemoteWork> next = server.poll_work()) {
      if (const auto* load = std::get_if<remote_work::LoadChunk>(&*next)) {
        const auto found = store.find(load->id);
        if (found == store.end() || found->second)  // one that was never answered was there all the same
          server.handle_chunk_loaded(load->id, 100);
        else
          server.handle_chunk_absent(load->id);
      }
      if (const auto* chunk = std::get_if<remote_work::SendChunk>(&*next)) answers.emplace_back(chunk->id, true);
      if (const auto* send = std::get_if<remote_work::Send>(&*next)) {
        const Result<wire::Message> message = wire::decode_message(send->frame);
        if (const auto* missing = std::get_if<wire::Missing>(&*message)) answers.emplace_back(missing->id, false);
      }
    }
  };
  work();
  for (const auto& [from_client, frame] : frames) {
    if (!from_client) continue;
    EXPECT_TRUE(server.handle_frame(*wire::decode_message(frame))) << name;
    work();
  }
  EXPECT_TRUE(server.handle_end_of_stream());
  work();
  EXPECT_EQ(server.has_ended(), expect_end) << name;
  return answers;
}

TEST(RemoteTrace, OurServerAnswersARecordedClientLikeTheRecordedServer) {
  for (const char* name : {"casync-client.casync-pull", "casync-client.desync-pull.one-chunk",
                           "casync-client.desync-pull.missing", "desync-client.casync-pull", "desync-client.casync-pull.missing",
                           "desync-client.desync-pull", "desync-client.desync-pull.missing", "desync-client.desync-pull.repeat"})
    EXPECT_EQ(serve(name, true), answers_in(frames_of(read_trace(name)))) << name;
}

// A real casync leaves the repeated request unanswered, and both wait for ever.
TEST(RemoteTrace, OurServerAnswersTheRepeatThatCasyncLeavesUnanswered) {
  const Answers recorded = answers_in(frames_of(read_trace("desync-client.casync-pull.repeat-hangs")));
  const Answers ours = serve("desync-client.casync-pull.repeat-hangs", true);
  ASSERT_EQ(ours.size(), recorded.size() + 1);
  EXPECT_TRUE(std::ranges::equal(recorded, std::span(ours).first(recorded.size())));
  EXPECT_EQ(ours.back(), ours[recorded.size() - 1]);
}

// desync answers the first id of a REQUEST only, and casync, which put two into one, waits for ever.
TEST(RemoteTrace, OurServerAnswersEveryIdOfARequest) {
  EXPECT_EQ(serve("casync-client.desync-pull.hangs", true).size(), 5u);
  EXPECT_EQ(serve("casync-client.desync-pull", true).size(), 5u) << "LOW and HIGH of an id are one request";
}

// Plays a recorded server to our client, which asks for the chunks that the recorded client asked for.
TEST(RemoteTrace, OurClientTakesWhatARecordedServerSends) {
  for (const std::string& name : trace_names()) {
    if (name.find("hangs") != std::string::npos || name.find("wants-index") != std::string::npos) continue;
    const auto frames = frames_of(read_trace(name));
    RemoteClient client = *RemoteClient::start(hello::kPullChunks, Instant{}, {});
    std::size_t asked = 0, taken = 0;
    const auto work = [&] {
      while (client.poll_work(Instant{})) {
      }
    };
    work();
    for (const auto& [from_client, frame] : frames) {
      const Result<wire::Message> message = wire::decode_message(frame);
      if (const auto* request = std::get_if<wire::Request>(&*message); request != nullptr && from_client) {
        for (const ChunkId& id : request->ids)
          if (!client.has_asked(id)) {
            client.request(id, request->priority);
            ++asked;
          }
      } else if (!from_client) {
        const Result<PayloadUse> use = client.handle_frame(Instant{}, *message);
        ASSERT_TRUE(use) << name << ": " << use.error().message();
        taken += *use == PayloadUse::chunk ? 1 : 0;
      }
      work();
    }
    taken += client.events().missing.size();
    EXPECT_EQ(taken, asked) << name;
    client.finish();
    work();
    EXPECT_TRUE(client.has_ended()) << name;
  }
}

TEST(RemoteTrace, AServerThatHasNoIndexIsToldApart) {
  const auto frames = frames_of(read_trace("casync-client.desync-pull.wants-index"));
  RemoteClient client = *RemoteClient::start(hello::kPullIndex | hello::kPullChunks, Instant{}, {});
  for (const auto& [from_client, frame] : frames) {
    if (from_client) continue;
    const Result<PayloadUse> use = client.handle_frame(Instant{}, *wire::decode_message(frame));
    ASSERT_FALSE(use);
    EXPECT_EQ(use.error().kind(), ErrorKind::refused);
    EXPECT_NE(use.error().message().find("an index to read"), std::string::npos) << use.error().message();
  }
}

}  // namespace
}  // namespace godwit::chunks
