// The source's half of a connection, phase by phase (the table is in src/volume/README.md): what it asks for when, and what each
// event does in each phase. Blocks are names here; no byte moves.
#include <gtest/gtest.h>

#include "volume/core/source_session_bench_test.h"

namespace godwit::volume {
namespace {

using Bench = SourceBench;
using Phase = SourceSession::Phase;
using PeerKind = SourceSession::PeerKind;
using Request = SourceBench::Request;

TEST(SourceSession, AWholeMoveOfAQuietVolume) {
  Bench b;
  b.be_godwit();
  EXPECT_EQ(b.session.phase(), Phase::first_pass);
  EXPECT_EQ(b.run(), "0, 1, 2, 3, 4, 5, 6, 7");
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "Completed, PREPARE");
  b.answer_events();
  EXPECT_EQ(b.session.phase(), Phase::completing) << "the ack alone gives nothing away";
  b.session.handle_peer_ready(b.now, DeviceId{1});
  EXPECT_EQ(b.run(), "relinquish");
  EXPECT_EQ(b.session.phase(), Phase::granting);
  b.session.handle_relinquished(b.now);
  EXPECT_EQ(b.session.phase(), Phase::done);
  EXPECT_EQ(b.run(), "");
}

TEST(SourceSession, ReadyAloneGivesNothingAwayEither) {
  Bench b;
  b.first_pass();
  b.lock();
  b.session.handle_peer_ready(b.now, DeviceId{1});
  EXPECT_EQ(b.session.phase(), Phase::completing);
  b.answer_events();
  EXPECT_EQ(b.session.phase(), Phase::granting);
}

TEST(SourceSession, NothingIsSentBeforeTheDeviceIsAccepted) {
  Bench b;
  EXPECT_EQ(b.session.phase(), Phase::opening);
  b.session.handle_peer(b.now, PeerKind::godwit);
  b.answer_haves();
  EXPECT_EQ(b.run(), "") << "between godwits the answer to sub-type 3 means nothing";
  b.session.handle_wanted(DeviceId{1});
  EXPECT_EQ(b.session.phase(), Phase::opening);
}

TEST(SourceSession, DevicesOfAGroupGoThroughThePhasesTogether) {
  Bench b({.blocks_in_flight_max = 100}, {2 * kBlock, 3 * kBlock});
  b.session.handle_peer(b.now, PeerKind::godwit);
  b.session.handle_wanted(DeviceId{1});
  b.session.handle_wanted(DeviceId{2});
  b.session.handle_accepted(b.now, DeviceId{1});
  EXPECT_EQ(b.session.phase(), Phase::opening);
  b.session.handle_accepted(b.now, DeviceId{2});
  EXPECT_EQ(b.run(), "0, 0, 1, 1, 2");
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "Completed, PREPARE, Completed, PREPARE");
  b.answer_events();
  b.session.handle_peer_ready(b.now, DeviceId{2});
  EXPECT_EQ(b.session.phase(), Phase::completing);
  b.session.handle_peer_ready(b.now, DeviceId{1});
  EXPECT_EQ(b.session.phase(), Phase::granting);
}

TEST(SourceSession, ListsAreAnsweredBeforeTheirBlocksTravel) {
  Bench b({.dirty_threshold_blocks = 1});
  b.be_godwit();
  b.run();
  b.dirty(2, 5);
  b.answer_blocks();
  EXPECT_EQ(b.run(), "list of 3");
  EXPECT_EQ(b.session.phase(), Phase::rounds);
  b.answer_lists();
  EXPECT_EQ(b.run(), "2, 3, 4");
  b.dirty(3, 4);
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock") << "one dirty block is few";
  b.dirty(4, 5);
  EXPECT_EQ(b.lock(), "list of 2");
  b.answer_lists();
  EXPECT_EQ(b.run(), "3, 4");
  b.answer_blocks();
  EXPECT_EQ(b.run(), "Completed, PREPARE");
}

TEST(SourceSession, AfterTheLastRoundItLocksWhateverIsDirty) {
  Bench b({.rounds_max = 2, .dirty_threshold_blocks = 0});
  b.be_godwit();
  b.run();
  for (int round = 1; round <= 2; ++round) {
    b.dirty(0, 8);
    b.answer_blocks();
    EXPECT_EQ(b.run(), "list of 8") << round;
    b.answer_lists();
    b.run();
  }
  b.dirty(0, 8);
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
}

TEST(SourceSession, AMissedLockDoublesItsTimeUpToTheLimit) {
  Bench b({.downtime_max = Duration::seconds(2), .downtime_max_ever = Duration::seconds(5)});
  b.first_pass();
  for (const double patience : {2.0, 4.0, 5.0, 5.0}) {
    EXPECT_EQ(b.session.phase(), Phase::locking);
    EXPECT_EQ(b.session.next_deadline(), b.now + Duration::seconds(patience));
    b.session.handle_timeout(b.now + (Duration::seconds(patience) - Duration{1}));
    EXPECT_EQ(b.session.phase(), Phase::locking);
    EXPECT_EQ(b.miss_lock(), "unlock, lock");
  }
}

TEST(SourceSession, ADestinationThatHasNotAnsweredTheMissedCompletedIsNotLockedForAgain) {
  Bench b;
  b.first_pass();
  b.lock();
  EXPECT_EQ(b.miss_lock(), "unlock");
  EXPECT_EQ(b.session.phase(), Phase::rounds);
  EXPECT_EQ(b.session.next_deadline(), Instant::never());
  b.answer_events();
  EXPECT_EQ(b.run(), "lock");
}

TEST(SourceSession, ALateReadyOrAckOfAMissedLockCompletesNothing) {
  Bench b;
  b.first_pass();
  b.lock();
  b.session.handle_peer_ready(b.now, DeviceId{1});
  b.session.handle_timeout(b.session.next_deadline());
  b.run();
  b.answer_events();
  EXPECT_EQ(b.run(), "lock");
  b.session.handle_peer_ready(b.now, DeviceId{1});
  EXPECT_EQ(b.lock(), "Completed, PREPARE");
  b.answer_events();
  EXPECT_EQ(b.session.phase(), Phase::completing) << "READY has not come under this lock";
}

TEST(SourceSession, ARefusedBlockIsSentAgainThreeTimesInAll) {
  Bench b({.attempts_max = 3}, {kBlock});
  b.be_godwit();
  b.run();
  for (int attempt = 1; attempt <= 2; ++attempt) {
    const Request r = b.blocks.back();
    b.blocks.clear();
    b.tell(r, WriteAtResponseErr{});
    EXPECT_EQ(b.run(), "0") << attempt;
  }
  b.tell(b.blocks.back(), WriteAtResponse{1});  // another length than sent is a refusal too
  EXPECT_EQ(b.run(), "failed");
  EXPECT_NE(b.failure.find("3 times"), std::string::npos) << b.failure;
  EXPECT_EQ(b.session.phase(), Phase::failed);
}

TEST(SourceSession, TowardsAnOriginalTheFirstRefusalFails) {
  Bench b({}, {kBlock});
  b.session.handle_peer(b.now, PeerKind::original);
  b.answer_haves();
  b.run();
  b.tell(b.blocks.back(), WriteAtResponseErr{});
  EXPECT_EQ(b.run(), "failed");
}

TEST(SourceSession, AnAnswerOfAnotherKindFailsAndAnUnknownOneIsCounted) {
  Bench b;
  b.be_godwit();
  b.run();
  b.tell({DeviceId{1}, TxId{4711}, 0}, WriteAtResponse{kBlock});
  EXPECT_EQ(b.session.progress().dropped_answers, 1u);
  EXPECT_EQ(b.run(), "");
  b.tell(b.blocks.front(), DirtyListResponse{});
  EXPECT_EQ(b.run(), "failed");
}

TEST(SourceSession, NeededBlocksGoFirstAndBesideAFullWindow) {
  SourceConfig config;
  config.window = {.bytes_min = kBlock, .bytes_max = kBlock, .memory = Duration::seconds(1)};
  Bench b(config);
  b.be_godwit();
  EXPECT_EQ(b.run(), "0, 1") << "the window is full";
  b.tell({DeviceId{1}, TxId{900}, 0}, NeedAt{6 * kBlock + 5, 1});
  EXPECT_EQ(b.run(), "urgent 6");
}

TEST(SourceSession, OnlyUrgentMaxAreUrgentAtATime) {
  SourceConfig config;
  config.window = {.bytes_min = 1, .bytes_max = 1, .memory = Duration::seconds(1)};
  config.urgent_in_flight_max = 2;
  Bench b(config);
  b.be_godwit();
  b.run();
  b.tell({DeviceId{1}, TxId{900}, 0}, NeedAt{2 * kBlock, 4 * kBlock});
  EXPECT_EQ(b.run(), "urgent 2, urgent 3");
}

TEST(SourceSession, DontNeedAtDropsOnlyBlocksItCoversWhole) {
  struct {
    const char* name;
    std::int64_t offset;
    std::int32_t length;
    std::string sent;
  } rows[] = {{"two whole blocks", 2 * kBlock, 2 * kBlock, "0, 1, 4"},
              {"parts at both ends", kBlock + 1, 2 * kBlock, "0, 1, 3, 4"},
              {"less than a block", 10, 20, "0, 1, 2, 3, 4"},
              {"the short last block to its end", 4 * kBlock, 100, "0, 1, 2, 3"},
              {"the short last block in part", 4 * kBlock, 99, "0, 1, 2, 3, 4"},
              {"beyond the end", 4 * kBlock, kBlock, "0, 1, 2, 3"},
              {"a negative offset", -1, kBlock, "0, 1, 2, 3, 4"}};
  for (const auto& row : rows) {
    Bench b({}, {4 * kBlock + 100});
    b.be_godwit();
    b.tell({DeviceId{1}, TxId{900}, 0}, DontNeedAt{row.offset, row.length});
    EXPECT_EQ(b.run(), row.sent) << row.name;
  }
}

TEST(SourceSession, ReadsAreCutAtTheEndAndTracked) {
  Bench b;
  b.be_godwit();
  b.answer_extents = false;
  b.run();
  b.tell({DeviceId{1}, TxId{7}, 0}, ReadAt{7 * kBlock + 96, 2 * kBlock});
  EXPECT_EQ(b.run(), "read 28768+4000");
  b.dirty(7, 8);
  EXPECT_EQ(b.trackers[0]->dirty_count(), 1u);
  b.tell({DeviceId{1}, TxId{8}, 0}, ReadAt{9 * kBlock, 1});
  EXPECT_EQ(b.run(), "refuse read");
}

TEST(SourceSession, AFailedReadFailsTheSession) {
  Bench b;
  b.be_godwit();
  b.run();
  b.session.handle_read_failed(DeviceId{1}, b.blocks.front().tx, "bad sector");
  EXPECT_EQ(b.run(), "failed");
  EXPECT_NE(b.failure.find("bad sector"), std::string::npos);
}

TEST(SourceSession, RunsOfZeroesGoAsOneFrameOfLimitedLength) {
  SourceConfig config;
  config.run_bytes_max = 3 * kBlock;
  Bench b(config);
  b.zeroes = Bitset(8);
  b.zeroes.set_range(1, 6);
  b.be_godwit();
  EXPECT_EQ(b.run(), "0, zeroes 1-4, zeroes 4-6, 6, 7");
  b.dirty(2, 3);
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  b.lock();
  b.answer_lists();
  EXPECT_EQ(b.run(), "2") << "a block written since is no zero any more";
}

TEST(SourceSession, HolesAreAskedForAWindowAtATimeAndTrackedFirst) {
  SourceConfig config;
  config.extents_window_bytes = 4 * kBlock;
  Bench b(config);
  b.answer_extents = false;
  b.be_godwit();
  EXPECT_EQ(b.run(), "") << "nothing goes before its holes are known";
  EXPECT_EQ(b.asked, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 4}}));
  b.dirty(3, 5);
  EXPECT_EQ(b.trackers[0]->dirty_count(), 1u) << "block 3 was asked about, block 4 not yet";
  b.session.handle_extents(DeviceId{1}, BlockIndex{0}, BlockIndex{4}, Bitset(8));
  EXPECT_EQ(b.run(), "0, 1, 2, 3");
  EXPECT_EQ(b.asked.size(), 2u);
  b.session.handle_extents(DeviceId{1}, BlockIndex{4}, BlockIndex{8}, Bitset(8));
  EXPECT_EQ(b.run(), "4, 5, 6, 7");
}

// Both lie on one base, of which blocks 2, 3 and 6 are: tracked by now, as the driver does it before it says so.
static void be_godwit_on_the_same_base(Bench& b) {
  Bitset shared(8);
  for (const std::uint64_t block : {2, 3, 6}) {
    shared.set(block);
    b.trackers[0]->track(block, block + 1);
  }
  b.session.handle_peer(b.now, PeerKind::godwit);
  b.session.handle_wanted(DeviceId{1});
  b.session.handle_accepted(b.now, DeviceId{1}, shared);
}

TEST(SourceSession, BlocksOfASharedBaseAreNamedAndNotSent) {
  Bench b;
  be_godwit_on_the_same_base(b);
  EXPECT_EQ(b.run(), "base's 2 3 6") << "nothing else goes before the destination has gone back to them";
  b.answer_haves();
  EXPECT_EQ(b.run(), "0, 1, 4, 5, 7");
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
}

TEST(SourceSession, ABlockOfASharedBaseThatIsWrittenIsSentInARound) {
  SourceConfig config;
  config.dirty_threshold_blocks = 0;
  for (const bool before_the_answer : {true, false}) {
    SCOPED_TRACE(before_the_answer);
    Bench b(config);
    be_godwit_on_the_same_base(b);
    b.run();
    if (before_the_answer) b.dirty(3, 4);
    b.answer_haves();
    EXPECT_EQ(b.run(), "0, 1, 4, 5, 7") << "the list of dirty blocks comes first";
    if (!before_the_answer) b.dirty(3, 4);
    b.answer_blocks();
    EXPECT_EQ(b.run(), "list of 1");
    b.answer_lists();
    EXPECT_EQ(b.run(), "3");
    b.answer_blocks();
    EXPECT_EQ(b.run(), "lock");
    EXPECT_EQ(b.session.phase(), Phase::locking);
    // And under the lock.
    b.dirty(6, 7);
    b.session.handle_locked(b.now);
    EXPECT_EQ(b.run(), "list of 1");
    b.answer_lists();
    EXPECT_EQ(b.run(), "6");
    b.answer_blocks();
    EXPECT_EQ(b.run(), "Completed, PREPARE");
  }
}

TEST(SourceSession, ADestinationThatCanNotGoBackToTheBaseEndsTheCopy) {
  Bench b;
  be_godwit_on_the_same_base(b);
  b.run();
  b.tell(b.haves.back(), WriteAtResponseErr{});
  EXPECT_EQ(b.run(), "failed");
}

TEST(SourceSession, TheBudgetTowardsAnOriginalIsSharedBySize) {
  // silo.md 6.4: 1 + (max(T, N) - N) × size / total, rounded down; T = 10, N = 2, sizes 1 : 3.
  SourceConfig config;
  config.blocks_in_flight_original = 10;
  Bench b(config, {20 * kBlock, 60 * kBlock});
  b.session.handle_peer(b.now, PeerKind::original);
  b.answer_haves();
  b.run();
  std::map<std::uint32_t, int> in_flight;
  for (const Request& r : b.blocks) ++in_flight[r.device.value];
  EXPECT_EQ(in_flight, (std::map<std::uint32_t, int>{{1, 3}, {2, 7}}));
}

TEST(SourceSession, HandOverToAnOriginalKeepsItsOrder) {
  struct {
    const char* name;
    LegacyHandOver kind;
    std::vector<std::string> steps;
  } rows[] = {
      {"none", LegacyHandOver::none, {"unlock, Completed", "copy completed"}},
      {"completed", LegacyHandOver::completed, {"relinquish", "Completed", "copy completed"}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    Bench b({.legacy = row.kind}, {2 * kBlock});
    b.session.handle_peer(b.now, PeerKind::original);
    b.answer_haves();
    EXPECT_EQ(b.run(), "0, 1");
    b.answer_blocks();
    EXPECT_EQ(b.run(), "lock");
    b.session.handle_locked(b.now);
    std::vector<std::string> steps{b.run()};
    if (row.kind == LegacyHandOver::completed) {
      EXPECT_EQ(b.session.next_deadline(), Instant::never()) << "no way back any more";
      b.session.handle_relinquished(b.now);
      steps.push_back(b.run());
    }
    b.answer_events();
    steps.push_back(b.run());
    EXPECT_EQ(steps, row.steps);
  }
}

TEST(SourceSession, ACustomHandOverGoesBeforeTheLastBlocks) {
  Bench b({.legacy = LegacyHandOver::custom}, {2 * kBlock});
  b.session.handle_peer(b.now, PeerKind::original);
  b.answer_haves();
  b.run();
  b.dirty(1, 2);
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "list of 1");
  b.answer_lists();
  EXPECT_EQ(b.run(), "relinquish") << "only behind the answered list";
  b.session.handle_relinquished(b.now);
  EXPECT_EQ(b.run(), "Custom");
  b.answer_events();
  EXPECT_EQ(b.run(), "1");
  b.answer_blocks();
  EXPECT_EQ(b.run(), "Completed");
}

TEST(SourceSession, AFailureUnderTheLockUnlocksAndOneAfterStepFourDoesNot) {
  Bench locked;
  locked.first_pass();
  locked.lock();
  locked.tell(locked.events.front(), DirtyListResponse{});
  EXPECT_EQ(locked.run(), "unlock, failed");
  Bench given;
  given.first_pass();
  given.lock();
  given.session.handle_peer_ready(given.now, DeviceId{1});
  given.answer_events();
  given.run();
  given.session.handle_timeout(given.now + Duration::seconds(100));
  EXPECT_EQ(given.run(), "") << "no budget counts any more";
  EXPECT_EQ(given.session.phase(), Phase::granting);
}

}  // namespace
}  // namespace godwit::volume
