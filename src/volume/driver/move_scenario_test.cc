// Two hosts, their production drivers, and a client that writes all the while: a volume moves from A to B in the simulated world,
// under faults chosen by the seed, and the checkers look at what every client saw. GODWIT_SEEDS sets the number of seeds.

#include "sim/block_client.h"
#include "volume/driver/move_scene_test.h"
#include "volume/driver/scene_seeds_test.h"

namespace godwit::volume {
namespace {

// Everything a client can know about the volume is checked through the owner's face.
void check_everything(Scene& scene, const std::string& owner, sim::History& history, std::uint64_t blocks) {
  bool checked = false;
  sim::check_all(scene.volume(owner)->face(), history, blocks, [&](Result<std::uint64_t> count) {
    EXPECT_TRUE(count) << count.error().message();
    checked = true;
  });
  EXPECT_TRUE(scene.run_until([&] { return checked; }, Duration::seconds(30))) << scene.world.report() << scene.all_notes();
}

TEST(Move, AQuietVolumeArrivesWholeAndChangesItsOwner) {
  Scene scene(1, {}, 200);
  scene.create("a", 100 * kBlock + 100);
  scene.pull("b", "a");
  ASSERT_TRUE(scene.run_until([&] { return scene.owns("b"); }, Duration::seconds(20)))
      << scene.world.report() << scene.all_notes();
  EXPECT_EQ(scene.volume("a")->ownership().record().state, CopyState::relinquished);
  EXPECT_TRUE(scene.run_until([&] { return scene.volume("a")->ownership().durable_record().heard; }, Duration::seconds(5)));
  EXPECT_TRUE(scene.run_until([&] { return !scene.volume("b")->ownership().durable_record().untold; }, Duration::seconds(5)));
}

TEST(Move, AWriterGoesOnThroughTheHandOverWithoutReconnecting) {
  for (const std::uint64_t seed : seeds_of("a writer through the hand-over")) {
    HostOptions options;
    options.source.config.dirty_threshold_blocks = 4;
    options.source.config.rounds_max = 5;
    Scene scene(seed, options, 300);
    constexpr std::uint64_t kBlocks = 64;
    scene.create("a", kBlocks * kBlock);
    sim::History history(scene.world, 1, kBlock);
    sim::BlockClient client(scene.a.scheduler(), scene.world.random().fork(), history,
                            [&]() -> store::BlockDevice* { return &scene.volume("a")->face(); }, {.block_count = kBlocks});
    client.start();
    scene.run_for(Duration::milliseconds(20));
    scene.pull("b", "a");
    ASSERT_TRUE(scene.run_until([&] { return scene.owns("b"); }, Duration::seconds(60)))
        << scene.world.report() << scene.all_notes();
    scene.run_for(Duration::milliseconds(50));
    client.stop();
    ASSERT_TRUE(scene.run_until([&] { return client.is_idle(); }, Duration::seconds(20)))
        << scene.world.fail_message("the client's requests hang") << scene.all_notes();
    EXPECT_EQ(client.count_failed(), 0u) << scene.world.fail_message("a request failed") << scene.all_notes();
    check_everything(scene, "b", history, kBlocks);
    ASSERT_FALSE(scene.world.failed()) << scene.world.report() << scene.all_notes();
  }
}

}  // namespace
}  // namespace godwit::volume
