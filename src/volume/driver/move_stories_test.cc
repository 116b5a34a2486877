// Moves that a person would tell of: there and back with clients that never notice, a peer that stands still under the lock, a
// third host that wants the volume too, a full disk, records that can not be written. And the canaries: with a mistake planted
// below the drivers, the checkers of these scenes must find it.
#include "volume/driver/move_story_test.h"
#include "volume/driver/scene_seeds_test.h"

namespace godwit::volume {
namespace {

TEST(MoveStory, ThereAndBackWithoutItsClientsNoticing) {
  for (const std::uint64_t seed : seeds_of("there and back")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    STORY(story.move("b", "a"));
    STORY(story.end("a"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, ThereAndBackAndThereAgain) {
  for (const std::uint64_t seed : seeds_of("there and back and there again")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    STORY(story.move("b", "a"));
    STORY(story.move("a", "b"));
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, ClientsOfTheFirstHostFollowAChainOfThree) {
  for (const std::uint64_t seed : seeds_of("a chain of three")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    STORY(story.move("b", "c"));
    STORY(story.end("c"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, ClientsOfTheFirstHostFollowAChainThatEndsWhereItBegan) {
  for (const std::uint64_t seed : seeds_of("a chain that ends where it began")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    STORY(story.move("b", "c"));
    STORY(story.move("c", "b"));
    STORY(story.move("b", "a"));
    STORY(story.move("a", "c"));
    STORY(story.end("c"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, ClientsOfTheFirstHostFollowAChainBackFromItsThird) {
  for (const std::uint64_t seed : seeds_of("a chain back from its third")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    STORY(story.move("b", "c"));
    STORY(story.move("c", "a"));
    STORY(story.end("a"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, AFormerOwnerNobodyUsesOpensNoRelay) {
  Scene scene(1, quick_options());
  scene.create("a", kBlocks * kBlock);
  scene.pull("b", "a");
  ASSERT_TRUE(scene.run_until([&] { return scene.owns("b"); }, Duration::seconds(20))) << scene.why();
  scene.run_for(Duration::milliseconds(500));
  const std::uint64_t before = scene.on("b").server.counters().connections;
  EXPECT_EQ(before, 0u) << scene.why();
  // The first request opens it.
  Bytes block(kBlock);
  const Result<void> read =
      sim::wait_for<void>(scene.world, [&](Done<void> done) { scene.volume("a")->face().read(0, block, std::move(done)); });
  EXPECT_TRUE(read);
  EXPECT_EQ(scene.on("b").server.counters().connections, 1u);
}

TEST(MoveStory, APeerThatStandsStillUnderTheLockDoesNotStopTheClients) {
  for (const std::uint64_t seed : seeds_of("a peer stands still under the lock")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    story.scene.pull("b", "a");
    Ownership& ownership = story.scene.volume("a")->ownership();
    ASSERT_TRUE(story.run_until([&] { return ownership.is_locked(); })) << story.scene.why();
    story.scene.fabric.set_stuck("b", "a", true);
    // After the two seconds the clients go on; they are not held again and again for a peer that says nothing.
    ASSERT_TRUE(story.run_until([&] { return !ownership.is_locked(); }, Duration::milliseconds(2500))) << story.scene.why();
    int locked = 0;
    const std::uint64_t ended = story.cast->count_ended();
    for (int i = 0; i < 100; ++i) {
      story.scene.run_for(Duration::milliseconds(20));
      locked += ownership.is_locked();
    }
    EXPECT_LT(locked, 20) << story.scene.why();
    EXPECT_GT(story.cast->count_ended(), ended + 1000) << story.scene.why();
    story.scene.fabric.set_stuck("b", "a", false);
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, AThirdHostIsRefusedAndKeepsNothing) {
  for (const std::uint64_t seed : seeds_of("a third host")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    story.scene.pull("b", "a");
    ASSERT_TRUE(story.run_until([&] { return story.durable("a").reserved.has_value(); })) << story.scene.why();
    PullStatus& third = story.scene.pull("c", "a");
    ASSERT_TRUE(story.run_until([&] { return third.state == PullStatus::State::failed; })) << story.scene.why();
    EXPECT_NE(third.text.find("busy"), std::string::npos) << third.text;
    story.scene.run_for(Duration::milliseconds(100));
    EXPECT_TRUE(story.scene.files("c").empty()) << story.scene.files("c").front();
    EXPECT_EQ(story.scene.volume("c"), nullptr);
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, APullOfAVolumeThatIsNotOfferedLeavesNothing) {
  Story story(1);
  PullStatus& pull = story.scene.pull("b", "a", {"nonesuch"});
  ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::failed; })) << story.scene.why();
  EXPECT_NE(pull.text.find("nonesuch"), std::string::npos) << pull.text;
  EXPECT_TRUE(story.scene.files("b").empty());
}

TEST(MoveStory, AFullDiskAtTheDestinationIsToldAndTheSourceServesOn) {
  for (const std::uint64_t seed : seeds_of("a full disk")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    PullStatus& pull = story.scene.pull("b", "a");
    ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::copying; })) << story.scene.why();
    story.scene.b.disk().fail_nth(sim::DiskOp::write, 5, ErrorKind::no_space, true);
    story.scene.run_for(Duration::seconds(2));
    EXPECT_TRUE(story.scene.owns("a")) << story.scene.why();
    EXPECT_FALSE(story.scene.volume("a")->ownership().is_locked());
    EXPECT_EQ(pull.state, PullStatus::State::failed) << pull.text << story.scene.why();
    EXPECT_NE(story.scene.all_notes().find("no space"), std::string::npos) << story.scene.why();
    STORY(story.expect_nobody_noticed());
    story.scene.b.disk().clear_faults();
    STORY(story.move("a", "b"));
    STORY(story.end("b"));
  }
}

TEST(MoveStory, ACancelAtTheSourceStopsTheDestinationWhichKeepsWhatItHas) {
  for (const std::uint64_t seed : seeds_of("a cancel at the source")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    PullStatus& pull = story.scene.pull("b", "a");
    ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::copying; })) << story.scene.why();
    Volume& at_source = *story.scene.volume("a");
    ASSERT_TRUE(at_source.ownership().cancel());
    at_source.pump();
    ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::failed; })) << story.scene.why();
    EXPECT_NE(pull.text.find("cancelled"), std::string::npos) << pull.text;
    story.scene.run_for(Duration::seconds(2));
    EXPECT_FALSE(story.durable("a").reserved) << "asked for again" << story.scene.why();
    EXPECT_EQ(story.durable("b").state, CopyState::receiving);
    EXPECT_EQ(story.scene.files("b"), (std::vector<std::string>{"disk.own", "disk.partial"}));
    STORY(story.move("a", "b"));
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, AStuckDiskAtTheDestinationPutsTheHandOverOffAndHoldsNobodyUp) {
  for (const std::uint64_t seed : seeds_of("a stuck disk at the destination")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    story.scene.pull("b", "a");
    Ownership& ownership = story.scene.volume("a")->ownership();
    ASSERT_TRUE(story.run_until([&] { return ownership.is_locked(); })) << story.scene.why();
    story.scene.b.disk().set_stuck(true);
    ASSERT_TRUE(story.run_until([&] { return !ownership.is_locked(); }, Duration::milliseconds(2500))) << story.scene.why();
    const std::uint64_t ended = story.cast->count_ended();
    story.scene.run_for(Duration::seconds(1));
    EXPECT_GT(story.cast->count_ended(), ended + 1000) << story.scene.why();
    EXPECT_TRUE(story.scene.owns("a"));
    story.scene.b.disk().set_stuck(false);
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveStory, ACancelAtTheDestinationIsToldWhenTheSourceCanBeReachedAgain) {
  for (const std::uint64_t seed : seeds_of("a cancel at the destination")) {
    for (const bool restarted : {false, true}) {
      SCOPED_TRACE(std::to_string(seed) + (restarted ? ", with a restart between" : ""));
      Story story(seed);
      PullStatus& pull = story.scene.pull("b", "a");
      ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::copying; })) << story.scene.why();
      story.scene.fabric.partition("a", "b");
      Volume& copy = *story.scene.volume("b");
      ASSERT_TRUE(copy.ownership().cancel());
      copy.pump();
      story.scene.run_for(Duration::milliseconds(100));
      EXPECT_EQ(story.durable("b").state, CopyState::gone);
      EXPECT_TRUE(story.durable("b").untold);
      EXPECT_EQ(story.scene.files("b"), std::vector<std::string>{"disk.own"});
      if (restarted) {
        story.scene.crash("b", {sim::CrashNotice::reset, false});
        story.scene.run_for(Duration::milliseconds(5));
        story.scene.restart("b");
        story.scene.run_for(Duration::milliseconds(100));
        ASSERT_NE(story.scene.volume("b"), nullptr) << "the record of what is gone was not opened" << story.scene.why();
      }
      story.scene.fabric.heal("a", "b");
      if (!restarted) story.scene.fabric.cut("a", "b");
      ASSERT_TRUE(story.run_until([&] { return !story.durable("b").untold; })) << story.scene.why();
      EXPECT_FALSE(story.durable("a").reserved);
      EXPECT_EQ(story.durable("b").state, CopyState::gone);
      story.scene.run_for(Duration::seconds(1));
      EXPECT_EQ(story.scene.fabric.count_connections("a", "b"), 0u) << "there is nothing left to say" << story.scene.why();
      // Nothing stands in a third host's way.
      STORY(story.move("a", "c"));
      STORY(story.end("c"));
    }
  }
}

// The first record write fails, then the second, until a move passes without meeting the failure. The host is started anew each
// time, which is what its volume waits for.
TEST(MoveStory, EveryFailedRecordWriteEndsWithOneOwner) {
  for (const std::string host : {"a", "b"}) {
    for (std::uint64_t n = 1; n < 30; ++n) {
      SCOPED_TRACE(host + ", record write " + std::to_string(n));
      Story story(n);
      DiskHooks& hooks = story.scene.hooks[host];
      hooks.fail_record_write = hooks.record_writes + n;
      story.scene.pull("b", "a");
      story.cast->start_early_reads("b");
      const auto struck = [&] { return hooks.record_writes >= hooks.fail_record_write; };
      const auto over = [&] { return story.scene.owns("b") && story.durable("a").heard && !story.durable("b").untold; };
      ASSERT_TRUE(story.run_until([&] { return struck() || over(); })) << story.scene.why();
      if (!struck()) {
        EXPECT_GT(n, 3u);
        STORY(story.end("b"));
        break;
      }
      story.scene.run_for(Duration::milliseconds(50));
      ASSERT_FALSE(story.scene.world.failed()) << story.scene.why();
      story.cast->note_crash(host, false);
      story.scene.crash(host, {sim::CrashNotice::reset, false});
      story.scene.run_for(Duration::milliseconds(5));
      story.scene.restart(host);
      if (host == "a") story.cast->start_face("a");
      for (int attempt = 0; attempt < 3 && !story.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(2));
           ++attempt) {
        ASSERT_FALSE(story.scene.world.failed()) << story.scene.why();
        if (!story.scene.volume("b"))
          (void)sim::wait_for<void>(
              story.scene.world, [&](Done<void> done) { story.scene.on("b").directory.remove("disk.partial", std::move(done)); });
        story.scene.pull("b", "a");
      }
      ASSERT_TRUE(story.scene.owns("b")) << story.scene.why();
      STORY(story.end("b"));
    }
  }
}

TEST(MoveStory, ACutRelayClosesTheClientsOfTheFormerOwner) {
  for (const std::uint64_t seed : seeds_of("a cut relay")) {
    SCOPED_TRACE(seed);
    Story story(seed);
    STORY(story.move("a", "b"));
    EXPECT_GT(story.scene.fabric.cut("a", "b"), 0u);
    ASSERT_TRUE(story.run_until([&] { return story.cast->user().count_connections() == 2; })) << story.scene.why();
    const std::uint64_t failed = story.cast->count_failed();
    story.scene.run_for(Duration::milliseconds(300));
    EXPECT_EQ(story.cast->count_failed(), failed) << story.scene.why();
    STORY(story.end("b"));
  }
}

TEST(MoveStory, WithRefusalAfterTheHandOverClientsGoToTheNewOwner) {
  for (const std::uint64_t seed : seeds_of("refusal after the hand-over")) {
    SCOPED_TRACE(seed);
    HostOptions options = quick_options();
    options.after_handover = AfterHandover::refuse;
    Story story(seed, options, {"a", "b"});
    story.cast->face_client().stop();
    STORY(story.move("a", "b"));
    ASSERT_TRUE(story.run_until([&] { return story.cast->user().count_connections() == 2; })) << story.scene.why();
    EXPECT_GT(story.cast->user().count_shut_down(), 0u);
    EXPECT_EQ(story.cast->user().server(), "b");
    STORY(story.end("b"));
  }
}

TEST(MoveStory, ADestinationThatDiesBeforeItHearsTheGrantOwnsWhenItIsBack) {
  for (const std::uint64_t seed : seeds_of("a destination dies before the grant")) {
    for (const bool power : {false, true}) {
      SCOPED_TRACE(std::to_string(seed) + (power ? ", power lost" : ", process died"));
      Story story(seed);
      story.scene.pull("b", "a");
      ASSERT_TRUE(story.run_until([&] { return story.durable("a").state == CopyState::relinquished; })) << story.scene.why();
      ASSERT_EQ(story.durable("b").state, CopyState::ready);
      story.scene.crash("b", {sim::CrashNotice::reset, power});
      story.scene.run_for(Duration::milliseconds(200));
      EXPECT_EQ(story.scene.volume("a")->face().mode(), FaceMode::hold);
      story.scene.restart("b");
      ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
      STORY(story.end("b"));
      STORY(story.expect_nobody_noticed());
    }
  }
}

TEST(MoveStory, AForkIsCountedOnceHoweverOftenItIsMet) {
  Scene scene(1, quick_options());
  Random random(7);
  const VolumeId volume = VolumeId::random(random);
  for (const std::string host : {"a", "b"}) {
    Process& process = scene.on(host);
    Record record = Ownership::new_owned(process.me, random, Geometry{kBlocks * kBlock, kBlock}, "disk");
    record.volume = volume;
    ASSERT_TRUE(
        process.host->add(ShelfItem{.name = "disk",
                                    .record = record,
                                    .fresh = true,
                                    .pristine = true,
                                    .store = std::move(*store::make_memory_device(kBlocks * kBlock, process.machine.scheduler())),
                                    .place = {}}));
  }
  for (int i = 0; i < 3; ++i) {
    scene.pull("b", "a");
    scene.run_for(Duration::milliseconds(100));
  }
  for (const std::string host : {"a", "b"}) {
    EXPECT_EQ(scene.on(host).host->forks_seen(), 1u) << host << scene.why();
    EXPECT_EQ(scene.on(host).host->forks_of(*scene.volume(host)), 1u);
  }
}

TEST(MoveStory, ASparseStoragesAddressesGoAlong) {
  AddressMap addresses(1024);
  for (std::uint64_t slot = 0; slot < 4 * kBlocks; slot += 3) addresses.put(0x7f0000000000 + slot, slot);
  HostOptions options = quick_options();
  options.source.of_volume = [&](const Volume&) {
    return SourceVolumeOptions{.base_blocks = {}, .alternates = {}, .addresses = &addresses};
  };
  Story story(1, options);
  PullStatus& pull = story.scene.pull("b", "a");
  ASSERT_TRUE(story.run_until([&] { return pull.state == PullStatus::State::copying; })) << story.scene.why();
  addresses.remove(0x7f0000000003);
  story.scene.on("a").host->remove_addresses(*story.scene.volume("a"), {0x7f0000000003});
  ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
  const std::map<std::uint64_t, std::uint64_t>& arrived = story.scene.volume("b")->addresses();
  EXPECT_EQ(arrived.size(), addresses.size());
  for (const WriteAtWithMap::Entry& entry : addresses.within(0, kBlocks * kBlock))
    EXPECT_TRUE(arrived.contains(entry.id) && arrived.at(entry.id) == entry.location) << entry.location;
  STORY(story.end("b"));
  STORY(story.expect_nobody_noticed());
}

TEST(MoveStory, TheSameSeedGivesTheSameRun) {
  for (const std::uint64_t seed : {3, 4}) {
    std::uint64_t hashes[2];
    for (std::uint64_t& hash : hashes) {
      Story story(seed);
      STORY(story.move("a", "b"));
      STORY(story.move("b", "a"));
      STORY(story.end("a"));
      hash = story.scene.world.trace_hash();
    }
    EXPECT_EQ(hashes[0], hashes[1]);
  }
  Story one(3), other(4);
  EXPECT_NE(one.scene.world.trace_hash(), other.scene.world.trace_hash());
}

// --- canaries ---

TEST(MoveCanary, AFlushThatDoesNothingAtTheDestinationIsFound) {
  Story story(1);
  story.scene.hooks["b"].loses_flushes = true;
  story.scene.pull("b", "a");
  story.run_until([&] { return story.scene.owns("b"); });
  EXPECT_NE(story.scene.world.report().find("is not durable there"), std::string::npos) << story.scene.why();
}

TEST(MoveCanary, AFlushThatDoesNothingAtTheSourceIsFoundAfterAPowerLoss) {
  bool found = false;
  for (std::uint64_t seed = 1; seed <= 20 && !found; ++seed) {
    Story story(seed);
    story.scene.hooks["a"].loses_flushes = true;
    story.scene.run_for(Duration::milliseconds(30));
    story.cast->note_crash("a", true);
    story.scene.crash("a");
    story.scene.run_for(Duration::milliseconds(5));
    story.scene.restart("a");
    story.run_until([&] { return story.scene.owns("a"); });
    story.cast->start_face("a");
    story.scene.run_for(Duration::milliseconds(30));
    found = story.scene.world.failed();
  }
  EXPECT_TRUE(found);
}

TEST(MoveCanary, AnOwnershipRecordThatIsNotWrittenIsFoundAfterACrash) {
  Story story(1);
  story.scene.hooks["a"].loses_record_writes = true;
  story.scene.pull("b", "a");
  ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
  story.scene.crash("a", {sim::CrashNotice::reset, false});
  story.scene.run_for(Duration::milliseconds(5));
  story.scene.restart("a");
  story.run_until([] { return false; }, Duration::seconds(1));
  EXPECT_NE(story.scene.world.report().find("two hosts own"), std::string::npos) << story.scene.why();
}

}  // namespace
}  // namespace godwit::volume
