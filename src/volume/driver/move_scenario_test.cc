// Two hosts, their production drivers, and a client that writes all the while: a volume moves from A to B in the simulated world,
// under faults chosen by the seed, and the checkers look at what every client saw. GODWIT_SEEDS sets the number of seeds.

#include <gtest/gtest.h>

#include <set>

#include "export/nbd_server.h"
#include "sim/block_client.h"
#include "sim/host.h"
#include "volume/driver/volume_host.h"

namespace godwit::volume {
namespace {

constexpr std::uint32_t kBlock = 4096;

// A copy maker over a simulated folder.
class ShelfMaker final : public CopyMaker {
 public:
  explicit ShelfMaker(VolumeShelf& shelf) : shelf_(shelf) {}
  void make(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from, Random random,
            net::Done<ShelfItem> done) override {
    shelf_.receive(me, name, volume, geometry, std::move(from), random, std::move(done));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    shelf_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    shelf_.remove_data(data_name, std::move(done));
  }

 private:
  VolumeShelf& shelf_;
};

// What a godwit process is, on a simulated machine.
struct Process {
  Process(sim::Host& on, Boot boot, HostOptions options, std::vector<std::string>& notes)
      : machine(on),
        shelf(on.directory()),
        copies(shelf),
        buffers(64 << 20),
        me{id_of(on.name()), boot, on.name(), on.name() + ":5170", on.name() + ":10809"},
        gate(owner_proxy, [this](const VolumeId& id) { return host->find(id); }),
        server(on.scheduler(), buffers, exports::NbdLimits{}, &gate) {
    options.trusted_hosts = {"a", "b", "c"};
    gate.set_server(&server);
    host = std::make_unique<VolumeHost>(DriverContext{on.scheduler(), on.network(), on.workers(), buffers}, me, options, copies,
                                        &server, &gate, nullptr, Random(on.world().random().next()),
                                        [this, &notes](NoteLevel, std::string text) {
                                          notes.push_back(machine.name() + ": " + text);
                                          if (machine.world().tracing()) machine.world().trace(notes.back());
                                        });
    owner_proxy.host = host.get();
    host_listener = std::move(*on.network().listen(*net::Address::parse(on.name() + ":5170", 0),
                                                   [this](auto stream) { host->accept(std::move(stream)); }));
    export_listener = std::move(*on.network().listen(*net::Address::parse(on.name() + ":10809", 0),
                                                     [this](auto stream) { server.accept(std::move(stream)); }));
  }
  // The gate is built before the host it asks.
  struct OwnerProxy final : LinkOwner {
    VolumeHost* host = nullptr;
    LocalHost local_host() const override { return host->local_host(); }
    void handle_link_up(ControlLink&) override {}
    void handle_control(ControlLink&, const ControlMessage&) override {}
    void handle_link_closed(ControlLink&, std::optional<Error>) override {}
    void note(NoteLevel level, std::string text) override { host->note(level, std::move(text)); }
  };
  static HostId id_of(const std::string& name) {
    Random random(std::hash<std::string>{}(name));
    return HostId::random(random);
  }
  // Opens everything that has a record, as a start does.
  void open_all(std::function<void()> opened = {}) {
    shelf.list([this, opened](Result<std::vector<std::string>> names) {
      auto left = std::make_shared<std::size_t>(names->size());
      if (names->empty() && opened) opened();
      for (const std::string& name : *names)
        shelf.open(me, name, [this, left, opened](Result<ShelfItem> item) {
          if (item && item->store) (void)host->add(std::move(*item));
          if (--*left > 0) return;
          host->resume_dialling();
          if (opened) opened();
        });
    });
  }

  sim::Host& machine;
  VolumeShelf shelf;
  ShelfMaker copies;
  net::BufferPool buffers;
  LocalHost me;
  OwnerProxy owner_proxy;
  RelayGate gate;
  exports::NbdServer server;
  std::unique_ptr<VolumeHost> host;
  std::unique_ptr<net::Listener> host_listener;
  std::unique_ptr<net::Listener> export_listener;
};

struct Scene {
  explicit Scene(std::uint64_t seed, HostOptions host_options = {}, std::size_t trace_lines = 0)
      : world(seed, {.trace_lines = trace_lines}),
        fabric(world),
        options(std::move(host_options)),
        a(fabric, "a"),
        b(fabric, "b") {
    for (sim::Host* machine : {&a, &b})
      machine->run([this](sim::Host& on) -> std::shared_ptr<void> {
        auto process = std::make_shared<Process>(on, Boot{++boots[on.name()]}, options, notes);
        processes[on.name()] = process.get();
        if (boots[on.name()] > 1) process->open_all();
        return process;
      });
  }
  Process& on(const std::string& name) { return *processes.at(name); }
  Volume* volume(const std::string& host, const std::string& name = "disk") {
    return processes.at(host) ? processes.at(host)->host->find(name) : nullptr;
  }
  void crash(sim::Host& machine, sim::Crash how = {}) {
    processes[machine.name()] = nullptr;
    machine.crash(how);
  }
  void create(const std::string& host, std::uint64_t size, const std::string& name = "disk") {
    Process& process = on(host);
    bool done = false;
    process.shelf.create(process.me, name, Geometry{size, kBlock}, Random(world.random().next()), [&](Result<ShelfItem> item) {
      ASSERT_TRUE(item) << item.error().message();
      ASSERT_TRUE(process.host->add(std::move(*item)));
      done = true;
    });
    ASSERT_TRUE(world.run_until([&] { return done && volume(host, name)->ownership().is_owner(); }, Duration::seconds(10)))
        << world.report();
  }
  void pull(const std::string& to, const std::string& from, std::vector<std::string> names = {}) {
    pulls.emplace_back();
    PullStatus& status = pulls.back();
    on(to).host->pull(PullRequest{*net::Address::parse(from + ":5170", 0), std::move(names), ""},
                      [&status](const PullStatus& s) { status = s; });
  }
  bool owns(const std::string& host, const std::string& name = "disk") {
    const Volume* v = processes.at(host) ? volume(host, name) : nullptr;
    return v && v->ownership().is_owner();
  }
  // Invariant 1: never two durable owners, never two that accept.
  void watch() {
    for (const std::string& name : {std::string("disk")})
      if (owns("a", name) && owns("b", name)) world.fail("two hosts own volume " + name);
    if (!world.failed()) world.schedule(Duration::microseconds(200), [this] { watch(); });
  }

  std::string all_notes() const {
    std::string text;
    for (const std::string& note : notes) text += note + "\n";
    return text;
  }

  sim::World world;
  sim::Fabric fabric;
  HostOptions options;
  std::map<std::string, std::uint64_t> boots;
  std::map<std::string, Process*> processes;
  std::vector<std::string> notes;
  std::deque<PullStatus> pulls;
  sim::Host a;
  sim::Host b;
};

// Everything a client can know about the volume is checked through the owner's face.
void check_everything(Scene& scene, const std::string& owner, sim::History& history, std::uint64_t blocks) {
  bool checked = false;
  sim::check_all(scene.volume(owner)->face(), history, blocks, [&](Result<std::uint64_t> count) {
    EXPECT_TRUE(count) << count.error().message();
    checked = true;
  });
  EXPECT_TRUE(scene.world.run_until([&] { return checked; }, Duration::seconds(30))) << scene.world.report() << scene.all_notes();
}

TEST(Move, AQuietVolumeArrivesWholeAndChangesItsOwner) {
  Scene scene(1, {}, 200);
  scene.create("a", 100 * kBlock + 100);
  scene.pull("b", "a");
  ASSERT_TRUE(scene.world.run_until([&] { return scene.owns("b"); }, Duration::seconds(20)))
      << scene.world.report() << scene.all_notes();
  EXPECT_EQ(scene.volume("a")->ownership().record().state, CopyState::relinquished);
  EXPECT_TRUE(scene.world.run_until([&] { return scene.volume("a")->ownership().durable_record().heard; }, Duration::seconds(5)));
  EXPECT_TRUE(
      scene.world.run_until([&] { return !scene.volume("b")->ownership().durable_record().untold; }, Duration::seconds(5)));
}

TEST(Move, AWriterGoesOnThroughTheHandOverWithoutReconnecting) {
  for (const std::uint64_t seed : sim::scenario_seeds(60)) {
    HostOptions options;
    options.source.config.dirty_threshold_blocks = 4;
    options.source.config.rounds_max = 5;
    Scene scene(seed, options, 300);
    constexpr std::uint64_t kBlocks = 64;
    scene.create("a", kBlocks * kBlock);
    scene.watch();
    sim::History history(scene.world, 1, kBlock);
    sim::BlockClient client(scene.a.scheduler(), scene.world.random().fork(), history,
                            [&]() -> store::BlockDevice* { return &scene.volume("a")->face(); }, {.block_count = kBlocks});
    client.start();
    scene.world.run_for(Duration::milliseconds(20));
    scene.pull("b", "a");
    ASSERT_TRUE(scene.world.run_until([&] { return scene.owns("b"); }, Duration::seconds(60)))
        << scene.world.report() << scene.all_notes();
    scene.world.run_for(Duration::milliseconds(50));
    client.stop();
    ASSERT_TRUE(scene.world.run_until([&] { return client.is_idle(); }, Duration::seconds(20)))
        << scene.world.fail_message("the client's requests hang") << scene.all_notes();
    EXPECT_EQ(client.count_failed(), 0u) << scene.world.fail_message("a request failed") << scene.all_notes();
    check_everything(scene, "b", history, kBlocks);
    ASSERT_FALSE(scene.world.failed()) << scene.world.report() << scene.all_notes();
  }
}

}  // namespace
}  // namespace godwit::volume
