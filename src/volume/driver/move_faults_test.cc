// Moves with everything that goes wrong: connections cut, processes killed, power lost, disks slow, peers that stand still. A
// fault may end a move, delay it or begin it again; it never makes two owners, loses a flushed write, shows a reader anything
// torn, absent or (at the owner) old, or leaves the volume without an owner once everybody is back.
#include <cstdio>

#include "volume/driver/move_cast_test.h"
#include "volume/driver/scene_seeds_test.h"

namespace godwit::volume {
namespace {

using Path = std::vector<std::string>;

// What may go wrong while a move is under way, and how often. The volume goes along the path; the faults strike on its last hop,
// from the giver to the taker.
struct Faults {
  std::string name;
  std::uint64_t seeds = 0;
  Path path = {"a", "b"};
  unsigned cuts = 0;
  unsigned crashes_of_giver = 0;
  unsigned crashes_of_taker = 0;
  unsigned crashes_of_bystander = 0;  // who had the volume before the giver
  double power_chance = 0.5;          // that a crash is a loss of power
  unsigned stalls = 0;                // a machine stands still for up to a second
  unsigned stuck_disks = 0;           // a disk completes nothing for up to a quarter of a second
  bool slow_disks = false;            // and answers in any order
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
      : faults_(faults),
        giver_(faults.path[faults.path.size() - 2]),
        taker_(faults.path.back()),
        // On a chain the clients are at B; those that A relays have stories of their own (move_stories_test.cc).
        home_(is_chain() ? "b" : "a"),
        scene_(seed, SceneOptions{quick_options(), faults.place, trace_lines()}) {
    if (faults.slow_disks)
      for (const std::string& host : hosts()) scene_.machine(host).disk().set_quality(slow_disk());
    if (faults.overlays)
      for (const std::string& host : hosts()) scene_.bases.set(host, Bytes(faults.blocks * kBlock + faults.rest));
    for (unsigned i = 0; i < faults.volumes; ++i) {
      const std::string name = "disk" + std::to_string(i);
      scene_.create("a", faults.blocks * kBlock + faults.rest, name);
      casts_.push_back(std::make_unique<Cast>(scene_, name, faults.blocks, std::vector<std::string>{home_}, faults.rest));
    }
  }

  void run() {
    for (auto& cast : casts_) cast->start();
    scene_.run_for(Duration::milliseconds(10));
    for (std::size_t hop = 0; hop + 2 < faults_.path.size(); ++hop)
      ASSERT_NO_FATAL_FAILURE(move_quietly(faults_.path[hop], faults_.path[hop + 1]));
    if (is_chain())
      for (auto& cast : casts_) cast->move_face(home_);
    scene_.pull(taker_, giver_);
    for (auto& cast : casts_) cast->start_early_reads(taker_);
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
      cast->check_all(taker_);
      early_reads += cast->count_early_reads();
    }
    compared = scene_.hand_overs_compared;
    needs_answered = scene_.needs.answered;
    ASSERT_FALSE(scene_.world.failed()) << scene_.why();
  }

  std::uint64_t early_reads = 0;
  std::uint64_t compared = 0;
  std::uint64_t needs_answered = 0;

 private:
  bool is_chain() const { return taker_ == "c"; }
  std::vector<std::string> hosts() const { return is_chain() ? Path{"a", "b", "c"} : Path{"a", "b"}; }
  const Record& durable(const std::string& host, const Cast& cast) {
    return scene_.volume(host, cast.name())->ownership().durable_record();
  }
  void move_quietly(const std::string& from, const std::string& to) {
    scene_.pull(to, from);
    for (auto& cast : casts_) cast->start_early_reads(to);
    const auto moved = [&](auto& cast) {
      return scene_.owns(to, cast->name()) && durable(from, *cast).heard && !durable(to, *cast).untold;
    };
    ASSERT_TRUE(scene_.run_until([&] { return std::all_of(casts_.begin(), casts_.end(), moved); }, Duration::seconds(20)))
        << from << " to " << to << scene_.why();
    scene_.run_for(Duration::milliseconds(10));
    ASSERT_FALSE(scene_.world.failed()) << scene_.why();
  }
  Duration some_time() { return scene_.world.between(scene_.world.random(), Duration{}, Duration::milliseconds(200)); }
  std::string some_host() { return scene_.world.random().chance(0.5) ? giver_ : taker_; }
  void plan() {
    sim::World& world = scene_.world;
    for (unsigned i = 0; i < faults_.cuts; ++i) world.schedule(some_time(), [this] { scene_.fabric.cut(giver_, taker_); });
    for (unsigned i = 0; i < faults_.crashes_of_giver; ++i) world.schedule(some_time(), [this] { crash(giver_); });
    for (unsigned i = 0; i < faults_.crashes_of_taker; ++i) world.schedule(some_time(), [this] { crash(taker_); });
    for (unsigned i = 0; i < faults_.crashes_of_bystander; ++i) world.schedule(some_time(), [this] { crash("a"); });
    for (unsigned i = 0; i < faults_.stalls; ++i)
      world.schedule(some_time(), [this, &world] {
        sim::Host& machine = scene_.machine(some_host());
        if (machine.is_up()) machine.stall(world.between(world.random(), Duration{}, Duration::seconds(1)));
      });
    for (unsigned i = 0; i < faults_.stuck_disks; ++i)
      world.schedule(some_time(), [this, &world] {
        sim::Disk& disk = scene_.machine(some_host()).disk();
        disk.set_stuck(true);
        world.schedule(world.between(world.random(), Duration{}, Duration::milliseconds(250)),
                       [&disk] { disk.set_stuck(false); });
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
                            for (const char* peer : {"a", "b", "c", "user"})
                              if (peer != host) scene_.fabric.cut(host, peer);
                            for (auto& cast : casts_) {
                              if (host == home_) cast->start_face(home_);
                              if (host == taker_) cast->start_early_reads(taker_);
                            }
                          });
  }
  // Everybody is back: the move ends by itself, or when an operator asks once more.
  void settle() {
    const auto is_up = [&](const std::string& host) { return scene_.machine(host).is_up(); };
    const std::vector<std::string> all = hosts();
    const auto settled = [&] { return std::all_of(all.begin(), all.end(), is_up) && scene_.owns_all(taker_); };
    for (int attempt = 0; attempt < 4; ++attempt) {
      if (scene_.run_until(settled, Duration::seconds(2))) return;
      ASSERT_FALSE(scene_.world.failed()) << scene_.why();
      clear_strays();
      scene_.pull(taker_, giver_);
    }
    FAIL() << faults_.name << ": the volumes do not arrive" << scene_.why();
  }
  // What an operator does with a `.partial` whose record never became durable: it is named, and moved away by hand.
  void clear_strays() {
    const std::vector<std::string> names = scene_.files(taker_);
    for (const std::string& name : scene_.volume_names) {
      const auto there = [&](const std::string& file) { return std::find(names.begin(), names.end(), file) != names.end(); };
      if (there(name + ".own") || scene_.volume(taker_, name)) continue;
      for (const std::string& stray : {name + ".partial", name})
        if (there(stray))
          (void)sim::wait_for<void>(scene_.world,
                                    [&](Done<void> done) { scene_.on(taker_).directory.remove(stray, std::move(done)); });
    }
  }

  const Faults& faults_;
  const std::string giver_, taker_;
  const std::string home_;  // where the clients are
  Scene scene_;
  std::vector<std::unique_ptr<Cast>> casts_;
};

const Path kBack = {"a", "b", "a"};
const Path kChain = {"a", "b", "c"};

std::vector<Faults> fault_rows() {
  return {
      {.name = "no fault", .seeds = 20},
      {.name = "a cut", .seeds = 40, .cuts = 1},
      {.name = "many cuts", .seeds = 20, .cuts = 6},
      {.name = "A crashes", .seeds = 50, .crashes_of_giver = 1},
      {.name = "B crashes", .seeds = 50, .crashes_of_taker = 1},
      {.name = "both crash, more than once, and cuts", .seeds = 60, .cuts = 2, .crashes_of_giver = 2, .crashes_of_taker = 2},
      {.name = "slow disks that answer in any order", .seeds = 20, .slow_disks = true},
      {.name = "slow disks and cuts", .seeds = 40, .cuts = 6, .slow_disks = true},
      {.name = "slow disks and crashes", .seeds = 30, .crashes_of_giver = 1, .crashes_of_taker = 1, .slow_disks = true},
      {.name = "stuck disks", .seeds = 20, .stuck_disks = 3},
      {.name = "machines that stand still", .seeds = 20, .cuts = 1, .stalls = 3},
      {.name = "three volumes in one group", .seeds = 15, .volumes = 3, .blocks = 24},
      {.name = "three volumes, crashes and cuts",
       .seeds = 30,
       .cuts = 1,
       .crashes_of_giver = 1,
       .crashes_of_taker = 1,
       .volumes = 3,
       .blocks = 24},
      {.name = "a short last block", .seeds = 10, .rest = 1000},
      {.name = "a short last block, crashes", .seeds = 15, .crashes_of_giver = 1, .crashes_of_taker = 1, .rest = 513},
      {.name = "overlays, cuts", .seeds = 10, .cuts = 3, .rest = 1000, .overlays = true},
      {.name = "overlays, crashes and cuts",
       .seeds = 40,
       .cuts = 1,
       .crashes_of_giver = 1,
       .crashes_of_taker = 1,
       .overlays = true},
      {.name = "volumes in memory", .seeds = 10, .cuts = 1, .place = ScenePlace::memory},
      {.name = "volumes on devices, cuts", .seeds = 10, .cuts = 3, .rest = 1000, .place = ScenePlace::devices},
      {.name = "volumes on devices, crashes and cuts",
       .seeds = 40,
       .cuts = 1,
       .crashes_of_giver = 1,
       .crashes_of_taker = 1,
       .place = ScenePlace::devices},
      {.name = "back, no fault", .seeds = 5, .path = kBack},
      {.name = "back, cuts", .seeds = 20, .path = kBack, .cuts = 3},
      {.name = "back, B crashes", .seeds = 20, .path = kBack, .crashes_of_giver = 1},
      {.name = "back, A crashes", .seeds = 20, .path = kBack, .crashes_of_taker = 1},
      {.name = "back, both crash, and cuts", .seeds = 25, .path = kBack, .cuts = 2, .crashes_of_giver = 2, .crashes_of_taker = 2},
      {.name = "back, slow and stuck disks, and cuts",
       .seeds = 15,
       .path = kBack,
       .cuts = 2,
       .stuck_disks = 2,
       .slow_disks = true},
      {.name = "back, machines that stand still", .seeds = 10, .path = kBack, .cuts = 1, .stalls = 3},
      {.name = "on to C, no fault", .seeds = 5, .path = kChain},
      {.name = "on to C, cuts", .seeds = 20, .path = kChain, .cuts = 3},
      {.name = "on to C, B crashes", .seeds = 20, .path = kChain, .crashes_of_giver = 1},
      {.name = "on to C, C crashes", .seeds = 20, .path = kChain, .crashes_of_taker = 1},
      {.name = "on to C, all crash, and cuts",
       .seeds = 25,
       .path = kChain,
       .cuts = 2,
       .crashes_of_giver = 1,
       .crashes_of_taker = 1,
       .crashes_of_bystander = 1},
      {.name = "on to C, slow and stuck disks, and crashes",
       .seeds = 15,
       .path = kChain,
       .crashes_of_giver = 1,
       .crashes_of_taker = 1,
       .stuck_disks = 2,
       .slow_disks = true},
  };
}

void run_row(const Faults& row) {
  std::uint64_t early_reads = 0, compared = 0, needs_answered = 0;
  const sim::Seeds seeds = sim::scenario_seeds(row.seeds);
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(row.name + ", seed " + std::to_string(seed));
    FaultRun run(row, seed);
    run.run();
    early_reads += run.early_reads;
    compared += run.compared;
    needs_answered += run.needs_answered;
    if (testing::Test::HasFatalFailure() || testing::Test::HasFailure()) return;
  }
  if (seeds.count < 5) return;
  EXPECT_GT(early_reads, 0u) << row.name << ": no reader came early: it tests little";
  EXPECT_GT(needs_answered, 0u) << row.name << ": no absent block was asked for";
  if (row.place != ScenePlace::memory) {
    EXPECT_GT(compared, 0u) << row.name << ": no hand-over was compared";
  }
}

// The rows of one path; each path is a test of its own, so that they run side by side.
void run_rows(const Path& path) {
  for (const Faults& row : fault_rows())
    if (row.path == path && !testing::Test::HasFailure()) run_row(row);
}

TEST(MoveUnderFaults, EndsWithOneOwnerAndLosesNothing) {
  run_rows({"a", "b"});
}
TEST(MoveUnderFaults, BackToWhereItCameFromEndsWithOneOwnerAndLosesNothing) {
  run_rows(kBack);
}
TEST(MoveUnderFaults, OnToAThirdHostEndsWithOneOwnerAndLosesNothing) {
  run_rows(kChain);
}

TEST(SceneSeeds, AreFiveHundredAndMore) {
  std::uint64_t by_default = 0, stories = 0, faults = 0;
  for (const SceneSeeds& one : kSceneSeeds) by_default += one.count, stories += sim::scenario_seeds(one.count).count;
  for (const Faults& row : fault_rows()) by_default += row.seeds, faults += sim::scenario_seeds(row.seeds).count;
  std::printf("simulated worlds of the volume's scenarios: %llu under faults, %llu in stories\n",
              static_cast<unsigned long long>(faults), static_cast<unsigned long long>(stories));
  EXPECT_GE(by_default, 500u);
}

}  // namespace
}  // namespace godwit::volume
