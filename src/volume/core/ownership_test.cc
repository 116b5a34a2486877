// The rules of ownership.md 4, the invariants of section 11 that one host can show, and what waits for a record. The state table
// has a file of its own.
#include "volume/core/ownership.h"

#include <gtest/gtest.h>

#include "volume/core/ownership_bench_test.h"

namespace godwit::volume {
namespace {

using enum CopyState;

// --- section 4 ---

TEST(Ownership, ACutWhileLockedUnlocksAtOnce) {
  Bench bench(record_in(owned));
  lock_in_session(bench);
  bench.ownership.handle_link_down(kFromPeer.link);
  EXPECT_EQ(bench.run(), "ABORTED");
  EXPECT_FALSE(bench.ownership.is_locked());
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::serve);
  EXPECT_TRUE(bench.record().reserved) << "a crash or a cut loses the session and the lock, nothing else";
}

TEST(Ownership, EachLockIsAnAttemptOfItsOwn) {
  Bench bench(record_in(owned));
  in_session(bench);
  const HandoverId first = bench.ownership.lock();
  bench.ownership.unlock();
  EXPECT_NE(bench.ownership.lock(), first);
}

TEST(Ownership, NothingIsAcceptedOnceRelinquishedIsSubmitted) {
  Bench bench(record_in(owned));
  in_session(bench);
  const HandoverId h = bench.ownership.lock();
  bench.hear(kFromPeer, about_h(ControlType::ready, h));
  bench.hold_records();
  bench.ownership.relinquish();
  EXPECT_FALSE(bench.ownership.is_owner());
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::hold);
  EXPECT_EQ(bench.run(), "record RELINQUISHED") << "GRANT waits for the record";
  bench.ownership.unlock();
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::hold) << "no unlock either";
  EXPECT_EQ(bench.written(true), "GRANT");
}

TEST(Ownership, AWriterIsAcceptedOnlyOnceOwnedIsDurable) {
  Bench bench(record_in(ready));
  bench.hold_records();
  EXPECT_EQ(bench.hear(kFromPeer, grant_of(kH, chain_of({{kOld, kPeer}, {kH, kMe}}))), "record OWNED");
  EXPECT_FALSE(bench.ownership.is_owner());
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::early_reads);
  EXPECT_EQ(bench.written(true), "name disk, OWNED");
  EXPECT_TRUE(bench.ownership.is_owner());
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::serve);
}

TEST(Ownership, ReadyIsSaidOnlyOnceItsRecordIsDurable) {
  Bench bench(record_in(receiving));
  in_session(bench);
  bench.ownership.set_whole(true);
  ControlMessage m = about_h(ControlType::prepare, kH);
  m.session = bench.ownership.session();
  EXPECT_EQ(bench.hear(kFromPeer, m), "sync");
  bench.hold_records();
  bench.ownership.handle_data_synced(kH, true);
  EXPECT_EQ(bench.run(), "record READY");
  EXPECT_EQ(bench.written(true), "READY");
}

TEST(Ownership, AHandOverAndBackLeavesBothReadyForTheNext) {
  Bench bench(record_in(owned));
  in_session(bench);
  const HandoverId h = bench.ownership.lock();
  bench.hear(kFromPeer, about_h(ControlType::ready, h));
  bench.ownership.relinquish();
  bench.run();
  bench.hear(kFromPeer, owned_of(h, bench.record().chain));
  EXPECT_FALSE(bench.ownership.session());
  bench.ownership.begin_pull(kFromPeerAgain, 1);
  EXPECT_EQ(bench.run(), "PULL") << "while the connection it was given away on is still there";
  EXPECT_EQ(bench.hear(kFromPeerAgain, accept_of(bench, bench.record().chain)),
            "record RECEIVING, name disk.partial, start receiving");
  EXPECT_TRUE(bench.record().relaying);
  EXPECT_EQ(bench.record().peer->address, "peer:5170") << "where it is dialled again after a start";
}

TEST(Ownership, APullElsewhereDoesNotForgetWhomItWasGivenTo) {
  Bench bench(record_in(relinquished));
  bench.ownership.begin_pull(kFromThird, 1);
  bench.run();
  EXPECT_EQ(bench.record().peer->host, kPeer);
  bench.ownership.handle_link_up(kFromPeer);
  EXPECT_EQ(bench.run(), "GRANT");
}

TEST(Ownership, ARevokedCopyCanPullAgainOnAnotherConnection) {
  Bench bench(record_in(receiving));
  ready_in_session(bench);
  EXPECT_EQ(bench.hear(kFromPeer, about_h(ControlType::revoke, kH)), "record RECEIVING, DECLINED");
  bench.ownership.begin_pull(kFromPeerAgain, 2);
  EXPECT_EQ(bench.run(), "PULL");
}

// --- record writes ---

TEST(Ownership, NothingBehindARecordComesOutBeforeItIsDurable) {
  Bench bench(record_in(owned));
  bench.hold_records();
  EXPECT_EQ(bench.hear(kFromPeer, pull_of(kSession, 1)), "record OWNED");
  EXPECT_FALSE(bench.ownership.poll_effect());
  EXPECT_EQ(bench.hear(kFromThird, pull_of(kOtherSession, 1)), "") << "the refusal waits its turn";
  EXPECT_EQ(bench.written(true), "ACCEPT, start sending, REFUSE busy");
}

TEST(Ownership, ASessionCutBeforeItsRecordIsDurableDoesNotBegin) {
  Bench source(record_in(owned));
  source.hold_records();
  source.hear(kFromPeer, pull_of(kSession, 1));
  source.ownership.handle_link_down(kFromPeer.link);
  EXPECT_EQ(source.written(true).find("start"), std::string::npos);
  Bench destination(record_in(receiving));
  destination.ownership.begin_pull(kFromPeer, 1);
  destination.run();
  destination.hold_records();
  destination.hear(kFromPeer, accept_of(destination, destination.record().chain));
  destination.ownership.handle_link_down(kFromPeer.link);
  EXPECT_EQ(destination.written(true), "");
}

TEST(Ownership, AFailedRecordEndsServingGrantingAndAnswering) {
  for (const CopyState state : {receiving, ready, owned, relinquished}) {
    SCOPED_TRACE(name_of(state));
    Bench bench(record_in(state));
    bench.hold_records();
    switch (state) {
      case receiving:
        bench.ownership.begin_pull(kFromPeer, 1);
        bench.run();
        bench.hear(kFromPeer, accept_of(bench, bench.record().chain));
        break;
      case ready: bench.hear(kFromPeer, grant_of(kH, chain_of({{kH, kMe}}))); break;
      case owned: bench.hear(kFromPeer, pull_of(kSession, 1)); break;
      default: bench.hear(kFromPeer, about_h(ControlType::declined, kH)); break;
    }
    EXPECT_EQ(bench.written(false), "report");
    EXPECT_TRUE(bench.ownership.is_failed());
    EXPECT_FALSE(bench.ownership.is_owner());
    EXPECT_FALSE(bench.ownership.may_lock());
    EXPECT_EQ(bench.ownership.face_mode(), FaceMode::refuse);
    EXPECT_EQ(bench.hear(kFromPeer, pull_of(kOtherSession, 9)), "");
    EXPECT_EQ(bench.hear(kFromPeer, grant_of(kDead, {})), "");
    bench.ownership.handle_link_up(kFromPeer);
    EXPECT_EQ(bench.run(), "");
  }
}

TEST(Ownership, ACancelThatWaitsForItsRecordEndsTheLockForGood) {
  Bench bench(record_in(owned));
  in_session(bench);
  const HandoverId h = bench.ownership.lock();
  bench.hear(kFromPeer, about_h(ControlType::ready, h));
  EXPECT_TRUE(bench.ownership.may_relinquish());
  bench.hold_records();
  ASSERT_TRUE(bench.ownership.cancel());
  bench.run();
  EXPECT_FALSE(bench.ownership.may_relinquish());
  EXPECT_FALSE(bench.ownership.may_lock());
}

TEST(Ownership, AFreshCopyWritesItsRecordFirst) {
  Random random(5);
  const LocalHost me{kMe, Boot{7}, "me", "", ""};
  Bench bench(Ownership::new_receiving(me, random, kVolume, kGeometry, Peer{kPeer, "peer", "peer:5170"}, "disk.partial"), true);
  bench.hold_records();
  EXPECT_EQ(bench.run(), "record RECEIVING");
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::hold);
  bench.ownership.begin_pull(kFromPeer, 1);
  EXPECT_EQ(bench.run(), "");
  EXPECT_EQ(bench.written(true), "PULL");
}

TEST(Ownership, AWordOfALaterBootIsNew) {
  Bench bench(record_in(owned));
  in_session(bench);
  (void)bench.ownership.cancel();
  bench.run();
  Sender later = kFromPeerAgain;
  later.boot = Boot{4};
  EXPECT_EQ(bench.hear(later, pull_of(kOtherSession, 1)), "record OWNED, ACCEPT, start sending");
  EXPECT_EQ(bench.record().words.size(), 1u);
  EXPECT_EQ(bench.record().words.front().boot, Boot{4});
}

}  // namespace
}  // namespace godwit::volume
