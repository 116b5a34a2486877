// Streams over real sockets on loopback, Unix paths and socket pairs.
#include "net/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/random.h"
#include "base/temporary_folder.h"
#include "net/event_loop.h"

namespace godwit::net {
namespace {

Bytes random_bytes(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

struct Pair {
  std::unique_ptr<Stream> left, right;
};

// A connected pair, with small kernel buffers where asked, so that writes end in parts.
Pair make_pair(EventLoop& loop, int buffer_bytes = 0) {
  int sockets[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  Pair pair{loop.adopt(sockets[0]), loop.adopt(sockets[1])};
  for (int socket : sockets)
    if (buffer_bytes > 0) {
      EXPECT_EQ(::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes), 0);
    }
  return pair;
}

// Reads until the end and keeps everything.
class Collector {
 public:
  explicit Collector(Stream& stream, std::size_t chunk = 64 * 1024) : stream_(stream), chunk_(chunk) { next(); }
  Bytes received;
  bool ended = false;
  std::optional<Error> error;

 private:
  void next() {
    const MutableBytes into[] = {chunk_};
    stream_.read(into, [this](Result<std::size_t> count) {
      if (!count) {
        error = count.error();
      } else if (*count == 0) {
        ended = true;
      } else {
        append(received, ConstBytes(chunk_).first(*count));
        next();
      }
    });
  }
  Stream& stream_;
  Bytes chunk_;
};

// Gives back what it reads until the end, then ends its own side.
class Echo {
 public:
  explicit Echo(std::unique_ptr<Stream> stream) : stream_(std::move(stream)), chunk_(10'000) { next(); }
  Stream& stream() { return *stream_; }

 private:
  void next() {
    const MutableBytes into[] = {chunk_};
    stream_->read(into, [this](Result<std::size_t> count) {
      ASSERT_TRUE(count) << count.error().message();
      if (*count == 0) return stream_->shut_down_sending();
      const ConstBytes from[] = {ConstBytes(chunk_).first(*count)};
      stream_->write(from, [this](Result<void> written) {
        ASSERT_TRUE(written) << written.error().message();
        next();
      });
    });
  }
  std::unique_ptr<Stream> stream_;
  Bytes chunk_;
};

// A room that counts what is asked of it.
class CountedRoom final : public ReadRoom {
 public:
  std::span<const MutableBytes> room() override {
    held = true;
    into_ = bytes;
    return {&into_, 1};
  }
  void unused() override { held = false; }
  Bytes bytes = Bytes(100);
  bool held = false;

 private:
  MutableBytes into_;
};

Address parsed(const std::string& text) {
  return Address::parse(text, 0).value();
}

void expect_echo_at(const Address& at) {
  EventLoop loop;
  std::vector<std::unique_ptr<Echo>> echoes;
  Result<std::unique_ptr<Listener>> listener = loop.listen(at, [&](std::unique_ptr<Stream> stream) {
    echoes.push_back(std::make_unique<Echo>(std::move(stream)));
    listener->reset();  // nothing else keeps the loop from ending
  });
  ASSERT_TRUE(listener) << listener.error().message();
  const Bytes sent = random_bytes(3'000'001, 7);
  std::unique_ptr<Stream> client;
  std::unique_ptr<Collector> answer;
  loop.connect((*listener)->address(), [&](Result<std::unique_ptr<Stream>> connected) {
    ASSERT_TRUE(connected) << connected.error().message();
    client = std::move(*connected);
    answer = std::make_unique<Collector>(*client);
    const ConstBytes from[] = {sent};
    client->write(from, [&](Result<void> written) { EXPECT_TRUE(written); });
    client->shut_down_sending();
  });
  loop.run();
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->ended);
  EXPECT_TRUE(answer->received == sent);
}

TEST(Stream, AReadThatWaitsHoldsNoRoomUntilBytesCome) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  CountedRoom room;
  std::optional<std::size_t> got;
  for (const std::string_view said : {"first", "second one"}) {
    got.reset();
    pair.left->read_into(room, [&](Result<std::size_t> count) {
      got = count.value_or(0);
      loop.stop();
    });
    EXPECT_FALSE(room.held);
    EXPECT_FALSE(got);
    const ConstBytes from[] = {as_bytes(said)};
    pair.right->write(from, [](Result<void> written) { EXPECT_TRUE(written); });
    loop.run();
    ASSERT_EQ(got, said.size());
    EXPECT_TRUE(room.held);
    EXPECT_EQ(as_text(ConstBytes(room.bytes).first(*got)), said);
  }
  std::optional<ErrorKind> ended;
  pair.left->read_into(room, [&](Result<std::size_t> count) {
    ended = count ? ErrorKind::invalid : count.error().kind();
    loop.stop();
  });
  pair.left->close();
  loop.run();
  EXPECT_EQ(ended, ErrorKind::cancelled);
}

TEST(Stream, EchoesOverEveryKindOfAddress) {
  const TemporaryFolder folder;
  for (const std::string& at : {std::string("127.0.0.1:0"), std::string("localhost:0"), "unix:" + (folder / "echo")}) {
    SCOPED_TRACE(at);
    expect_echo_at(parsed(at));
  }
}

TEST(Stream, GathersAndScattersSpansOfOddSizesBeyondTheKernelsLimitOfSpans) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  const Bytes sent = random_bytes(1'500'000, 1);
  Random random(2);
  std::vector<ConstBytes> spans;
  for (std::size_t at = 0; at < sent.size();) {
    const std::size_t size = std::min<std::size_t>(random.below(700), sent.size() - at);
    spans.push_back(ConstBytes(sent).subspan(at, size));
    at += size;
  }
  ASSERT_GT(spans.size(), 3000u);
  bool written = false;
  pair.left->write(spans, [&](Result<void> result) {
    written = result.has_value();
    pair.left->shut_down_sending();
  });
  spans.clear();  // the list was copied

  Bytes received;
  Bytes a(1), b(3000), c(77);
  std::function<void()> next = [&] {
    const MutableBytes into[] = {a, b, c};
    pair.right->read(into, [&](Result<std::size_t> count) {
      ASSERT_TRUE(count);
      if (*count == 0) return;
      std::size_t left = *count;
      for (const Bytes* part : {&a, &b, &c}) {
        const std::size_t taken = std::min(left, part->size());
        append(received, ConstBytes(*part).first(taken));
        left -= taken;
      }
      next();
    });
  };
  next();
  loop.run();
  EXPECT_TRUE(written);
  EXPECT_TRUE(received == sent);
}

TEST(Stream, WritesMegabytesThroughSmallKernelBuffersInParts) {
  EventLoop loop;
  Pair pair = make_pair(loop, 4096);
  const Bytes sent = random_bytes(5'000'000, 3);
  bool written = false;
  const ConstBytes from[] = {sent};
  pair.left->write(from, [&](Result<void> result) { written = result.has_value(); });
  EXPECT_FALSE(written) << "the kernel took all of it: this test shows nothing";
  pair.left->shut_down_sending();
  Collector collector(*pair.right, 3333);
  loop.run();
  EXPECT_TRUE(written);
  EXPECT_TRUE(collector.ended);
  EXPECT_TRUE(collector.received == sent);
}

TEST(Stream, TheEndOfThePeersSideIsAReadOfZeroBytesAndTheOtherSideGoesOn) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  Collector right(*pair.right);
  pair.left->shut_down_sending();
  loop.run();
  EXPECT_TRUE(right.ended);
  Collector left(*pair.left);
  const ConstBytes from[] = {as_bytes("still here")};
  pair.right->write(from, [&](Result<void> written) { EXPECT_TRUE(written); });
  pair.right->shut_down_sending();
  loop.run();
  EXPECT_EQ(as_text(left.received), "still here");
}

TEST(Stream, ClosingEndsWhatIsUnderWayAsCancelledInALaterTurn) {
  EventLoop loop;
  Pair pair = make_pair(loop, 4096);
  const Bytes much(1'000'000);
  Bytes room(10);
  std::vector<ErrorKind> ended;
  const MutableBytes into[] = {room};
  const ConstBytes from[] = {much};
  pair.left->read(into, [&](Result<std::size_t> result) { ended.push_back(result.error().kind()); });
  pair.left->write(from, [&](Result<void> result) { ended.push_back(result.error().kind()); });
  pair.left->close();
  pair.left->close();
  EXPECT_TRUE(ended.empty());
  loop.run();
  EXPECT_EQ(ended, (std::vector{ErrorKind::cancelled, ErrorKind::cancelled}));
  pair.left->read(into, [&](Result<std::size_t> result) { ended.push_back(result.error().kind()); });
  loop.run();
  EXPECT_EQ(ended.size(), 3u);
}

TEST(Stream, NothingIsCalledAfterDestruction) {
  EventLoop loop;
  for (bool close_first : {false, true}) {
    Pair pair = make_pair(loop, 4096);
    const Bytes much(1'000'000);
    Bytes room(10);
    bool called = false;
    const MutableBytes into[] = {room};
    const ConstBytes from[] = {much};
    pair.left->read(into, [&](Result<std::size_t>) { called = true; });
    pair.left->write(from, [&](Result<void>) { called = true; });
    if (close_first) pair.left->close();
    pair.left.reset();
    loop.run();
    EXPECT_FALSE(called);
  }
}

TEST(Stream, ACallbackMayDestroyItsStream) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  const ConstBytes from[] = {as_bytes("x")};
  bool destroyed = false;
  pair.left->write(from, [&](Result<void> written) {
    EXPECT_TRUE(written);
    pair.left.reset();
    destroyed = true;
  });
  EXPECT_TRUE(destroyed) << "a write that fits is done at once";
  Bytes room(10);
  const MutableBytes into[] = {room};
  int reads = 0;
  pair.right->read(into, [&](Result<std::size_t>) {
    ++reads;
    pair.right.reset();
  });
  loop.run();
  EXPECT_EQ(reads, 1);
}

TEST(Stream, AReadStartedInsideACallbackIsTakenUpAfterItReturned) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  const Bytes sent(1000);
  const ConstBytes from[] = {sent};
  pair.left->write(from, [](Result<void>) {});
  pair.left->shut_down_sending();
  std::byte room;
  int depth = 0, deepest = 0, reads = 0;
  std::function<void()> next = [&] {
    const MutableBytes into[] = {{&room, 1}};
    pair.right->read(into, [&](Result<std::size_t> count) {
      deepest = std::max(deepest, ++depth);
      ++reads;
      if (count && *count > 0) next();
      --depth;
    });
  };
  next();
  EXPECT_LT(reads, 100) << "a busy stream must not keep the turn";
  EXPECT_GT(reads, 1);
  loop.run();
  EXPECT_EQ(deepest, 1);
  EXPECT_EQ(reads, 1001);
}

TEST(Stream, ABusyStreamLeavesTurnsToOthers) {
  EventLoop loop;
  Pair busy = make_pair(loop);
  const Bytes block(1024);
  int writes_seen = 0, writes = 0;
  std::byte sink[4096];
  std::function<void()> drain = [&] {
    const MutableBytes into[] = {sink};
    busy.right->read(into, [&](Result<std::size_t>) { drain(); });
  };
  std::function<void()> fill = [&] {
    const ConstBytes from[] = {block};
    busy.left->write(from, [&](Result<void>) {
      ++writes;
      fill();
    });
  };
  drain();
  fill();
  loop.post([&] {
    loop.post([&] {
      writes_seen = writes;
      loop.stop();
    });
  });
  loop.run();
  EXPECT_LT(writes_seen, 1000);
  EXPECT_GT(writes_seen, 0);
}

TEST(Stream, APeerThatIsGoneIsConnectionLostAndNotASignal) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  pair.right.reset();
  const Bytes sent(100);
  const ConstBytes from[] = {sent};
  std::optional<ErrorKind> kind;
  pair.left->write(from, [&](Result<void> result) { kind = result.error().kind(); });
  loop.run();
  EXPECT_EQ(kind, ErrorKind::connection_lost);
}

TEST(Stream, AnEmptyWriteIsDone) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  bool done = false;
  pair.left->write({}, [&](Result<void> result) { done = result.has_value(); });
  loop.run();
  EXPECT_TRUE(done);
}

TEST(Stream, KnowsWhoIsAtTheOtherEnd) {
  EventLoop loop;
  Pair pair = make_pair(loop);
  EXPECT_EQ(pair.left->peer_user_id(), ::getuid());
  EXPECT_TRUE(pair.left->peer().is_unix());

  std::unique_ptr<Stream> server, client;
  auto listener = loop.listen(parsed("127.0.0.1:0"), [&](std::unique_ptr<Stream> stream) {
    server = std::move(stream);
    if (client) loop.stop();
  });
  ASSERT_TRUE(listener);
  loop.connect((*listener)->address(), [&](Result<std::unique_ptr<Stream>> stream) {
    client = std::move(*stream);
    if (server) loop.stop();
  });
  loop.run();
  ASSERT_TRUE(server && client);
  EXPECT_EQ(client->peer(), (*listener)->address());
  EXPECT_EQ(server->peer().host, "127.0.0.1");
  EXPECT_EQ(server->peer_user_id(), std::nullopt);
  client->limit_unsent(128 * 1024);
  client->close();
  client->limit_unsent(1);
}

TEST(Connect, TellsWhyItFailed) {
  const TemporaryFolder folder;
  EventLoop loop;
  const struct {
    const char* name;
    std::string to;
    ErrorKind kind;
  } rows[] = {
      {"nobody listens", "127.0.0.1:1", ErrorKind::connection_lost},
      {"no such host", "no-such-host.invalid:80", ErrorKind::not_found},
      {"no such path", "unix:" + (folder / "none"), ErrorKind::not_found},
      {"path too long", "unix:/" + std::string(200, 'x'), ErrorKind::invalid},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    std::optional<Error> error;
    loop.connect(parsed(row.to), [&](Result<std::unique_ptr<Stream>> result) {
      ASSERT_FALSE(result);
      error = result.error();
    });
    EXPECT_FALSE(error);
    loop.run();
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), row.kind) << error->message();
    EXPECT_NE(error->message().find(row.to), std::string::npos) << error->message();
  }
}

TEST(Listener, AUnixSocketIsOnlyForItsOwnerAndGoesWithTheListener) {
  const TemporaryFolder folder;
  const std::string path = folder / "socket";
  EventLoop loop;
  auto listener = loop.listen(parsed("unix:" + path), [](std::unique_ptr<Stream>) {});
  ASSERT_TRUE(listener) << listener.error().message();
  struct stat status{};
  ASSERT_EQ(::lstat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  listener->reset();
  EXPECT_NE(::lstat(path.c_str(), &status), 0);
}

TEST(Listener, ReplacesADeadUnixSocketAndNothingElse) {
  const TemporaryFolder folder;
  EventLoop loop;
  auto ignore = [](std::unique_ptr<Stream>) {};
  const std::string path = folder / "socket";
  auto living = loop.listen(parsed("unix:" + path), ignore);
  ASSERT_TRUE(living);
  auto second = loop.listen(parsed("unix:" + path), ignore);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::busy);

  // A process that died leaves its name: made here by linking it away from its listener's eyes.
  const std::string kept = folder / "kept";
  ASSERT_EQ(::link(path.c_str(), kept.c_str()), 0);
  living->reset();
  auto after_death = loop.listen(parsed("unix:" + kept), ignore);
  EXPECT_TRUE(after_death) << after_death.error().message();

  const std::string file = folder / "file";
  ASSERT_EQ(::close(::creat(file.c_str(), 0600)), 0);
  auto on_file = loop.listen(parsed("unix:" + file), ignore);
  ASSERT_FALSE(on_file);
  EXPECT_EQ(on_file.error().kind(), ErrorKind::exists);
}

TEST(Listener, OutOfDescriptorsItWaitsAndThenAcceptsWhoeverCame) {
  const TemporaryFolder folder;
  const std::string path = folder / "socket";
  EventLoop loop;
  bool accepted = false;
  auto listener = loop.listen(parsed("unix:" + path), [&](std::unique_ptr<Stream>) {
    accepted = true;
    loop.stop();
  });
  ASSERT_TRUE(listener);
  const int client = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  path.copy(where.sun_path, sizeof where.sun_path - 1);
  ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);

  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next_free = ::dup(client);
  ::close(next_free);
  const rlimit none_left{static_cast<rlim_t>(next_free), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none_left), 0);
  bool accepted_in_want = false;
  loop.schedule(loop.now() + Duration::milliseconds(20), [&] {
    accepted_in_want = accepted;
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  });
  loop.run();
  EXPECT_FALSE(accepted_in_want);
  EXPECT_TRUE(accepted);
  ::close(client);
}

TEST(Listener, APortThatIsTakenIsAnErrorThatNamesIt) {
  EventLoop loop;
  auto ignore = [](std::unique_ptr<Stream>) {};
  auto first = loop.listen(parsed("127.0.0.1:0"), ignore);
  ASSERT_TRUE(first);
  EXPECT_NE((*first)->address().port, 0);
  auto second = loop.listen((*first)->address(), ignore);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find((*first)->address().text()), std::string::npos);
}

}  // namespace
}  // namespace godwit::net
