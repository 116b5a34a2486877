// Sparse storages, whose blocks bear addresses, and devices that are taken away at the source (silo.md 5.9 to 5.11).
#include <gtest/gtest.h>

#include "volume/core/source_session_bench_test.h"

namespace godwit::volume {
namespace {

using Bench = SourceBench;
using PeerKind = SourceSession::PeerKind;

TEST(SourceSession, BlocksBearTheirAddressesTowardsThosePeersThatListen) {
  const std::vector<std::uint64_t> one = {2 * kBlock};
  Bench godwit({}, one, OrderKind::any, true);
  godwit.be_godwit();
  EXPECT_EQ(godwit.run(), "mapped 0, mapped 1");

  Bench library({.lone_device = true}, one, OrderKind::any, true);
  library.session.handle_peer(library.now, PeerKind::original);
  library.answer_haves();
  EXPECT_EQ(library.run(), "mapped 0, mapped 1");

  Bench group({}, one, OrderKind::any, true);
  group.session.handle_peer(group.now, PeerKind::original);
  group.answer_haves();
  EXPECT_EQ(group.run(), "0, 1") << "an original's group would never answer";

  Bench plain({}, one);
  plain.be_godwit();
  EXPECT_EQ(plain.run(), "0, 1");
}

TEST(SourceSession, AddressesTakenOutAreToldOnceAndBeforeCompleted) {
  Bench b({.dirty_threshold_blocks = 1}, {2 * kBlock}, OrderKind::any, true);
  b.be_godwit();
  b.run();
  b.session.handle_addresses_removed(DeviceId{1}, {1, 2});
  b.session.handle_addresses_removed(DeviceId{1}, {3});
  EXPECT_EQ(b.run(), "") << "blocks with these addresses are still under way";
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "unmap 3, Completed, PREPARE");
  EXPECT_EQ(b.miss_lock(), "unlock");
  b.session.handle_addresses_removed(DeviceId{1}, {4});
  b.answer_events();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "unmap 1, Completed, PREPARE") << "after a missed lock only what is new";
}

TEST(SourceSession, NobodyHearsOfAddressesThatWereNeverSent) {
  Bench b({}, {2 * kBlock}, OrderKind::any, true);
  b.session.handle_peer(b.now, PeerKind::original);
  b.answer_haves();
  b.run();
  b.session.handle_addresses_removed(DeviceId{1}, {1});
  b.answer_blocks();
  EXPECT_EQ(b.run(), "lock");
  EXPECT_EQ(b.lock(), "unlock, Completed");
}

TEST(SourceSession, ADeviceThatIsTakenAwayIsToldOnceAndOnlyOfAWholeCopy) {
  for (const bool at_once : {false, true}) {
    Bench b({.remove_devices = at_once}, {kBlock});
    b.session.handle_peer(b.now, PeerKind::original);
    b.answer_haves();
    b.run();
    b.answer_blocks();
    b.run();
    b.lock();
    b.answer_events();
    EXPECT_EQ(b.run(), at_once ? "remove 1, copy completed" : "copy completed");
    b.session.handle_device_removed(DeviceId{1});
    b.session.handle_device_removed(DeviceId{1});
    b.session.handle_device_removed(DeviceId{7});
    EXPECT_EQ(b.run(), at_once ? "" : "remove 1");
  }
  Bench halfway;
  halfway.session.handle_peer(halfway.now, PeerKind::original);
  halfway.answer_haves();
  halfway.run();
  halfway.session.handle_device_removed(DeviceId{1});
  EXPECT_EQ(halfway.run(), "failed");
  EXPECT_NE(halfway.failure.find("removed"), std::string::npos) << halfway.failure;

  Bench godwit;
  godwit.be_godwit();
  godwit.run();
  godwit.session.handle_device_removed(DeviceId{1});
  EXPECT_EQ(godwit.run(), "") << "between godwits records say what becomes of a copy";
}

}  // namespace
}  // namespace godwit::volume
