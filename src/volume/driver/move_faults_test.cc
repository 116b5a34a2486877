// Moves with everything that goes wrong: connections cut, processes killed, power lost, disks slow, peers that stand still. A
// fault may end a move, delay it or begin it again; it never makes two owners, loses a flushed write, shows a reader anything
// torn, absent or (at the owner) old, or leaves the volume without an owner once everybody is back.
#include "volume/driver/move_scene_test.h"

namespace godwit::volume {
namespace {

// What may go wrong while a move is under way, and how often.
struct Faults {
  std::string name;
  std::uint64_t seeds = 0;
  unsigned cuts = 0;
  unsigned crashes_of_a = 0;
  unsigned crashes_of_b = 0;
  double power_chance = 0.5;  // that a crash is a loss of power
  unsigned stalls = 0;        // a machine stands still for up to a second
  bool slow_disks = false;    // and answers in any order
  unsigned volumes = 1;
  std::uint64_t rest = 0;  // bytes behind the last whole block
  ScenePlace place = ScenePlace::files;
  std::uint64_t blocks = 48;
  bool overlays = false;  // on an image of zeros, at both ends
};

// Lines cost time: only a run that is repeated for its own sake makes them.
std::size_t trace_lines() {
  return std::getenv("GODWIT_SEEDS_FROM") ? 400 : 0;
}

HostOptions quick_options() {
  HostOptions options;
  options.source.config.dirty_threshold_blocks = 4;
  options.source.config.rounds_max = 4;
  options.redial_min = Duration::milliseconds(5);
  options.redial_max = Duration::milliseconds(100);
  return options;
}

sim::DiskQuality slow_disk() {
  sim::DiskQuality quality;
  quality.latency_max = Duration::milliseconds(2);
  quality.flush_max = Duration::milliseconds(20);
  quality.slow_chance = 0.1;
  return quality;
}

class FaultRun {
 public:
  FaultRun(const Faults& faults, std::uint64_t seed)
      : faults_(faults), scene_(seed, SceneOptions{quick_options(), faults.place, trace_lines()}) {
    if (faults.slow_disks)
      for (const char* host : {"a", "b"}) scene_.machine(host).disk().set_quality(slow_disk());
    if (faults.overlays)
      for (const char* host : {"a", "b"}) scene_.bases.set(host, Bytes(faults.blocks * kBlock + faults.rest));
    for (unsigned i = 0; i < faults.volumes; ++i) {
      const std::string name = "disk" + std::to_string(i);
      scene_.create("a", faults.blocks * kBlock + faults.rest, name);
      casts_.push_back(std::make_unique<Cast>(scene_, name, faults.blocks, std::vector<std::string>{"a"}, faults.rest));
    }
  }

  void run() {
    for (auto& cast : casts_) cast->start();
    scene_.run_for(Duration::milliseconds(10));
    scene_.pull("b", "a");
    for (auto& cast : casts_) cast->start_early_reads("b");
    plan();
    const Duration chaos = Duration::milliseconds(250);
    scene_.run_for(chaos);
    ASSERT_FALSE(scene_.world.failed()) << scene_.why();
    ASSERT_NO_FATAL_FAILURE(settle());
    scene_.run_for(Duration::milliseconds(20));
    for (auto& cast : casts_) cast->stop();
    ASSERT_TRUE(
        scene_.run_until([&] { return std::all_of(casts_.begin(), casts_.end(), [](auto& cast) { return cast->is_idle(); }); },
                         Duration::seconds(30)))
        << "a client's request hangs" << scene_.why();
    for (auto& cast : casts_) {
      cast->check_all("b");
      early_reads += cast->count_early_reads();
    }
    compared = scene_.hand_overs_compared;
    ASSERT_FALSE(scene_.world.failed()) << scene_.why();
  }

  std::uint64_t early_reads = 0;
  std::uint64_t compared = 0;

 private:
  Duration some_time() { return scene_.world.between(scene_.world.random(), Duration{}, Duration::milliseconds(200)); }
  void plan() {
    for (unsigned i = 0; i < faults_.cuts; ++i) scene_.world.schedule(some_time(), [this] { scene_.fabric.cut("a", "b"); });
    for (unsigned i = 0; i < faults_.crashes_of_a; ++i) scene_.world.schedule(some_time(), [this] { crash("a"); });
    for (unsigned i = 0; i < faults_.crashes_of_b; ++i) scene_.world.schedule(some_time(), [this] { crash("b"); });
    for (unsigned i = 0; i < faults_.stalls; ++i)
      scene_.world.schedule(some_time(), [this] {
        sim::Host& machine = scene_.machine(scene_.world.random().chance(0.5) ? "a" : "b");
        if (machine.is_up()) machine.stall(scene_.world.between(scene_.world.random(), Duration{}, Duration::seconds(1)));
      });
  }
  void crash(const std::string& host) {
    if (!scene_.machine(host).is_up()) return;
    const bool power = scene_.world.random().chance(faults_.power_chance);
    for (auto& cast : casts_) cast->note_crash(host, power);
    scene_.crash(host, {power ? sim::CrashNotice::silence : sim::CrashNotice::reset, power});
    scene_.world.schedule(scene_.world.between(scene_.world.random(), Duration::milliseconds(1), Duration::milliseconds(50)),
                          [this, host] {
                            scene_.restart(host);
                            // Peers that heard nothing learn now, as keep-alive probes tell them.
                            for (const char* peer : {"a", "b", "user"})
                              if (peer != host) scene_.fabric.cut(host, peer);
                            for (auto& cast : casts_) {
                              if (host == "a") cast->start_face("a");
                              if (host == "b") cast->start_early_reads("b");
                            }
                          });
  }
  // Everybody is back: the move ends by itself, or when an operator asks once more.
  void settle() {
    const auto settled = [&] { return scene_.machine("a").is_up() && scene_.machine("b").is_up() && scene_.owns_all("b"); };
    for (int attempt = 0; attempt < 4; ++attempt) {
      if (scene_.run_until(settled, Duration::seconds(2))) return;
      ASSERT_FALSE(scene_.world.failed()) << scene_.why();
      clear_strays();
      scene_.pull("b", "a");
    }
    FAIL() << faults_.name << ": the volumes do not arrive" << scene_.why();
  }
  // What an operator does with a `.partial` whose record never became durable: it is named, and moved away by hand.
  void clear_strays() {
    const std::vector<std::string> names = scene_.files("b");
    for (const std::string& name : scene_.volume_names) {
      const auto there = [&](const std::string& file) { return std::find(names.begin(), names.end(), file) != names.end(); };
      if (there(name + ".own") || scene_.volume("b", name)) continue;
      for (const std::string& stray : {name + ".partial", name})
        if (there(stray))
          (void)sim::wait_for<void>(scene_.world,
                                    [&](Done<void> done) { scene_.on("b").directory.remove(stray, std::move(done)); });
    }
  }

  const Faults& faults_;
  Scene scene_;
  std::vector<std::unique_ptr<Cast>> casts_;
};

TEST(MoveUnderFaults, EndsWithOneOwnerAndLosesNothing) {
  const std::vector<Faults> rows = {
      {.name = "no fault", .seeds = 20},
      {.name = "a cut", .seeds = 40, .cuts = 1},
      {.name = "many cuts", .seeds = 20, .cuts = 6},
      {.name = "A crashes", .seeds = 50, .crashes_of_a = 1},
      {.name = "B crashes", .seeds = 50, .crashes_of_b = 1},
      {.name = "both crash, more than once, and cuts", .seeds = 60, .cuts = 2, .crashes_of_a = 2, .crashes_of_b = 2},
      {.name = "slow disks that answer in any order", .seeds = 20, .slow_disks = true},
      {.name = "slow disks and cuts", .seeds = 40, .cuts = 6, .slow_disks = true},
      {.name = "slow disks and crashes", .seeds = 30, .crashes_of_a = 1, .crashes_of_b = 1, .slow_disks = true},
      {.name = "machines that stand still", .seeds = 20, .cuts = 1, .stalls = 3},
      {.name = "three volumes in one group", .seeds = 15, .volumes = 3, .blocks = 24},
      {.name = "three volumes, crashes and cuts",
       .seeds = 30,
       .cuts = 1,
       .crashes_of_a = 1,
       .crashes_of_b = 1,
       .volumes = 3,
       .blocks = 24},
      {.name = "a short last block", .seeds = 10, .rest = 1000},
      {.name = "a short last block, crashes", .seeds = 15, .crashes_of_a = 1, .crashes_of_b = 1, .rest = 513},
      {.name = "overlays, cuts", .seeds = 10, .cuts = 3, .rest = 1000, .overlays = true},
      {.name = "overlays, crashes and cuts", .seeds = 40, .cuts = 1, .crashes_of_a = 1, .crashes_of_b = 1, .overlays = true},
      {.name = "volumes in memory", .seeds = 10, .cuts = 1, .place = ScenePlace::memory},
      {.name = "volumes on devices, cuts", .seeds = 10, .cuts = 3, .rest = 1000, .place = ScenePlace::devices},
      {.name = "volumes on devices, crashes and cuts",
       .seeds = 40,
       .cuts = 1,
       .crashes_of_a = 1,
       .crashes_of_b = 1,
       .place = ScenePlace::devices},
  };
  // The rows share the seeds: of 500 in all, as many as each says.
  const sim::Seeds all = sim::scenario_seeds(500);
  for (const Faults& row : rows) {
    const std::uint64_t share = std::max<std::uint64_t>(1, row.seeds * all.count / 500);
    std::uint64_t early_reads = 0, compared = 0;
    for (const std::uint64_t seed : sim::Seeds{all.first, share}) {
      SCOPED_TRACE(row.name + ", seed " + std::to_string(seed));
      FaultRun run(row, seed);
      run.run();
      early_reads += run.early_reads;
      compared += run.compared;
      if (testing::Test::HasFatalFailure() || testing::Test::HasFailure()) return;
    }
    if (share < 5) continue;
    EXPECT_GT(early_reads, 0u) << row.name << ": no reader came early: it tests little";
    if (row.place != ScenePlace::memory) {
      EXPECT_GT(compared, 0u) << row.name << ": no hand-over was compared";
    }
  }
}

}  // namespace
}  // namespace godwit::volume
