#include "sim/link.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "sim/host.h"

namespace godwit::sim {
namespace {

constexpr Duration kLong = Duration::milliseconds(60'000);

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  Random random(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

// Reads all it can get, until the end or an error.
struct Reader {
  net::Stream& stream;
  Bytes room = Bytes(10'000);
  Bytes got{};
  std::size_t reads = 0, deepest = 0, depth = 0;
  bool ended = false;
  std::optional<Error> error{};

  void start() {
    const MutableBytes spans[] = {MutableBytes(room).first(7), MutableBytes(room).subspan(7)};
    stream.read(spans, [this](Result<std::size_t> count) {
      deepest = std::max(deepest, ++depth);
      if (!count) {
        error = count.error();
      } else if (*count == 0) {
        ended = true;
      } else {
        ++reads;
        append(got, ConstBytes(room).first(*count));
        start();
      }
      --depth;
    });
  }
};

struct Writer {
  net::Stream& stream;
  std::optional<Result<void>> result{};

  void start(ConstBytes bytes) {
    result.reset();
    const ConstBytes spans[] = {bytes.first(bytes.size() / 3), bytes.subspan(bytes.size() / 3)};
    stream.write(spans, [this](Result<void> done) { result = std::move(done); });
  }
  bool is_ok() const { return result && result->has_value(); }
  bool failed_with(ErrorKind kind) const { return result && !*result && result->error().kind() == kind; }
};

// Two hosts and a connection from a to b.
struct Pair {
  explicit Pair(std::uint64_t seed) : world(seed), fabric(world), a(fabric, "a"), b(fabric, "b") {}

  bool connect() {
    Result<std::unique_ptr<net::Listener>> listening =
        b.network().listen({"b", 80, {}}, [this](std::unique_ptr<net::Stream> stream) { at_b = std::move(stream); });
    if (!listening) return false;
    listener = std::move(*listening);
    a.network().connect({"b", 80, {}}, [this](Result<std::unique_ptr<net::Stream>> stream) {
      if (stream) at_a = std::move(*stream);
    });
    return world.run_until([this] { return at_a && at_b; }, kLong);
  }

  World world;
  Fabric fabric;
  Host a, b;
  std::unique_ptr<net::Listener> listener;
  std::unique_ptr<net::Stream> at_a, at_b;
};

TEST(Link, BytesArriveInOrderHoweverTheyAreCutAndTheEndComesAfterThem) {
  for (const std::uint64_t seed : scenario_seeds(50)) {
    Pair pair(seed);
    ASSERT_TRUE(pair.connect());
    const Bytes sent = pattern(500'000);
    Reader reader{*pair.at_b};
    Writer writer{*pair.at_a};
    writer.start(sent);
    pair.at_a->shut_down_sending();
    reader.start();
    ASSERT_TRUE(pair.world.run_until([&] { return reader.ended; }, kLong)) << seed;
    EXPECT_TRUE(writer.is_ok());
    EXPECT_TRUE(reader.got == sent) << seed;
    EXPECT_GT(reader.reads, 500'000 / 10'000);
    EXPECT_EQ(reader.deepest, 1) << "a read started inside done is taken up after it has returned";
  }
}

TEST(Link, CallbacksComeBothInsideTheCallAndLater) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  int inside = 0, later = 0;
  for (int i = 0; i < 100; ++i) {
    bool done = false;
    const ConstBytes one[] = {as_bytes("x")};
    pair.at_a->write(one, [&](Result<void>) { done = true; });
    ++(done ? inside : later);
    ASSERT_TRUE(pair.world.run_until([&] { return done; }, kLong));
  }
  EXPECT_GT(inside, 0);
  EXPECT_GT(later, 0);
}

TEST(Link, AWriteStartedInsideDoneIsTakenUpAfterItHasReturned) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  const ConstBytes one[] = {as_bytes("x")};
  int left = 100, depth = 0, deepest = 0;
  std::function<void()> write = [&] {
    pair.at_a->write(one, [&](Result<void>) {
      deepest = std::max(deepest, ++depth);
      if (--left > 0) write();
      --depth;
    });
  };
  write();
  EXPECT_TRUE(pair.world.run_until([&] { return left == 0; }, kLong));
  EXPECT_EQ(deepest, 1);
}

TEST(Link, AWriterWaitsForAReaderThatDoesNotRead) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  const Bytes sent = pattern(2'000'000);
  Writer writer{*pair.at_a};
  writer.start(sent);
  pair.world.run_for(kLong);
  EXPECT_FALSE(writer.result);
  Reader reader{*pair.at_b};
  reader.start();
  EXPECT_TRUE(pair.world.run_until([&] { return writer.is_ok() && reader.got.size() == sent.size(); }, kLong));
  EXPECT_TRUE(reader.got == sent);
}

TEST(Link, UnsentBytesAreBoundedWhereThatIsAskedFor) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  LinkQuality slow;
  slow.bandwidth_bytes_per_second = 1'000'000;
  slow.segment_bytes_max = 1'000;
  pair.fabric.set_quality_between("a", "b", slow);
  pair.at_a->limit_unsent(10'000);
  Reader reader{*pair.at_b};
  reader.start();
  Writer writer{*pair.at_a};
  const Bytes sent = pattern(100'000);
  writer.start(sent);
  ASSERT_TRUE(pair.world.run_until([&] { return writer.is_ok(); }, kLong));
  // All but what may be unsent or on the way has been read when the write is done.
  EXPECT_GE(reader.got.size(), sent.size() - 10'000 - 4'096 - 3'000);
}

TEST(Link, ANarrowWireTakesItsTime) {
  Pair pair(1);
  LinkQuality narrow;
  narrow.bandwidth_bytes_per_second = 1'000'000;
  pair.fabric.set_default_quality(narrow);
  ASSERT_TRUE(pair.connect());
  const Instant start = pair.world.now();
  Reader reader{*pair.at_b};
  reader.start();
  Writer writer{*pair.at_a};
  const Bytes sent = pattern(3'000'000);
  writer.start(sent);
  ASSERT_TRUE(pair.world.run_until([&] { return reader.got.size() == sent.size(); }, kLong));
  const double seconds = (pair.world.now() - start).as_seconds();
  EXPECT_GT(seconds, 3.0);
  EXPECT_LT(seconds, 3.1);
}

TEST(Link, ACutReachesBothEndsAndTheReaderHasAPrefix) {
  std::size_t shortest = SIZE_MAX, longest = 0;
  for (const std::uint64_t seed : scenario_seeds(50)) {
    Pair pair(seed);
    ASSERT_TRUE(pair.connect());
    const Bytes sent = pattern(2'000'000);
    Writer writer{*pair.at_a};
    Reader reader{*pair.at_b}, other{*pair.at_a};
    writer.start(sent);
    other.start();
    pair.world.run_for(Duration::microseconds(400));
    reader.start();
    EXPECT_EQ(pair.fabric.count_connections("b", "a"), 1);
    EXPECT_EQ(pair.fabric.cut("a", "b"), 1);
    EXPECT_EQ(pair.fabric.count_connections("b", "a"), 0);
    ASSERT_TRUE(pair.world.run_until([&] { return reader.error && other.error && writer.result; }, kLong));
    EXPECT_EQ(reader.error->kind(), ErrorKind::connection_lost);
    EXPECT_EQ(other.error->kind(), ErrorKind::connection_lost);
    EXPECT_TRUE(writer.failed_with(ErrorKind::connection_lost));
    EXPECT_TRUE(std::equal(reader.got.begin(), reader.got.end(), sent.begin()));
    shortest = std::min(shortest, reader.got.size());
    longest = std::max(longest, reader.got.size());
    Writer after{*pair.at_b};
    after.start(sent);
    ASSERT_TRUE(pair.world.run_until([&] { return after.result.has_value(); }, kLong));
    EXPECT_TRUE(after.failed_with(ErrorKind::connection_lost));
  }
  EXPECT_LT(shortest, longest);
}

TEST(Link, CloseCancelsWhatIsUnderWayAndThePeerSeesACleanEnd) {
  Pair pair(3);
  ASSERT_TRUE(pair.connect());
  Reader at_a{*pair.at_a}, at_b{*pair.at_b};
  at_a.start();
  at_b.start();
  Writer writer{*pair.at_a};
  const Bytes sent = pattern(100);
  writer.start(sent);
  ASSERT_TRUE(pair.world.run_until([&] { return writer.is_ok(); }, kLong));
  pair.at_a->close();
  pair.at_a->close();
  ASSERT_TRUE(pair.world.run_until([&] { return at_a.error && at_b.ended; }, kLong));
  EXPECT_EQ(at_a.error->kind(), ErrorKind::cancelled);
  EXPECT_TRUE(at_b.got == sent);
  writer.start(sent);
  pair.world.run_for(kLong);
  EXPECT_TRUE(writer.failed_with(ErrorKind::cancelled));
}

TEST(Link, AStreamThatIsDestroyedCallsNobodyBack) {
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Pair pair(seed);
    ASSERT_TRUE(pair.connect());
    const Bytes much = pattern(1'000'000);
    Bytes room(100);
    const MutableBytes into[] = {room};
    const ConstBytes from[] = {much};
    pair.at_a->read(into, [](Result<std::size_t>) { FAIL(); });
    pair.at_a->write(from, [](Result<void>) { FAIL(); });
    Writer writer{*pair.at_b};
    writer.start(as_bytes("hello"));
    pair.world.run_for(Duration::microseconds(static_cast<std::int64_t>(seed % 20)));  // before anything can have arrived
    pair.at_a.reset();
    pair.world.run_for(kLong);
  }
}

TEST(Link, AStreamMayBeDestroyedInItsOwnCallback) {
  for (const std::uint64_t seed : scenario_seeds(20)) {
    Pair pair(seed);
    ASSERT_TRUE(pair.connect());
    Bytes room(100);
    const MutableBytes into[] = {room};
    const ConstBytes from[] = {as_bytes("hello")};
    bool gone = false;
    pair.at_b->write(from, [&](Result<void>) { pair.at_b.reset(); });
    pair.at_a->read(into, [&](Result<std::size_t> count) {
      EXPECT_TRUE(count && *count > 0);
      pair.at_a.reset();
      gone = true;
    });
    EXPECT_TRUE(pair.world.run_until([&] { return gone && !pair.at_b; }, kLong));
    pair.world.run_for(kLong);
  }
}

TEST(Link, SendingToAClosedPeerBreaksTheConnection) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  pair.at_b.reset();
  Writer writer{*pair.at_a};
  writer.start(as_bytes("into the void"));
  pair.world.run_for(kLong);
  EXPECT_TRUE(writer.is_ok()) << "accepted before the reset came";
  writer.start(as_bytes("again"));
  pair.world.run_for(kLong);
  EXPECT_TRUE(writer.failed_with(ErrorKind::connection_lost));
}

TEST(Link, WritingAfterShuttingDownFails) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  pair.at_a->shut_down_sending();
  Writer writer{*pair.at_a};
  writer.start(as_bytes("late"));
  pair.world.run_for(kLong);
  EXPECT_TRUE(writer.failed_with(ErrorKind::connection_lost));
  Writer back{*pair.at_b};
  Reader reader{*pair.at_a};
  reader.start();
  back.start(as_bytes("the other way goes on"));
  EXPECT_TRUE(pair.world.run_until([&] { return as_text(reader.got) == "the other way goes on"; }, kLong));
}

TEST(Link, AStuckPeerDeliversWhenItIsFreed) {
  Pair pair(5);
  ASSERT_TRUE(pair.connect());
  pair.fabric.set_stuck("a", "b", true);
  Reader at_b{*pair.at_b}, at_a{*pair.at_a};
  at_a.start();
  at_b.start();
  Writer writer{*pair.at_a}, other{*pair.at_b};
  const Bytes sent = pattern(1'000'000);
  writer.start(sent);
  other.start(as_bytes("this way is free"));
  pair.world.run_for(Duration::seconds(20));
  EXPECT_TRUE(at_b.got.empty());
  EXPECT_FALSE(writer.result);
  EXPECT_EQ(as_text(at_a.got), "this way is free");
  pair.fabric.set_stuck("a", "b", false);
  EXPECT_TRUE(pair.world.run_until([&] { return at_b.got.size() == sent.size(); }, kLong));
  EXPECT_TRUE(at_b.got == sent);
}

TEST(Link, KeepAliveGivesUpAPeerThatIsSilentForHalfAMinute) {
  for (const bool wire : {false, true}) {
    SCOPED_TRACE(wire ? "a dead wire" : "a peer without power");
    Pair pair(1);
    ASSERT_TRUE(pair.connect());
    Reader at_a{*pair.at_a}, at_b{*pair.at_b};
    at_a.start();
    at_b.start();
    Writer writer{*pair.at_a};
    if (wire) {
      pair.fabric.partition("a", "b");
    } else {
      pair.b.crash({.notice = CrashNotice::silence});
    }
    const Bytes sent = pattern(2'000'000);
    writer.start(sent);
    pair.world.run_for(Duration::seconds(29));
    EXPECT_FALSE(at_a.error);
    EXPECT_FALSE(writer.result);
    pair.world.run_for(Duration::seconds(2));
    ASSERT_TRUE(at_a.error);
    EXPECT_EQ(at_a.error->kind(), ErrorKind::connection_lost);
    EXPECT_TRUE(writer.failed_with(ErrorKind::connection_lost));
    EXPECT_EQ(at_b.error.has_value(), wire) << "the other end of the wire finds out too";
  }
}

TEST(Link, AnIdleEndLearnsByKeepAliveThatItsPeerHasStartedAnew) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  Reader at_a{*pair.at_a};
  at_a.start();
  pair.b.crash({.notice = CrashNotice::silence});
  pair.world.run_for(Duration::seconds(5));
  pair.b.restart();
  pair.world.run_for(Duration::seconds(9));
  EXPECT_FALSE(at_a.error) << "nobody has asked yet";
  pair.world.run_for(Duration::seconds(2));
  EXPECT_TRUE(at_a.error);
}

TEST(Link, AShortSilenceIsForgotten) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  Reader at_a{*pair.at_a};
  at_a.start();
  for (int i = 0; i < 3; ++i) {
    pair.fabric.partition("a", "b");
    pair.world.run_for(Duration::seconds(28));
    pair.fabric.heal("a", "b");
    pair.world.run_for(Duration::seconds(6));
  }
  EXPECT_FALSE(at_a.error);
}

std::optional<ErrorKind> error_of_connect(Pair& pair, Host& from, const net::Address& to) {
  std::optional<Result<std::unique_ptr<net::Stream>>> result;
  from.network().connect(to, [&](Result<std::unique_ptr<net::Stream>> stream) { result = std::move(stream); });
  EXPECT_FALSE(result) << "never from inside the call";
  EXPECT_TRUE(pair.world.run_until([&] { return result.has_value(); }, kLong));
  if (result && !*result) return result->error().kind();
  return std::nullopt;
}

TEST(Link, ConnectsEndAsTheWorldIs) {
  Pair pair(1);
  ASSERT_TRUE(pair.connect());
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), std::nullopt);
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 81, {}}), ErrorKind::connection_lost);
  EXPECT_EQ(error_of_connect(pair, pair.a, {"nowhere", 80, {}}), ErrorKind::not_found);
  EXPECT_EQ(error_of_connect(pair, pair.b, {"localhost", 80, {}}), std::nullopt);
  pair.fabric.set_connect_rule("a", "b", ConnectRule::refuse);
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), ErrorKind::connection_lost);
  pair.fabric.set_connect_rule("a", "b", ConnectRule::ignore);
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), ErrorKind::timed_out);
  pair.fabric.set_connect_rule("a", "b", ConnectRule::accept);
  pair.fabric.partition("a", "b");
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), ErrorKind::timed_out);
  pair.world.schedule(Duration::seconds(3), [&] { pair.fabric.heal("a", "b"); });
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), std::nullopt);
  pair.listener.reset();
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", 80, {}}), ErrorKind::connection_lost);
}

TEST(Link, AListenerHasThePortThatWasChosenAndKeepsItForItself) {
  Pair pair(1);
  int accepted = 0;
  const auto accept = [&](std::unique_ptr<net::Stream>) { ++accepted; };
  Result<std::unique_ptr<net::Listener>> chosen = pair.b.network().listen({"", 0, {}}, accept);
  ASSERT_TRUE(chosen);
  const net::Address at = (*chosen)->address();
  EXPECT_NE(at.port, 0);
  EXPECT_FALSE(pair.b.network().listen({"", at.port, {}}, accept));
  EXPECT_EQ(error_of_connect(pair, pair.a, {"b", at.port, {}}), std::nullopt);
  EXPECT_EQ(accepted, 1);

  Result<std::unique_ptr<net::Listener>> local = pair.b.network().listen({"", 0, "/run/x"}, accept);
  ASSERT_TRUE(local);
  EXPECT_EQ(error_of_connect(pair, pair.b, {"", 0, "/run/x"}), std::nullopt);
  EXPECT_EQ(error_of_connect(pair, pair.a, {"", 0, "/run/x"}), ErrorKind::connection_lost);
}

}  // namespace
}  // namespace godwit::sim
