// Moves of volumes that are overlays on a base image which both hosts have, or which each has another of: what is the base's at
// both ends does not travel, what a client writes over it meanwhile does, and what the destination held of an older copy is
// dropped.
#include "sim/block_client.h"
#include "volume/driver/move_scene_test.h"

namespace godwit::volume {
namespace {

constexpr std::uint64_t kBlocks = 64;
constexpr std::uint64_t kWritten = 40;  // clients write these, from the first on; the rest stays the base's

// A base whose blocks are, to the history, as if a client had written them long ago; a program on A's face that writes over some
// of them, slowly, so that there are always blocks that it meets for the first time.
class OverlayStory {
 public:
  OverlayStory(std::uint64_t seed, bool same_base, bool pretended = false)
      : scene(seed, options(), 0), history_(scene.world, 1, kBlock) {
    Bytes image(kBlocks * kBlock);
    for (std::uint64_t b = 0; b < kBlocks; ++b)
      history_.end_write(history_.begin_write(b, MutableBytes(image).subspan(b * kBlock, kBlock)), true, true);
    scene.bases.set("b", same_base ? image : Bytes(image.size(), std::byte{0xee}));
    scene.bases.set("a", std::move(image));
    if (pretended) scene.bases.pretend_equal();
    scene.create("a", kBlocks * kBlock);
    start_client("a");
  }

  void start_client(const std::string& host) {
    sim::BlockClientOptions work{.block_count = kWritten, .blocks_per_request_max = 2, .depth = 2};
    work.pause_max = Duration::milliseconds(3);
    client_ = std::make_unique<sim::BlockClient>(
        scene.machine(host).scheduler(), scene.world.random().fork(), history_,
        [this, host]() -> store::BlockDevice* {
          Volume* v = scene.volume(host);
          return v ? &v->face() : nullptr;
        },
        work);
    client_->start();
  }
  // The blocks that are in the overlay of a host.
  const Bitset& overlay(const std::string& host) { return scene.volume(host)->overlay()->overlay_blocks(); }
  const Record& durable(const std::string& host) { return scene.volume(host)->ownership().durable_record(); }

  // Until B owns it. How many of the base's blocks were written while they moved is added to `written_over`.
  void move(const std::string& from, const std::string& to) {
    PullStatus& pull = scene.pull(to, from);
    ASSERT_TRUE(scene.run_until([&] { return durable(from).reserved.has_value(); }, Duration::seconds(10))) << scene.why();
    const std::uint64_t before = overlay(from).count();
    ASSERT_TRUE(scene.run_until([&] { return scene.owns(to) && durable(from).heard; }, Duration::seconds(30))) << scene.why();
    written_over += overlay(from).count() - before;
    bytes_received = pull.bytes_received;
    ASSERT_FALSE(scene.world.failed()) << scene.why();
  }
  void end(const std::string& owner) {
    scene.run_for(Duration::milliseconds(20));
    client_->stop();
    ASSERT_TRUE(scene.run_until([&] { return client_->is_idle(); }, Duration::seconds(20))) << scene.why();
    EXPECT_EQ(client_->count_failed(), 0u) << scene.why();
    check_everything(owner);
  }
  void check_everything(const std::string& owner) {
    bool checked = false;
    sim::check_all(scene.volume(owner)->face(), history_, kBlocks, [&](Result<std::uint64_t> count) {
      EXPECT_TRUE(count && *count == kBlocks) << scene.why();
      checked = true;
    });
    ASSERT_TRUE(scene.run_until([&] { return checked; }, Duration::seconds(30))) << scene.why();
    ASSERT_FALSE(scene.world.failed()) << scene.why();
  }
  sim::History& history() { return history_; }
  sim::BlockClient& client() { return *client_; }

  Scene scene;
  std::uint64_t written_over = 0;
  std::uint64_t bytes_received = 0;

 private:
  static HostOptions options() {
    HostOptions options;
    options.source.config.dirty_threshold_blocks = 1;
    options.source.config.rounds_max = 6;
    options.redial_min = Duration::milliseconds(5);
    options.redial_max = Duration::milliseconds(100);
    return options;
  }
  sim::History history_;
  std::unique_ptr<sim::BlockClient> client_;
};

#define STORY(code)                          \
  do {                                       \
    code;                                    \
    if (testing::Test::HasFailure()) return; \
  } while (false)

TEST(MoveOverlay, BlocksOfTheBaseStayAwayAndThoseWrittenOverMeanwhileArrive) {
  std::uint64_t written_over = 0, compared = 0;
  for (const std::uint64_t seed : sim::scenario_seeds(40)) {
    SCOPED_TRACE(seed);
    OverlayStory story(seed, true);
    story.scene.run_for(Duration::milliseconds(4));
    STORY(story.move("a", "b"));
    EXPECT_EQ(story.overlay("b").next_set(kWritten), kBlocks) << "a block that is the base's at both ends was sent";
    EXPECT_LT(story.bytes_received, kBlocks * kBlock) << story.scene.why();
    STORY(story.end("b"));
    written_over += story.written_over;
    compared += story.scene.hand_overs_compared;
  }
  EXPECT_GT(written_over, 0u) << "no block of the base was dirtied in a round: it tests little";
  EXPECT_GT(compared, 0u);
}

TEST(MoveOverlay, OnAnotherBaseEveryBlockTravels) {
  for (const std::uint64_t seed : sim::scenario_seeds(20)) {
    SCOPED_TRACE(seed);
    OverlayStory story(seed, false);
    story.scene.run_for(Duration::milliseconds(4));
    STORY(story.move("a", "b"));
    EXPECT_EQ(story.overlay("b").next_clear(0), kBlocks);
    STORY(story.end("b"));
  }
}

TEST(MoveOverlay, ThereAndBackOverWhatTheOldCopyHeld) {
  for (const std::uint64_t seed : sim::scenario_seeds(20)) {
    SCOPED_TRACE(seed);
    OverlayStory story(seed, true);
    story.scene.run_for(Duration::milliseconds(4));
    STORY(story.move("a", "b"));
    STORY(story.move("b", "a"));
    STORY(story.move("a", "b"));
    EXPECT_EQ(story.overlay("b").next_set(kWritten), kBlocks);
    STORY(story.end("b"));
  }
}

// B dies in the middle of its copy: its overlay then has blocks of a copy that is begun again.
TEST(MoveOverlay, ACopyThatIsBegunAgainAfterACrashTakesTheBaseAgain) {
  std::uint64_t begun_again = 0;
  for (const std::uint64_t seed : sim::scenario_seeds(30)) {
    SCOPED_TRACE(seed);
    OverlayStory story(seed, true);
    story.scene.run_for(Duration::milliseconds(10));
    story.scene.pull("b", "a");
    const auto receiving = [&] {
      Volume* v = story.scene.volume("b");
      return v && v->ownership().durable_record().state == CopyState::receiving && v->overlay()->overlay_blocks().count() > 0;
    };
    ASSERT_TRUE(story.scene.run_until([&] { return receiving() || story.scene.owns("b"); }, Duration::seconds(10)))
        << story.scene.why();
    if (receiving()) {
      ++begun_again;
      story.scene.crash("b", {sim::CrashNotice::reset, seed % 2 == 0});
      story.scene.run_for(Duration::milliseconds(20));
      story.scene.restart("b");
    }
    ASSERT_TRUE(story.scene.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(30))) << story.scene.why();
    EXPECT_EQ(story.overlay("b").next_set(kWritten), kBlocks);
    STORY(story.end("b"));
  }
  EXPECT_GT(begun_again, 0u) << "no copy was begun again: it tests little";
}

TEST(MoveOverlay, ABaseThatIsNotWhatItsHashSaysIsFoundByTheCheckers) {
  OverlayStory story(1, false, true);
  story.scene.pull("b", "a");
  story.scene.run_until([&] { return story.scene.owns("b"); }, Duration::seconds(10));
  EXPECT_NE(story.scene.world.report().find("is not durable there as the locked source has it"), std::string::npos)
      << story.scene.why();
}

}  // namespace
}  // namespace godwit::volume
