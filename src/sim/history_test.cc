#include "sim/history.h"

#include <gtest/gtest.h>

namespace godwit::sim {
namespace {

constexpr std::uint64_t kBlock = 1024;

// One block and the values that were written to it.
struct Register {
  World world{1};
  History history{world, 1, kBlock};
  std::map<std::uint64_t, Bytes> written;

  std::uint64_t begin_write() {
    Bytes content(kBlock);
    const std::uint64_t operation = history.begin_write(5, content);
    written[operation] = content;
    return operation;
  }
  std::uint64_t write(bool durable = false) {
    const std::uint64_t operation = begin_write();
    history.end_write(operation, true, durable);
    return operation;
  }
  std::uint64_t zero() {
    const std::uint64_t operation = history.begin_zero(5, 1);
    history.end_write(operation, true);
    return operation;
  }
  void flush() { history.end_flush(history.begin_flush(), true); }
  std::uint64_t begin_read() { return history.begin_read(5, 1); }
  void end_read(std::uint64_t operation, std::uint64_t value) {
    history.end_read(operation, value == 0 ? Bytes(kBlock) : written.at(value));
  }
  // True if a device may show this value now.
  bool reads(std::uint64_t value) {
    end_read(begin_read(), value);
    return !world.failed();
  }
  bool reads_torn(std::uint64_t a, std::uint64_t b) {
    Bytes bytes = a == 0 ? Bytes(kBlock) : written.at(a);
    const Bytes other = b == 0 ? Bytes(kBlock) : written.at(b);
    std::copy(other.begin() + 512, other.end(), bytes.begin() + 512);
    history.end_read(begin_read(), bytes);
    return !world.failed();
  }
};

TEST(History, AFreshBlockReadsAsZerosAndAWrittenOneAsWhatWasWritten) {
  Register r;
  EXPECT_TRUE(r.reads(0));
  const auto a = r.write();
  EXPECT_TRUE(r.reads(a));
  const auto b = r.write();
  EXPECT_TRUE(r.reads(b));
  EXPECT_EQ(r.history.count_blocks_checked(), 3);
  EXPECT_FALSE(r.reads(a)) << "older than acknowledged";
  EXPECT_NE(r.world.report().find("block 5"), std::string::npos);
}

TEST(History, AnAcknowledgedWriteIsNotForgotten) {
  Register r;
  r.write();
  EXPECT_FALSE(r.reads(0));
}

TEST(History, AWriteUnderWayMayBeSeenOrNotButNotSeenAndThenNot) {
  Register r;
  const auto a = r.write();
  const auto b = r.begin_write();
  EXPECT_TRUE(r.reads(a));
  EXPECT_TRUE(r.reads(b));
  EXPECT_TRUE(r.reads(b));
  EXPECT_FALSE(r.reads(a));
}

TEST(History, ReadsUnderWayTogetherMaySeeOldAndNew) {
  Register r;
  const auto a = r.write();
  const auto one = r.begin_read(), two = r.begin_read();
  const auto b = r.write(true);
  const auto c = r.write(true);
  r.end_read(one, c);
  r.end_read(two, a);
  EXPECT_FALSE(r.world.failed()) << r.world.report();
  EXPECT_FALSE(r.reads(b));
}

TEST(History, AnUnacknowledgedWriteMayComeLate) {
  Register r;
  const auto late = r.begin_write();
  r.history.end_write(late, false);
  const auto a = r.write();
  EXPECT_TRUE(r.reads(a));
  EXPECT_TRUE(r.reads(late));
  EXPECT_FALSE(r.reads(a));
}

TEST(History, ButNotWhenItsWriterIsGone) {
  Register r;
  const auto late = r.begin_write();
  r.history.writers_are_gone();
  EXPECT_TRUE(r.reads(0)) << "it may never have happened";
  const auto a = r.write();
  EXPECT_TRUE(r.reads(a));
  EXPECT_FALSE(r.reads(late));
}

TEST(History, AWriteThatHappenedBeforeItsWriterWentStays) {
  Register r;
  const auto late = r.begin_write();
  r.history.writers_are_gone();
  EXPECT_TRUE(r.reads(late));
  EXPECT_FALSE(r.reads(0));
}

TEST(History, APowerLossMayTakeWhatWasNotFlushed) {
  for (const int survivor : {0, 1, 2}) {
    Register r;
    const auto a = r.write();
    const auto b = r.begin_write();
    r.history.power_loss();
    const std::uint64_t values[] = {0, a, b};
    EXPECT_TRUE(r.reads(values[survivor])) << r.world.report();
    EXPECT_TRUE(r.reads(values[survivor])) << "what is found stays";
    EXPECT_FALSE(r.reads(values[(survivor + 1) % 3]));
  }
}

TEST(History, APowerLossMayNotTakeWhatWasFlushedOrDurable) {
  for (const bool flushed : {false, true}) {
    for (const int read : {0, 1, 2, 3}) {
      Register r;
      const auto a = r.write();
      const auto b = r.write(!flushed);
      if (flushed) r.flush();
      const auto c = r.write();
      r.history.power_loss();
      const std::uint64_t values[] = {0, a, b, c};
      EXPECT_EQ(r.reads(values[read]), read >= 2) << "flushed " << flushed << ", read " << read;
    }
  }
}

TEST(History, AFlushCoversOnlyWhatWasAcknowledgedBeforeItBegan) {
  Register r;
  const auto before = r.begin_write();
  const auto flush = r.history.begin_flush();
  r.history.end_write(before, true);
  r.history.end_flush(flush, true);
  r.history.power_loss();
  EXPECT_TRUE(r.reads(0));
}

TEST(History, AFailedFlushPromisesNothing) {
  Register r;
  r.write();
  r.history.end_flush(r.history.begin_flush(), false);
  r.history.power_loss();
  EXPECT_TRUE(r.reads(0));
}

TEST(History, SurvivorsCanNotBeReadAfterANewWrite) {
  Register r;
  const auto a = r.write();
  r.history.power_loss();
  const auto b = r.write();
  EXPECT_TRUE(r.reads(b));
  EXPECT_FALSE(r.reads(a));
}

TEST(History, AnAcknowledgementFromBeforeThePowerLossPromisesNothingAfterIt) {
  Register r;
  const auto a = r.begin_write();
  r.history.power_loss();
  r.history.end_write(a, true, true);
  EXPECT_TRUE(r.reads(0));
}

TEST(History, ABlockMayBeTornOnlyWhereAWriteWasInDoubt) {
  Register r;
  const auto a = r.write();
  const auto b = r.begin_write();
  EXPECT_TRUE(r.reads_torn(a, b)) << "a read while a write is under way";
  r.history.end_write(b, true);
  EXPECT_TRUE(r.reads(b));
  const auto c = r.write();
  r.history.power_loss();
  EXPECT_TRUE(r.reads_torn(c, b)) << "a power loss before the flush";
  const auto d = r.write();
  EXPECT_EQ(r.history.count_torn(), 2);
  EXPECT_FALSE(r.reads_torn(d, c));
}

TEST(History, TwoAcknowledgedWritesAreNotMixed) {
  Register r;
  const auto a = r.begin_write(), b = r.begin_write();
  r.history.end_write(a, true);
  r.history.end_write(b, true);
  EXPECT_FALSE(r.reads_torn(a, b));
}

TEST(History, ZerosAreAWriteToo) {
  Register r;
  const auto a = r.write();
  r.zero();
  EXPECT_TRUE(r.reads(0));
  r.zero();
  EXPECT_TRUE(r.reads(0));
  EXPECT_FALSE(r.reads(a));

  Register again;
  again.zero();
  again.write(true);
  EXPECT_FALSE(again.reads(0));
}

TEST(History, OtherPeoplesBytesAreFound) {
  Register r;
  Bytes foreign(kBlock);
  put_stamp({2, 1, 5}, foreign);
  r.history.end_read(r.begin_read(), foreign);
  EXPECT_TRUE(r.world.failed());

  Register never;
  Bytes future(kBlock);
  put_stamp({1, 99, 5}, future);
  never.history.end_read(never.begin_read(), future);
  EXPECT_NE(never.world.report().find("nobody wrote"), std::string::npos);
}

}  // namespace
}  // namespace godwit::sim
