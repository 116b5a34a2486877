// Pulls from a source that knows nothing of our control frames, as the original: it hangs up as soon as its last event is
// answered.
#include <gtest/gtest.h>

#include "volume/driver/move_scene_test.h"
#include "volume/driver/scene_seeds_test.h"

namespace godwit::volume {
namespace {

HostOptions without_a_mark() {
  HostOptions options = quick_options();
  options.source.mark = false;
  return options;
}

TEST(MoveFromOriginal, ASourceThatEndsBehindOurLastAnswerHasGivenTheVolume) {
  for (const std::uint64_t seed : seeds_of("an original ends behind the last answer")) {
    SCOPED_TRACE(seed);
    Scene scene(seed, without_a_mark());
    scene.create("a", 48 * kBlock);
    const PullStatus& pull = scene.pull("b", "a");
    // Completed is answered once the copy is whole and its record says so; that the file bears its name comes later.
    ASSERT_TRUE(scene.world.run_until(
        [&] { return scene.volume("b") && scene.volume("b")->ownership().durable_record().state == CopyState::owned; },
        Duration::seconds(20)))
        << scene.why();
    ASSERT_NE(pull.state, PullStatus::State::owned) << "it would end too late to show anything";
    scene.world.run_for(Duration::microseconds(static_cast<std::int64_t>(20 * seed)));
    scene.crash("a");
    ASSERT_TRUE(scene.world.run_until([&] { return pull.state == PullStatus::State::owned; }, Duration::seconds(20)))
        << scene.why();
    EXPECT_TRUE(scene.owns("b"));
    scene.world.run_for(Duration::seconds(1));
    EXPECT_EQ(pull.state, PullStatus::State::owned) << scene.why();
    EXPECT_FALSE(scene.world.failed()) << scene.why();
  }
}

TEST(MoveFromOriginal, ASourceThatEndsBeforeItsLastEventHasGivenNothing) {
  for (const std::uint64_t seed : seeds_of("an original ends before its last event")) {
    SCOPED_TRACE(seed);
    Scene scene(seed, without_a_mark());
    scene.create("a", 48 * kBlock);
    const PullStatus& pull = scene.pull("b", "a");
    ASSERT_TRUE(scene.world.run_until(
        [&] {
          Volume* b = scene.volume("b");
          return b && b->cache() && b->cache()->present_count() >= 1 + seed % 40;
        },
        Duration::seconds(20)))
        << scene.why();
    ASSERT_NE(pull.state, PullStatus::State::copied);
    scene.crash("a");
    ASSERT_TRUE(scene.world.run_until([&] { return pull.state == PullStatus::State::failed; }, Duration::seconds(20)))
        << scene.why();
    EXPECT_FALSE(scene.owns("b"));
    EXPECT_FALSE(scene.world.failed()) << scene.why();
  }
}

}  // namespace
}  // namespace godwit::volume
