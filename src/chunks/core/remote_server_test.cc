#include "chunks/core/remote_server.h"

#include <utility>

#include "chunks/core/remote_session_test.h"

namespace godwit::chunks {
namespace {

using namespace session_test;

constexpr RemoteServer::Offer kPullBoth{.store = true, .index = true}, kPullStore{.store = true}, kPullIndexOnly{.index = true},
    kPullArchiveOnly{.archive = true};
constexpr RemoteServer::Offer kPushBoth{.is_push = true, .store = true, .index = true},
    kPushStore{.is_push = true, .store = true}, kPushIndexOnly{.is_push = true, .index = true},
    kPushArchiveOnly{.is_push = true, .archive = true};

// Events are messages of the client ("> HIGH 1"), "ids 2" (so many arrived), "read 1 2" (what ReadIds gave), "has 1", "lacks 1",
// "stored 1", "installed", and those of both sessions.
struct Scene {
  explicit Scene(RemoteServer::Offer offer, RemoteServer::Limits limits = {}) : server(*RemoteServer::start(offer, limits)) {}

  Words run(const std::string& event) {
    Words out;
    if (event.starts_with("> ")) {
      note_use(server.handle_frame(message_of(event.substr(2))), out);
    } else if (event.starts_with("ids")) {
      server.handle_ids_arrived(static_cast<std::size_t>(std::stoi(event.substr(4))));
    } else if (event.starts_with("read")) {
      server.handle_ids(std::get<wire::Request>(message_of("LOW" + event.substr(4))).ids);
    } else if (event.starts_with("has") || event.starts_with("lacks")) {
      server.handle_looked_up(id_in(event), event.starts_with("has"));
    } else if (event.starts_with("stored")) {
      server.handle_stored(id_in(event));
    } else if (event == "installed") {
      server.handle_installed();
    } else {
      EXPECT_TRUE(handle_common_event(server, event, out)) << event;
    }
    while (const std::optional<RemoteWork> work = server.poll_work()) out += text_of(*work);
    return out;
  }

  RemoteServer server;
};

enum class Ending { good, bad };
struct Row {
  std::string name;
  RemoteServer::Offer offer;
  std::vector<std::string> steps;
  Ending ending;
};

void check(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    Scene scene(row.offer);
    converse(scene, row.name, row.offer.flags(), row.steps);
    EXPECT_EQ(scene.server.has_ended(), row.ending == Ending::good) << row.name;
    EXPECT_EQ(scene.server.has_failed(), row.ending == Ending::bad) << row.name;
  }
}

// The table in src/chunks/README.md, "Remote", server: pull. Errors as casync.md 2.10 has them; the HELLO is out before.
TEST(RemoteServer, ServesAPullAsTheTableSays) {
  check({
      {"index and chunks",
       kPullBoth,
       {"> HELLO c0: open", "piece: send piece", "> HIGH 1: load 1", "piece: send piece", "eof: send INDEX_EOF",
        "loaded 1: send chunk 1", "> LOW 2 3: load 2, load 3", "absent 2: send MISSING 2", "loaded 3: send chunk 3", "eos: end"},
       Ending::good},
      {"chunks, and goodbye",
       kPullStore,
       {"> HELLO 40", "> HIGH 1: load 1", "loaded 1: send chunk 1", "> GOODBYE: end"},
       Ending::good},
      {"chunks of a server that has an index too", kPullBoth, {"> HELLO 40", "eos: end"}, Ending::good},
      {"a chunk asked for again by HIGH is sent again",
       kPullStore,
       {"> HELLO 40", "> HIGH 1: load 1", "loaded 1: send chunk 1", "> HIGH 1: load 1", "loaded 1: send chunk 1",
        "> GOODBYE: end"},
       Ending::good},
      {"archive",
       kPullArchiveOnly,
       {"> HELLO 100: open", "piece: send piece", "eof: send ARCHIVE_EOF", "eos: end"},
       Ending::good},
      {"the client leaves before the index is through",
       kPullIndexOnly,
       {"> HELLO 80: open", "> GOODBYE: end", "piece", "eof"},
       Ending::good},
      {"end of stream before HELLO", kPullStore, {"eos: end"}, Ending::good},
      {"the index can not be read", kPullIndexOnly, {"> HELLO 80: open", "fail: send ABORT 28, end", "> GOODBYE"}, Ending::bad},
      {"an unknown flag", kPullStore, {"> HELLO 2040: error unsupported, send ABORT 93, end"}, Ending::bad},
      {"wants what is not offered", kPullStore, {"> HELLO c0: error refused, send ABORT 52, end"}, Ending::bad},
      {"wants to push", kPullStore, {"> HELLO e00: error refused, send ABORT 52, end"}, Ending::bad},
      {"wants nothing", kPullStore, {"> HELLO 2: error refused, send ABORT 52, end"}, Ending::bad},
      {"a second HELLO", kPullStore, {"> HELLO 40", "> HELLO 40: error invalid, send ABORT 74, end"}, Ending::bad},
      {"REQUEST first", kPullStore, {"> HIGH 1: error invalid, send ABORT 74, end"}, Ending::bad},
      {"a chunk towards a pull", kPullStore, {"> HELLO 40", "> CHUNK 1: error invalid, send ABORT 74, end"}, Ending::bad},
      {"ABORT is not answered by ABORT", kPullStore, {"> HELLO 40", "> ABORT 5: error input/output, end"}, Ending::bad},
  });
}

// The same, push.
TEST(RemoteServer, TakesAPushAsTheTableSays) {
  check({
      {"index and chunks",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "ids 3: read ids 3", "read 1 2 3: look up 1, look up 2, look up 3", "has 1",
        "lacks 2", "lacks 3: send LOW 2 3", "> INDEX_EOF", "> CHUNK 2: take chunk", "> CHUNK 3: take chunk", "stored 3",
        "stored 2: install", "installed: send GOODBYE, end", "eos"},
       Ending::good},
      {"an id that comes twice is looked up and asked for once",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "ids 2: read ids 2", "read 1 1: look up 1", "lacks 1: send LOW 1",
        "ids 1: read ids 1", "read 1", "> INDEX_EOF", "> CHUNK 1: take chunk", "stored 1: install",
        "installed: send GOODBYE, end"},
       Ending::good},
      {"everything is there already",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "ids 1: read ids 1", "> INDEX_EOF", "read 1: look up 1", "has 1: install",
        "installed: send GOODBYE, end"},
       Ending::good},
      {"index alone",
       kPushIndexOnly,
       {"> HELLO 400", "> INDEX: take piece", "ids 5", "> INDEX_EOF: install", "installed: send GOODBYE, end"},
       Ending::good},
      {"index alone to a server with a store: nothing is asked for",
       kPushBoth,
       {"> HELLO 400", "> INDEX: take piece", "ids 5", "> INDEX_EOF: install", "installed: send GOODBYE, end"},
       Ending::good},
      {"archive",
       kPushArchiveOnly,
       {"> HELLO 1000", "> ARCHIVE: take piece", "> ARCHIVE_EOF: install", "installed: send GOODBYE, end"},
       Ending::good},
      {"chunks alone are refused, though an index could be pushed",
       kPushBoth,
       {"> HELLO 200: error unsupported, send ABORT 93, end"},
       Ending::bad},
      {"the client has not got its own chunk",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "ids 1: read ids 1", "read 1: look up 1", "lacks 1: send LOW 1",
        "> MISSING 1: error not found, send ABORT 2, end"},
       Ending::bad},
      {"a chunk nobody asked for", kPushBoth, {"> HELLO e00", "> CHUNK 1: error invalid, send ABORT 74, end"}, Ending::bad},
      {"a chunk that is missing, before it was asked for",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "ids 2: read ids 2", "read 1 2: look up 1, look up 2", "lacks 1",
        "> CHUNK 1: error invalid, send ABORT 74, end"},
       Ending::bad},
      {"the stream ends while a chunk is missing",
       kPushBoth,
       {"> HELLO e00", "> INDEX: take piece", "> INDEX_EOF: install", "eos: error connection lost, end"},
       Ending::bad},
      {"goodbye of the client before ours",
       kPushArchiveOnly,
       {"> HELLO 1000", "> ARCHIVE: take piece", "> GOODBYE: error connection lost, end"},
       Ending::bad},
      {"the disk is full", kPushArchiveOnly, {"> HELLO 1000", "fail: send ABORT 28, end"}, Ending::bad},
      {"an archive to a server for an index", kPushIndexOnly, {"> HELLO 1000: error refused, send ABORT 52, end"}, Ending::bad},
  });
}

TEST(RemoteServer, OffersWhatItsCommandLineNames) {
  EXPECT_EQ(kPullBoth.flags(), 0x5u);
  EXPECT_EQ(kPullArchiveOnly.flags(), 0x10u);
  EXPECT_EQ(kPushBoth.flags(), 0xau);
  EXPECT_EQ(kPushArchiveOnly.flags(), 0x20u);
  EXPECT_FALSE(RemoteServer::start({}, {}));
  EXPECT_EQ(RemoteServer::start(kPushStore, {}).error().kind(), ErrorKind::unsupported) << "chunks alone: before any HELLO";
  EXPECT_FALSE(RemoteServer::start({.index = true, .archive = true}, {}));
}

TEST(RemoteServer, IsNotReadWhileChunksWaitToBeStored) {
  RemoteServer::Limits limits;
  limits.storing = 2;
  Scene scene(kPushBoth, limits);
  for (const char* event :
       {"start", "> HELLO e00", "> INDEX", "ids 3", "read 1 2 3", "lacks 1", "lacks 2", "lacks 3", "> CHUNK 1"})
    scene.run(event);
  EXPECT_TRUE(scene.server.wants_input());
  scene.run("> CHUNK 2");
  EXPECT_FALSE(scene.server.wants_input());
  scene.run("stored 1");
  EXPECT_TRUE(scene.server.wants_input());
}

TEST(RemoteServer, NoMoreChunksAreLookedUpAtOnceThanTheLimit) {
  RemoteServer::Limits limits;
  limits.look_ups = 2;
  Scene scene(kPushBoth, limits);
  for (const char* event : {"start", "> HELLO e00", "> INDEX", "ids 3"}) scene.run(event);
  EXPECT_EQ(scene.run("read 1 2 3"), (Words{"look up 1", "look up 2"}));
  EXPECT_EQ(scene.run("has 2"), (Words{"look up 3"}));
}

TEST(RemoteServer, NoFurtherIdIsReadWhileTooManyChunksAreOutstanding) {
  RemoteServer::Limits limits;
  limits.outstanding = 2;
  Scene scene(kPushBoth, limits);
  for (const char* event : {"start", "> HELLO e00", "> INDEX", "ids 2", "read 1 2", "lacks 1", "lacks 2"}) scene.run(event);
  EXPECT_EQ(scene.run("ids 2"), (Words{}));
  EXPECT_EQ(scene.run("> CHUNK 1"), (Words{"take chunk", "read ids 2"}));
}

}  // namespace
}  // namespace godwit::chunks
