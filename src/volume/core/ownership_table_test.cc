// The state table of ownership.md 7, a named row per cell. Not here, because a later version brings them: `claim --force`,
// `yield`, resuming with `compare` or `continue`, verify.
#include <gtest/gtest.h>

#include <functional>

#include "volume/core/ownership_bench_test.h"

namespace godwit::volume {
namespace {

struct Row {
  std::string name;
  CopyState state;
  std::function<std::string(Bench&)> event;
  std::string effects;
  CopyState after;
};

void expect_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name + " in " + name_of(row.state));
    Bench bench(record_in(row.state));
    EXPECT_EQ(row.event(bench), row.effects);
    EXPECT_EQ(name_of(bench.record().state), name_of(row.after));
  }
}

using enum CopyState;

// What comes of one event in each state, where none of them changes.
struct Effects {
  std::string receiving{}, ready{}, owned{}, relinquished{}, split{}, gone{};
};
void expect_no_change(const std::string& name, const std::function<std::string(Bench&)>& event, const Effects& effects) {
  const std::pair<CopyState, const std::string*> columns[] = {
      {CopyState::receiving, &effects.receiving},       {CopyState::ready, &effects.ready}, {CopyState::owned, &effects.owned},
      {CopyState::relinquished, &effects.relinquished}, {CopyState::split, &effects.split}, {CopyState::gone, &effects.gone}};
  for (const auto& [state, words] : columns) expect_rows({{name, state, event, *words, state}});
}

TEST(OwnershipTable, ProcessStartTellsWhatTheRecordCanTell) {
  const auto meet = [](Bench& b) {
    b.ownership.handle_start();
    b.ownership.handle_link_up(kFromPeer);
    return b.run();
  };
  expect_no_change("start", meet, {.relinquished = "GRANT"});
  Record untold = record_in(owned);
  untold.untold = true;
  untold.peer = Peer{kPeer, "peer", "peer:5170"};
  Bench owner(untold);
  EXPECT_TRUE(owner.ownership.wants_link());
  EXPECT_EQ(meet(owner), "OWNED");
  Record heard = record_in(relinquished);
  heard.heard = true;
  heard.reserved.reset();
  Bench relay(heard);
  EXPECT_EQ(meet(relay), "");
  EXPECT_EQ(relay.ownership.face_mode(), FaceMode::relay);
  Record revoking = record_in(relinquished);
  revoking.reserved.reset();
  Bench revoker(revoking);
  EXPECT_EQ(meet(revoker), "REVOKE");
  EXPECT_EQ(revoker.ownership.face_mode(), FaceMode::hold);
  Record foreign = record_in(owned);
  foreign.host = kThird;
  Bench copied(foreign);
  EXPECT_EQ(meet(copied), "report");
  EXPECT_EQ(copied.ownership.face_mode(), FaceMode::refuse);
}

TEST(OwnershipTable, Pull) {
  const auto pull = [](Bench& b) { return b.hear(kFromPeer, pull_of(kSession, 1)); };
  expect_rows({
      {"PULL", receiving, pull, "REFUSE not-owner", receiving},
      {"PULL", ready, pull, "REFUSE not-owner", ready},
      {"PULL with a new word of a free volume", owned, pull, "record OWNED, ACCEPT, start sending", owned},
      {"PULL of h's copy", relinquished, pull, "GRANT", relinquished},
      {"PULL", split, pull, "REFUSE split", split},
      {"PULL", gone, pull, "REFUSE gone", gone},
      {"PULL of another copy", relinquished,
       [](Bench& b) {
         ControlMessage m = pull_of(kSession, 1);
         m.copy = kOtherCopy;
         return b.hear(kFromThird, m);
       },
       "REFUSE not-owner", relinquished},
      {"PULL without a word of a free volume", owned, [](Bench& b) { return b.hear(kFromPeer, pull_of(kSession, 0)); },
       "REFUSE cancelled", owned},
      {"PULL with a word that has reserved before", owned,
       [](Bench& b) {
         in_session(b);
         (void)b.ownership.cancel();
         b.run();
         return b.hear(kFromPeerAgain, pull_of(kOtherSession, 1));
       },
       "REFUSE cancelled", owned},
      {"PULL of a third host while it is reserved", owned,
       [](Bench& b) {
         in_session(b);
         return b.hear(kFromThird, pull_of(kOtherSession, 1));
       },
       "REFUSE busy", owned},
      {"PULL again of the host it is reserved for ends its older session", owned,
       [](Bench& b) {
         in_session(b);
         return b.hear(kFromPeerAgain, pull_of(kOtherSession, 0));
       },
       "end session, record OWNED, ACCEPT, start sending", owned},
      {"PULL again from the copy it is locked for unlocks", owned,
       [](Bench& b) {
         lock_in_session(b);
         return b.hear(kFromPeerAgain, pull_of(kOtherSession, 0));
       },
       "ABORTED, end session, record OWNED, ACCEPT, start sending", owned},
      {"PULL of another size", owned,
       [](Bench& b) {
         ControlMessage m = pull_of(kSession, 1);
         m.size = 4096;
         return b.hear(kFromPeer, m);
       },
       "REFUSE geometry", owned},
      {"PULL of a former owner whose history forks", owned,
       [](Bench& b) { return b.hear(kFromPeer, pull_of(kSession, 1, relinquished, chain_of({{kOld, kPeer}}))); }, "REFUSE split",
       owned},
      {"PULL of a former owner whose history is ours", owned,
       [](Bench& b) { return b.hear(kFromPeer, pull_of(kSession, 1, relinquished, chain_of({{kFirst, kMe}}))); },
       "record OWNED, ACCEPT, start sending", owned},
      {"PULL while an original is served", owned,
       [](Bench& b) {
         b.ownership.set_busy(true);
         return b.hear(kFromPeer, pull_of(kSession, 1));
       },
       "REFUSE busy", owned},
  });
}

TEST(OwnershipTable, Accept) {
  const auto accepted = [](Bench& b) {
    b.ownership.begin_pull(kFromPeer, 1);
    b.run();
    return b.hear(kFromPeer, accept_of(b, chain_of({{kFirst, kMe}, {kH, kPeer}})));
  };
  expect_rows({
      {"ACCEPT", receiving, accepted, "record RECEIVING, start receiving", receiving},
      {"ACCEPT", ready, accepted, "record RECEIVING, start receiving", receiving},
      {"ACCEPT that holds our tip", relinquished, accepted, "record RECEIVING, name disk.partial, start receiving", receiving},
      {"ACCEPT that forks from ours", relinquished,
       [](Bench& b) {
         b.ownership.begin_pull(kFromThird, 1);
         b.run();
         return b.hear(kFromThird, accept_of(b, chain_of({{kFirst, kMe}, {kOld, kThird}})));
       },
       "fork, drop", relinquished},
      {"ACCEPT nobody asked for", owned,
       [](Bench& b) {
         ControlMessage m = message_of(ControlType::accept);
         m.session = kSession;
         m.chain = Chain{};
         m.mode = PullMode::all;
         return b.hear(kFromPeer, m);
       },
       "", owned},
  });
  Bench bench(record_in(ready));
  accepted(bench);
  EXPECT_TRUE(bench.record().has_declined(kH));
  EXPECT_FALSE(bench.record().h);
}

TEST(OwnershipTable, Aborted) {
  expect_rows({
      {"ABORTED of a READY not yet sent", receiving,
       [](Bench& b) {
         in_session(b);
         b.ownership.set_whole(true);
         ControlMessage m = about_h(ControlType::prepare, kH);
         m.session = b.ownership.session();
         b.hear(kFromPeer, m);
         b.hear(kFromPeer, about_h(ControlType::aborted, kH));
         b.ownership.handle_data_synced(kH, true);
         return b.run();
       },
       "", receiving},
      {"ABORTED(h)", ready, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::aborted, kH)); }, "record RECEIVING",
       receiving},
      {"ABORTED of another", ready, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::aborted, kOld)); }, "", ready},
      {"ABORTED", owned, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::aborted, kH)); }, "", owned},
      {"ABORTED", relinquished, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::aborted, kH)); }, "", relinquished},
  });
}

TEST(OwnershipTable, Prepare) {
  const auto prepare = [](HandoverId h, bool whole) {
    return [h, whole](Bench& b) {
      in_session(b);
      b.ownership.set_whole(whole);
      ControlMessage m = about_h(ControlType::prepare, h);
      m.session = b.ownership.session();
      std::string first = b.hear(kFromPeer, m);
      if (first != "sync") return first;
      b.ownership.handle_data_synced(h, true);
      return b.run();
    };
  };
  expect_rows({
      {"PREPARE", receiving, prepare(kH, true), "record READY, READY", ready},
      {"PREPARE before every block is here", receiving, prepare(kH, false), "drop", receiving},
      {"PREPARE of a declined attempt", receiving, prepare(kDead, true), "drop", receiving},
      {"PREPARE of an attempt in the chain", receiving, prepare(kOld, true), "drop", receiving},
      {"PREPARE again", receiving,
       [](Bench& b) {
         ready_in_session(b);
         ControlMessage m = about_h(ControlType::prepare, kH);
         m.session = b.ownership.session();
         return b.hear(kFromPeer, m);
       },
       "READY", ready},
      {"PREPARE of another attempt", receiving,
       [](Bench& b) {
         ready_in_session(b);
         ControlMessage m = about_h(ControlType::prepare, id_of<HandoverId>('y'));
         m.session = b.ownership.session();
         return b.hear(kFromPeer, m);
       },
       "drop", ready},
      {"data that can not be made durable", receiving, [](Bench& b) { return ready_in_session(b, false); }, "drop", receiving},
      {"PREPARE outside an accepted pull", ready, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::prepare, kH)); },
       "", ready},
      {"PREPARE", owned, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::prepare, kH)); }, "", owned},
      {"PREPARE", relinquished, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::prepare, kH)); }, "", relinquished},
  });
}

TEST(OwnershipTable, Ready) {
  expect_rows({
      {"READY", receiving, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kH)); }, "", receiving},
      {"READY", ready, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kH)); }, "", ready},
      {"READY of an attempt that is over", owned, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kH)); },
       "ABORTED", owned},
      {"READY of an attempt that was granted once", owned,
       [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kFirst)); }, "", owned},
      {"READY under its lock", owned,
       [](Bench& b) {
         in_session(b);
         const HandoverId h = b.ownership.lock();
         const std::string first = b.hear(kFromPeer, about_h(ControlType::ready, h));
         return first + "; " + b.hear(kFromPeer, about_h(ControlType::ready, h));
       },
       "peer ready; ", owned},
      {"READY of attempt 1 under the lock of attempt 2", owned,
       [](Bench& b) {
         in_session(b);
         const HandoverId h = b.ownership.lock();
         b.ownership.unlock();
         b.ownership.lock();
         b.run();
         return b.hear(kFromPeer, about_h(ControlType::ready, h));
       },
       "ABORTED", owned},
      {"READY and step 4", owned,
       [](Bench& b) {
         in_session(b);
         const HandoverId h = b.ownership.lock();
         b.hear(kFromPeer, about_h(ControlType::ready, h));
         b.ownership.relinquish();
         return b.run();
       },
       "record RELINQUISHED, GRANT", relinquished},
      {"READY again", relinquished, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kH)); }, "GRANT",
       relinquished},
      {"READY of another", relinquished, [](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::ready, kOld)); }, "",
       relinquished},
  });
}

TEST(OwnershipTable, GrantAndRevoke) {
  const Chain granted = chain_of({{kFirst, kMe}, {kOld, kPeer}, {kH, kMe}});
  const auto grant = [](HandoverId h, Chain chain) {
    return [h, chain](Bench& b) { return b.hear(kFromPeer, grant_of(h, chain)); };
  };
  const auto revoke = [](HandoverId h) { return [h](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::revoke, h)); }; };
  expect_rows({
      {"GRANT of a declined attempt", receiving, grant(kDead, {}), "DECLINED", receiving},
      {"GRANT of what it knows nothing of", receiving, grant(kH, {}), "report", receiving},
      {"GRANT(h)", ready, grant(kH, granted), "record OWNED, name disk, OWNED", owned},
      {"GRANT(h) whose chain is not ours", ready, grant(kH, chain_of({{kH, kThird}})), "drop", ready},
      {"GRANT(h) without a chain's end", ready, grant(kH, {}), "drop", ready},
      {"GRANT of a declined attempt", ready, grant(kDead, {}), "DECLINED", ready},
      {"GRANT of ours", owned, grant(kFirst, {}), "OWNED", owned},
      {"GRANT of another", owned, grant(kH, {}), "report", owned},
      {"GRANT of what we owned", relinquished, grant(kFirst, {}), "OWNED", relinquished},
      {"GRANT of what we owned", split, grant(kFirst, {}), "OWNED", split},
      {"GRANT of a declined attempt", gone, grant(kDead, {}), "DECLINED", gone},
      {"GRANT of what it knows nothing of", gone, grant(kH, {}), "report", gone},
      {"REVOKE of a declined attempt", receiving, revoke(kDead), "DECLINED", receiving},
      {"REVOKE(h)", ready, revoke(kH), "record RECEIVING, DECLINED", receiving},
      {"REVOKE of ours", owned, revoke(kFirst), "OWNED", owned},
      {"REVOKE of what we owned", relinquished, revoke(kFirst), "OWNED", relinquished},
      {"REVOKE of what it knows nothing of", gone, revoke(kH), "report", gone},
  });
  Bench late(record_in(owned));
  late.hear(kFromPeer, grant_of(kFirst, {}));
  EXPECT_EQ(late.sent.back().h, kFirst) << "a late GRANT is answered for its own attempt";
}

TEST(OwnershipTable, OwnedAndDeclined) {
  const Chain chain = chain_of({{kFirst, kMe}, {kH, kPeer}});
  const auto told = [chain](HandoverId h) { return [h, chain](Bench& b) { return b.hear(kFromPeer, owned_of(h, chain)); }; };
  const auto declined = [](HandoverId h) {
    return [h](Bench& b) { return b.hear(kFromPeer, about_h(ControlType::declined, h)); };
  };
  expect_rows({
      {"OWNED of the sender's entry", receiving, told(kOld), "OWNED-ACK", receiving},
      {"OWNED of the sender's entry", ready, told(kOld), "OWNED-ACK", ready},
      {"OWNED of what is not the sender's", owned, told(kFirst), "", owned},
      {"OWNED of what is not known", owned, told(kH), "", owned},
      {"OWNED(h)", relinquished, told(kH), "record RELINQUISHED, name disk.moved, OWNED-ACK", relinquished},
      {"OWNED(h) again", relinquished,
       [chain](Bench& b) {
         b.hear(kFromPeer, owned_of(kH, chain));
         return b.hear(kFromPeer, owned_of(kH, chain));
       },
       "OWNED-ACK", relinquished},
      {"DECLINED", receiving, declined(kH), "", receiving},
      {"DECLINED", ready, declined(kH), "", ready},
      {"DECLINED", owned, declined(kH), "", owned},
      {"DECLINED(h)", relinquished, declined(kH), "record OWNED, report", owned},
      {"DECLINED of another", relinquished, declined(kOld), "", relinquished},
  });
  Bench bench(record_in(relinquished));
  declined(kH)(bench);
  EXPECT_EQ(bench.record().chain.tip()->kind, OwnershipKind::returned);
  EXPECT_NE(bench.record().chain.tip()->tag, kH);
  EXPECT_FALSE(bench.record().reserved);
  EXPECT_EQ(bench.ownership.face_mode(), FaceMode::serve);
  Bench heard(record_in(relinquished));
  told(kH)(heard);
  EXPECT_EQ(heard.ownership.face_mode(), FaceMode::relay);
  EXPECT_EQ(heard.record().peer->address, "peer:10809");
  EXPECT_FALSE(heard.record().reserved);
  EXPECT_EQ(declined(kH)(heard), "") << "who has said OWNED can not decline";
}

TEST(OwnershipTable, StateOfAnOwner) {
  const auto state = [](Chain chain) {
    return [chain](Bench& b) {
      ControlMessage m = message_of(ControlType::state);
      m.copy = kPeerCopy;
      m.state = owned;
      m.chain = chain;
      m.address = "peer:10809";
      return b.hear(kFromPeer, m);
    };
  };
  expect_rows({
      {"an owner", receiving, state(chain_of({{kFirst, kMe}, {kOld, kPeer}})), "", receiving},
      {"an owner", ready, state(chain_of({{kFirst, kMe}, {kOld, kPeer}})), "", ready},
      {"an owner whose story is ours", owned, state(chain_of({{kFirst, kMe}})), "", owned},
      {"an owner whose story forks", owned, state(chain_of({{kOld, kPeer}})), "fork", owned},
      {"an owner with h", relinquished, state(chain_of({{kFirst, kMe}, {kH, kPeer}})),
       "record RELINQUISHED, name disk.moved, OWNED-ACK", relinquished},
      {"an owner whose story forks", relinquished, state(chain_of({{kFirst, kMe}, {kOld, kPeer}})), "fork", relinquished},
  });
}

TEST(OwnershipTable, CancelFromThePeer) {
  const auto cancelled = [](CopyId copy) { return [copy](Bench& b) { return b.hear(kFromPeer, cancel_of(copy)); }; };
  expect_rows({
      {"CANCEL of ours", receiving, cancelled(kMyCopy), "stop dialling", receiving},
      {"CANCEL of ours, in a session", receiving,
       [cancelled](Bench& b) {
         in_session(b);
         return cancelled(kMyCopy)(b);
       },
       "end session, stop dialling", receiving},
      {"CANCEL of another copy", receiving, cancelled(kOtherCopy), "", receiving},
      {"CANCEL of ours", ready, cancelled(kMyCopy), "record RECEIVING, stop dialling", receiving},
      {"CANCEL of the copy it is reserved for", owned,
       [](Bench& b) {
         lock_in_session(b);
         return b.hear(kFromPeer, cancel_of(kPeerCopy));
       },
       "ABORTED, record OWNED, end session, CANCEL-OK", owned},
      {"CANCEL of another copy", owned, cancelled(kOtherCopy), "CANCEL-OK", owned},
      {"CANCEL of h's copy", relinquished, cancelled(kPeerCopy), "GRANT, CANCEL-OK", relinquished},
      {"CANCEL", split, cancelled(kPeerCopy), "CANCEL-OK", split},
      {"CANCEL", gone, cancelled(kPeerCopy), "CANCEL-OK", gone},
  });
  Bench bench(record_in(ready));
  cancelled(kMyCopy)(bench);
  EXPECT_TRUE(bench.record().has_declined(kH)) << "a GRANT on its way must be answered DECLINED";
  bench.ownership.begin_pull(kFromPeerAgain, 2);
  EXPECT_EQ(bench.run(), "PULL") << "an operator's pull goes on";
}

TEST(OwnershipTable, OperatorsCancel) {
  const auto cancel = [](Bench& b) {
    const Result<void> result = b.ownership.cancel();
    const std::string effects = b.run();
    return result ? effects : "refused";
  };
  expect_rows({
      {"cancel", receiving, cancel, "record GONE, remove data, CANCEL", gone},
      {"cancel", ready, cancel, "record GONE, remove data, CANCEL", gone},
      {"cancel of a free volume", owned, cancel, "refused", owned},
      {"cancel of a reserved volume, locked", owned,
       [cancel](Bench& b) {
         lock_in_session(b);
         return cancel(b);
       },
       "ABORTED, record OWNED, end session, CANCEL", owned},
      {"cancel", relinquished, cancel, "record RELINQUISHED, REVOKE, report", relinquished},
      {"cancel", split, cancel, "refused", split},
      {"cancel", gone, cancel, "refused", gone},
  });
  Bench bench(record_in(ready));
  cancel(bench);
  EXPECT_TRUE(bench.record().has_declined(kH));
  EXPECT_TRUE(bench.record().untold);
  Bench restarted(bench.record());
  restarted.ownership.handle_start();
  EXPECT_TRUE(restarted.ownership.wants_link());
  restarted.ownership.handle_link_up(kFromPeer);
  EXPECT_EQ(restarted.run(), "CANCEL") << "told again until it is answered";
  ControlMessage ok = message_of(ControlType::cancel_ok);
  ok.copy = kMyCopy;
  EXPECT_EQ(bench.hear(kFromPeer, ok), "record GONE");
  EXPECT_FALSE(bench.record().untold);
}

TEST(OwnershipTable, OperatorsPull) {
  const auto pull = [](Bench& b) {
    b.ownership.begin_pull(kFromPeer, 1);
    return b.run();
  };
  expect_no_change("pull", pull, {.receiving = "PULL", .ready = "PULL", .relinquished = "PULL"});
}

TEST(OwnershipTable, WhatClientsGet) {
  const std::vector<std::pair<CopyState, FaceMode>> rows = {{receiving, FaceMode::early_reads}, {ready, FaceMode::early_reads},
                                                            {owned, FaceMode::serve},           {relinquished, FaceMode::hold},
                                                            {split, FaceMode::refuse},          {gone, FaceMode::refuse}};
  for (const auto& [state, mode] : rows) EXPECT_EQ(Bench(record_in(state)).ownership.face_mode(), mode) << name_of(state);
  Bench locked(record_in(owned));
  in_session(locked);
  locked.ownership.lock();
  EXPECT_EQ(locked.ownership.face_mode(), FaceMode::hold);
  locked.ownership.unlock();
  EXPECT_EQ(locked.ownership.face_mode(), FaceMode::serve);
  Record given = record_in(relinquished);
  given.peer.reset();
  EXPECT_EQ(Bench(given).ownership.face_mode(), FaceMode::refuse) << "given to an original";
  for (const CopyState state : {receiving, ready}) {
    Record back = record_in(state);
    back.relaying = true;
    EXPECT_EQ(Bench(back).ownership.face_mode(), FaceMode::relay);
  }
}

}  // namespace
}  // namespace godwit::volume
