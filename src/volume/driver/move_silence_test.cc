// Moves in which somebody falls silent: a machine loses its power, a wire is dead. Nobody is told; keep-alive finds out after
// half a minute (silo.md 12). Each side then ends what it had with the other, nobody owns what it must not, and what was begun is
// finished when both can talk again.
#include "volume/driver/move_story_test.h"

namespace godwit::volume {
namespace {

constexpr sim::Crash kPowerLoss{sim::CrashNotice::silence, true};

// Clients that leave time between their requests: these stories last for minutes.
struct SlowStory : Story {
  explicit SlowStory(std::uint64_t seed) : Story(seed, quick_options(), {"a"}, Duration::milliseconds(100)) {}
  std::size_t links(const std::string& host) { return scene.on(host).host->links(); }
  void lose_power(const std::string& host) {
    cast->note_crash(host, true);
    scene.crash(host, kPowerLoss);
  }
  // As after a restart by hand; nobody cuts connections for those who have not noticed yet.
  void power_on(const std::string& host) {
    scene.restart(host);
    if (host == "a") cast->start_face("a");
  }
  // So far into the copy as the seed says, and in the midst of it.
  void begin_copy(std::uint64_t seed) {
    scene.pull("b", "a");
    cast->start_early_reads("b");
    ASSERT_TRUE(run_until([&] {
      return scene.volume("b") && scene.volume("b")->cache() && scene.volume("b")->cache()->present_count() >= 5 * seed;
    })) << scene.why();
    ASSERT_FALSE(scene.owns("b")) << scene.why();
  }
};

TEST(MoveSilence, ADestinationThatLosesItsPowerIsGivenUpAndItsSourceServesOn) {
  for (const std::uint64_t seed : seeds_of("a destination loses power")) {
    SCOPED_TRACE(seed);
    SlowStory story(seed);
    STORY(story.begin_copy(seed));
    story.lose_power("b");
    story.scene.run_for(Duration::seconds(10));
    EXPECT_EQ(story.links("a"), 1u) << "half a minute is not over";
    const std::uint64_t ended = story.cast->count_ended();
    story.scene.run_for(Duration::seconds(21));
    EXPECT_EQ(story.links("a"), 0u) << story.scene.why();
    EXPECT_FALSE(story.scene.volume("a")->ownership().is_locked());
    EXPECT_TRUE(story.scene.owns("a"));
    EXPECT_GT(story.cast->count_ended(), ended) << "the clients went on all the while";
    STORY(story.expect_nobody_noticed());
    story.power_on("b");
    ASSERT_TRUE(story.run_until([&] { return story.scene.volume("b") != nullptr; })) << story.scene.why();
    if (!story.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(10))) story.scene.pull("b", "a");
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); })) << story.scene.why();
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

TEST(MoveSilence, ASourceThatLosesItsPowerIsGivenUpAndDialledUntilItIsBack) {
  for (const std::uint64_t seed : seeds_of("a source loses power")) {
    SCOPED_TRACE(seed);
    SlowStory story(seed);
    STORY(story.begin_copy(seed));
    story.lose_power("a");
    story.scene.run_for(Duration::seconds(10));
    EXPECT_EQ(story.links("b"), 1u);
    story.scene.run_for(Duration::seconds(21));
    EXPECT_EQ(story.links("b"), 0u) << story.scene.why();
    EXPECT_FALSE(story.scene.owns("b")) << "a silent source gives nothing away";
    EXPECT_EQ(story.durable("b").state, CopyState::receiving);
    story.power_on("a");
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(60))) << story.scene.why();
    STORY(story.end("b"));
  }
}

TEST(MoveSilence, ASourceThatLosesItsPowerBeforeTheGrantIsHeardGivesItWhenItIsBack) {
  for (const std::uint64_t seed : seeds_of("a source loses power before the grant")) {
    SCOPED_TRACE(seed);
    SlowStory story(seed);
    story.scene.pull("b", "a");
    ASSERT_TRUE(story.run_until([&] { return story.durable("a").state == CopyState::relinquished; })) << story.scene.why();
    ASSERT_EQ(story.durable("b").state, CopyState::ready);
    story.scene.fabric.partition("a", "b");
    story.lose_power("a");
    story.scene.fabric.heal("a", "b");
    story.scene.run_for(Duration::seconds(31));
    EXPECT_EQ(story.links("b"), 0u) << story.scene.why();
    // GRANT may have been on its way already; if not, nobody writes until A is back.
    if (!story.scene.owns("b")) {
      EXPECT_EQ(story.scene.volume("b")->face().mode(), FaceMode::early_reads);
    }
    story.power_on("a");
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b") && story.durable("a").heard; }, Duration::seconds(60)))
        << story.scene.why();
    STORY(story.end("b"));
  }
}

TEST(MoveSilence, AnOwnerThatLosesItsPowerUnderARelayIsRelayedToAgainWhenItIsBack) {
  for (const std::uint64_t seed : seeds_of("an owner loses power under a relay")) {
    SCOPED_TRACE(seed);
    SlowStory story(seed);
    STORY(story.move("a", "b"));
    story.lose_power("b");
    story.scene.run_for(Duration::seconds(31));
    EXPECT_EQ(story.links("a"), 0u) << story.scene.why();
    EXPECT_EQ(story.scene.fabric.count_connections("a", "b"), 0u) << "the relay's connection is given up as well";
    EXPECT_FALSE(story.scene.owns("a"));
    story.power_on("b");
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(10))) << story.scene.why();
    const std::uint64_t ended = story.cast->count_ended();
    ASSERT_TRUE(story.run_until([&] { return story.cast->count_ended() > ended + 20; }, Duration::seconds(60)))
        << "the clients of A do not go on" << story.scene.why();
    STORY(story.end("b"));
  }
}

TEST(MoveSilence, BothEndsOfADeadWireNoticeAndFinishWhenItIsMended) {
  for (const std::uint64_t seed : seeds_of("a dead wire")) {
    SCOPED_TRACE(seed);
    SlowStory story(seed);
    STORY(story.begin_copy(seed));
    story.scene.fabric.partition("a", "b");
    story.scene.run_for(Duration::seconds(31));
    EXPECT_EQ(story.links("a"), 0u) << story.scene.why();
    EXPECT_EQ(story.links("b"), 0u) << story.scene.why();
    EXPECT_TRUE(story.scene.owns("a"));
    EXPECT_FALSE(story.scene.volume("a")->ownership().is_locked());
    story.scene.fabric.heal("a", "b");
    ASSERT_TRUE(story.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(60))) << story.scene.why();
    STORY(story.end("b"));
    STORY(story.expect_nobody_noticed());
  }
}

}  // namespace
}  // namespace godwit::volume
