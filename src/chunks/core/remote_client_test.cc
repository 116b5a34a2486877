#include "chunks/core/remote_client.h"

#include "chunks/core/remote_session_test.h"

namespace godwit::chunks {
namespace {

using namespace session_test;

constexpr Instant kStart{1'000'000'000};

// One client and what happened to it. Events are messages of the server ("< CHUNK 1"), "request 1", "finish", and those of both
// sessions.
struct Scene {
  explicit Scene(HelloFlags wants, RemoteClient::Limits limits = {}) : client(*RemoteClient::start(wants, kStart, limits)) {}

  // Gives the work that the event led to, and what was said of a payload or of an error.
  Words run(const std::string& event) {
    Words out;
    if (event.starts_with("< ")) {
      note_use(client.handle_frame(now, message_of(event.substr(2))), out);
    } else if (event.starts_with("request")) {
      client.request(id_in(event), wire::Priority::high);
    } else if (event == "finish") {
      client.finish();
    } else {
      EXPECT_TRUE(handle_common_event(client, event, out)) << event;
    }
    while (const std::optional<RemoteWork> work = client.poll_work(now)) out += text_of(*work);
    if (std::exchange(client.events().has_file_arrived, false)) out += "file arrived";
    for (const ChunkId& missing : std::exchange(client.events().missing, {}))
      out += fmt::format("missing {}", number_of(missing));
    if (client.has_ended() && !std::exchange(ended_told, true)) out += "ended";
    return out;
  }

  RemoteClient client;
  Instant now = kStart;
  bool ended_told = false;
};

struct Row {
  std::string name;
  HelloFlags wants;
  std::vector<std::string> steps;
};

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Scene scene(row.wants);
    converse(scene, row.name, row.wants, row.steps);
    EXPECT_TRUE(scene.client.has_ended() || scene.client.has_failed()) << row.name;
  }
}

// The table in src/chunks/README.md, "Remote", client: pulling.
TEST(RemoteClient, PullsAsTheTableSays) {
  check({
      {"index and chunks",
       0xc0,
       {"< HELLO 5", "< INDEX: take piece", "request 1: send HIGH 1", "request 2: send HIGH 2", "< INDEX_EOF: file arrived",
        "< CHUNK 1: take chunk", "finish", "< CHUNK 2: take chunk, send GOODBYE, end, ended"}},
      {"requests wait for HELLO",
       0x40,
       {"request 1", "< HELLO 1: send HIGH 1", "< MISSING 1: missing 1", "finish: send GOODBYE, end, ended"}},
      {"index alone",
       0x80,
       {"< HELLO 4", "finish", "< INDEX: take piece", "< INDEX_EOF: send GOODBYE, end, file arrived, ended"}},
      {"archive",
       0x100,
       {"< HELLO 10", "finish", "< ARCHIVE: take piece", "< ARCHIVE: take piece",
        "< ARCHIVE_EOF: send GOODBYE, end, file arrived, ended"}},
      {"an answer given twice is dropped the second time",
       0x40,
       {"< HELLO 1", "request 1: send HIGH 1", "< CHUNK 1: take chunk", "< CHUNK 1", "< MISSING 1", "< CHUNK 9",
        "finish: send GOODBYE, end, ended", "< CHUNK 1"}},
      {"goodbye before an answer is a failure",
       0x40,
       {"< HELLO 1", "request 1: send HIGH 1", "< GOODBYE: error connection lost, end"}},
      {"goodbye before the index is through is a failure",
       0xc0,
       {"< HELLO 5", "< INDEX: take piece", "< GOODBYE: error connection lost, end"}},
      {"goodbye when all is here is the end",
       0x80,
       {"< HELLO 4", "< INDEX: take piece", "< INDEX_EOF: file arrived", "< GOODBYE: end, ended"}},
      {"the stream ends before HELLO", 0x40, {"eos: error connection lost, end"}},
      {"the stream ends before an answer", 0x40, {"< HELLO 1", "request 1: send HIGH 1", "eos: error connection lost, end"}},
      {"the stream ends before the archive is through",
       0x100,
       {"< HELLO 10", "< ARCHIVE: take piece", "eos: error connection lost, end"}},
      {"the peer aborts", 0xc0, {"< HELLO 5", "< ABORT 2: error not found, end"}},
      {"the peer aborts at once", 0xc0, {"< ABORT 13: error refused, end"}},
      {"a service is not offered", 0xc0, {"< HELLO 1: error refused, end"}},
      {"a request to a client that pulls", 0x40, {"< HELLO 1", "< LOW 1: error invalid, end"}},
      {"the user gives up", 0x40, {"< HELLO 1", "request 1: send HIGH 1", "fail: send ABORT 28, end", "< CHUNK 1"}},
  });
}

// The same, pushing.
TEST(RemoteClient, PushesAsTheTableSays) {
  check({
      {"index and chunks",
       0xe00,
       {"piece", "< HELLO a: send piece", "< LOW 1 2: load 1, load 2", "loaded 2", "loaded 1: send chunk 1, send chunk 2",
        "piece: send piece", "eof: send INDEX_EOF", "< LOW 3: load 3", "loaded 3: send chunk 3", "< GOODBYE: end, ended"}},
      {"the server has everything",
       0xe00,
       {"< HELLO a", "piece: send piece", "eof: send INDEX_EOF", "< GOODBYE: end, ended", "eos"}},
      {"index alone", 0x400, {"< HELLO 8", "piece: send piece", "eof: send INDEX_EOF", "< GOODBYE: end, ended"}},
      {"archive",
       0x1000,
       {"< HELLO 20", "piece: send piece", "piece: send piece", "eof: send ARCHIVE_EOF", "< GOODBYE: end, ended"}},
      {"a chunk we have not got",
       0xe00,
       {"< HELLO a", "piece: send piece", "eof: send INDEX_EOF", "< HIGH 1: load 1", "absent 1: send MISSING 1",
        "eos: error connection lost, end"}},
      // What a real casync says to a push of chunks alone, right after HELLO.
      {"goodbye before the end of the index is a failure",
       0xe00,
       {"< HELLO a", "piece: send piece", "< GOODBYE: error connection lost, end"}},
      {"goodbye while a chunk is being loaded is a failure",
       0xe00,
       {"< HELLO a", "piece: send piece", "eof: send INDEX_EOF", "< LOW 1: load 1", "< GOODBYE: error connection lost, end"}},
      {"the stream ends without goodbye",
       0x1000,
       {"< HELLO 20", "piece: send piece", "eof: send ARCHIVE_EOF", "eos: error connection lost, end"}},
      {"a chunk from a server that takes them", 0xe00, {"< HELLO a", "< CHUNK 1: error invalid, end"}},
      {"a request in an index push", 0x400, {"< HELLO a", "< LOW 1: error invalid, end"}},
      {"the server has no room for a file", 0x1000, {"< HELLO 20", "< ABORT 28: error no space, end"}},
      {"the user gives up", 0xe00, {"< HELLO a", "fail: send ABORT 28, end"}},
  });
}

TEST(RemoteClient, APushOfChunksAloneIsRefused) {
  const Result<RemoteClient> client = RemoteClient::start(0x200, kStart, {});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().kind(), ErrorKind::refused);
}

TEST(RemoteClient, NoMoreRequestsAreOutThanTheLimit) {
  RemoteClient::Limits limits;
  limits.requests = 2;
  Scene scene(0x40, limits);
  scene.run("start");
  scene.run("< HELLO 1");
  EXPECT_EQ(scene.run("request 1"), (Words{"send HIGH 1"}));
  EXPECT_EQ(scene.run("request 2"), (Words{"send HIGH 2"}));
  EXPECT_EQ(scene.run("request 3"), (Words{}));
  EXPECT_EQ(scene.run("< CHUNK 2"), (Words{"take chunk", "send HIGH 3"}));
  EXPECT_TRUE(scene.client.has_asked(id_of(3)));
  EXPECT_FALSE(scene.client.has_asked(id_of(4)));
}

TEST(RemoteClient, RequestsLeaveOneIdPerFrameAndInOrder) {
  Scene scene(0x40);
  scene.run("start");
  for (int i = 1; i <= 5; ++i) scene.client.request(id_of(i), i % 2 == 0 ? wire::Priority::low : wire::Priority::high);
  EXPECT_EQ(scene.run("< HELLO 1"), (Words{"send HIGH 1", "send LOW 2", "send HIGH 3", "send LOW 4", "send HIGH 5"}));
}

TEST(RemoteClient, ASilentServerThatOwesSomethingIsGivenUp) {
  RemoteClient::Limits limits;
  limits.silence = Duration::seconds(10);
  Scene scene(0x40, limits);
  scene.run("start");
  EXPECT_EQ(scene.client.next_deadline(), Instant::never()) << "ssh may be asking for a password";
  scene.run("< HELLO 1");
  EXPECT_EQ(scene.client.next_deadline(), Instant::never()) << "nothing is owed";
  scene.now = kStart + Duration::seconds(100);
  scene.run("request 1");
  EXPECT_EQ(scene.client.next_deadline(), scene.now + Duration::seconds(10));
  scene.client.handle_heard(scene.now + Duration::seconds(5));
  EXPECT_TRUE(scene.client.handle_deadline(scene.now + Duration::seconds(10))) << "it was heard meanwhile";
  const Result<void> late = scene.client.handle_deadline(scene.now + Duration::seconds(15));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind(), ErrorKind::timed_out);
  EXPECT_TRUE(scene.client.has_failed());
}

// A real casync never says GOODBYE to an index pushed alone (casync.md 2.6).
TEST(RemoteClient, AServerThatNeverConfirmsAnIndexIsGivenUp) {
  RemoteClient::Limits limits;
  limits.silence = Duration::seconds(10);
  Scene scene(0x400, limits);
  for (const char* event : {"start", "< HELLO 8", "piece"}) scene.run(event);
  EXPECT_EQ(scene.client.next_deadline(), Instant::never());
  scene.run("eof");
  EXPECT_FALSE(scene.client.handle_deadline(kStart + Duration::seconds(10)));
}

}  // namespace
}  // namespace godwit::chunks
