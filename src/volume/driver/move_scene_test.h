// A scene for tests of whole moves: simulated machines that run production's drivers, and checkers; who uses the volumes is in
// move_cast_test.h. The checkers run after every event of the world: at most one owner, a READY copy equals its locked source and
// is durable, and no host asks for a block twice that it still lacks.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "export/nbd_server.h"
#include "sim/block_devices.h"
#include "sim/host.h"
#include "store/memory_device.h"
#include "volume/driver/device_shelf.h"
#include "volume/driver/move_base_test.h"
#include "volume/driver/need_watch_test.h"
#include "volume/driver/planted_disk_test.h"
#include "volume/driver/volume_host.h"

namespace godwit::volume {

inline constexpr std::uint32_t kBlock = 4096;

// What holds the data of a scene's volumes.
enum class ScenePlace : std::uint8_t { files, devices, memory };

// A device for a volume, larger than it and full of what somebody else left there; none is made where there is one.
inline void add_device(sim::Host& machine, const std::string& name, std::uint64_t size, net::Done<std::string> done) {
  const std::string path = sim::SimBlockDevices::path_of(name);
  if (machine.disk().find("dev", name) != nullptr) return done(path);
  machine.directory("dev").create_device(
      name, size + kBlock, [path, size, done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> made) mutable {
        if (!made) return done(fail(std::move(made).error()));
        std::shared_ptr<store::BlockDevice> device = std::move(*made);
        auto left = std::make_shared<Bytes>(size + kBlock, std::byte{0xdd});
        device->write(0, *left, store::Durability::durable,
                      [path, device, left, done = std::move(done)](Result<void> written) mutable {
                        if (!written) return done(fail(std::move(written).error()));
                        done(path);
                      });
      });
}

// A copy maker over a simulated folder, there as overlays where the machine has an image for them, over devices, or in memory.
class ShelfMaker final : public CopyMaker {
 public:
  ShelfMaker(VolumeShelf& shelf, DeviceShelf& devices, sim::Host& machine, const BaseImages& bases, ScenePlace place)
      : shelf_(shelf), devices_(devices), machine_(machine), bases_(bases), place_(place) {}
  void make(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from, Random random,
            net::Done<ShelfItem> done) override {
    auto lay = [this, done = std::move(done)](Result<ShelfItem> item) mutable {
      if (!item) return done(std::move(item));
      bases_.lay_anew(machine_, shelf_.directory(), std::move(*item), std::move(done));
    };
    if (place_ == ScenePlace::files) return shelf_.receive(me, name, volume, geometry, std::move(from), random, std::move(lay));
    if (place_ == ScenePlace::devices)
      return add_device(
          machine_, name, geometry.size_bytes,
          [this, me, name, volume, geometry, from, random, done = std::move(lay)](Result<std::string> path) mutable {
            if (!path) return done(fail(std::move(path).error()));
            devices_.receive(me, name, *path, volume, geometry, std::move(from), {}, random, std::move(done));
          });
    ShelfItem item{.name = name,
                   .record = Ownership::new_receiving(me, random, volume, geometry, std::move(from), name),
                   .fresh = true,
                   .pristine = true,
                   .store = std::move(*store::make_memory_device(geometry.size_bytes, machine_.scheduler())),
                   .place = {}};
    lay(std::move(item));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    if (place_ == ScenePlace::memory) return done({});
    if (place_ == ScenePlace::devices) return shelf_.directory().remove(name + ".own", std::move(done));
    shelf_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    if (place_ != ScenePlace::files) return done({});
    shelf_.remove_data(data_name, std::move(done));
  }

 private:
  VolumeShelf& shelf_;
  DeviceShelf& devices_;
  sim::Host& machine_;
  const BaseImages& bases_;
  ScenePlace place_;
};

// What a godwit process is, on a simulated machine.
struct Process {
  Process(sim::Host& on, Boot boot, HostOptions options, std::vector<std::string>& notes, DiskHooks& hooks,
          const BaseImages& images, ScenePlace place, NeedCounts& needs)
      : machine(on),
        bases(images),
        directory(on.directory(), hooks, on.scheduler()),
        devices(on),
        network(on.network(), needs),
        shelf(directory, &devices),
        device_shelf(directory, devices),
        copies(shelf, device_shelf, on, images, place),
        buffers(64 << 20),
        me{id_of(on.name()), boot, on.name(), on.name() + ":5170", on.name() + ":10809"},
        gate(owner_proxy, [this](const VolumeId& id) { return host->find(id); }),
        server(on.scheduler(), buffers, exports::NbdLimits{}, &gate) {
    options.trusted_hosts = {"a", "b", "c"};
    gate.set_server(&server);
    host = std::make_unique<VolumeHost>(DriverContext{on.scheduler(), network, on.workers(), buffers}, me, options, copies,
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
    HostId id;
    for (std::size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<std::byte>(name[i % name.size()]);
    return id;
  }
  // Opens everything that has a record, as a start does.
  void open_all(std::function<void()> opened = {}) {
    shelf.list([this, opened](Result<std::vector<std::string>> names) {
      if (!names) return;
      auto left = std::make_shared<std::size_t>(names->size());
      if (names->empty() && opened) opened();
      for (const std::string& name : *names)
        shelf.open(me, name, [this, name, left, opened](Result<ShelfItem> item) {
          auto add = [this, name, left, opened](Result<ShelfItem> laid) {
            if (!laid) host->note(NoteLevel::warning, "opening " + name + ": " + laid.error().message());
            if (laid) (void)host->add(std::move(*laid));
            if (--*left > 0) return;
            host->resume_dialling();
            if (opened) opened();
          };
          if (item && item->record.kind == Record::Kind::overlay)
            return bases.lay(machine, directory, std::move(*item), std::move(add));
          add(std::move(item));
        });
    });
  }

  sim::Host& machine;
  const BaseImages& bases;
  HookedDirectory directory;
  sim::SimBlockDevices devices;
  NeedWatch network;
  VolumeShelf shelf;
  DeviceShelf device_shelf;
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

// Rounds, and what follows a lost connection, as fast as a test wants them.
inline HostOptions quick_options() {
  HostOptions options;
  options.source.config.dirty_threshold_blocks = 4;
  options.source.config.rounds_max = 4;
  options.redial_min = Duration::milliseconds(5);
  options.redial_max = Duration::milliseconds(100);
  return options;
}

struct SceneOptions {
  HostOptions host;
  ScenePlace place = ScenePlace::files;
  std::size_t trace_lines = 0;
};

struct Scene {
  explicit Scene(std::uint64_t seed, HostOptions host_options = {}, std::size_t trace_lines = 0)
      : Scene(seed, SceneOptions{std::move(host_options), ScenePlace::files, trace_lines}) {}
  Scene(std::uint64_t seed, SceneOptions scene_options)
      : world(seed, {.trace_lines = scene_options.trace_lines}),
        fabric(world),
        options(std::move(scene_options)),
        a(fabric, "a"),
        b(fabric, "b"),
        c(fabric, "c"),
        user(fabric, "user") {
    for (sim::Host* machine : {&a, &b, &c})
      machine->run([this](sim::Host& on) -> std::shared_ptr<void> {
        auto process = std::make_shared<Process>(on, Boot{++boots[on.name()]}, options.host, notes, hooks[on.name()], bases,
                                                 options.place, needs);
        processes[on.name()] = process.get();
        if (boots[on.name()] > 1) process->open_all();
        return process;
      });
  }
  sim::Host& machine(const std::string& name) { return name == "a" ? a : name == "b" ? b : c; }
  Process& on(const std::string& name) { return *processes.at(name); }
  Volume* volume(const std::string& host, const std::string& name = "disk") {
    return processes.at(host) ? processes.at(host)->host->find(name) : nullptr;
  }
  void crash(const std::string& host, sim::Crash how = {}) {
    processes[host] = nullptr;
    machine(host).crash(how);
  }
  void restart(const std::string& host) { machine(host).restart(); }

  void create(const std::string& host, std::uint64_t size, const std::string& name = "disk") {
    Process& process = on(host);
    bool done = false;
    auto made = [&](Result<ShelfItem> item) {
      ASSERT_TRUE(item) << item.error().message();
      ASSERT_TRUE(process.host->add(std::move(*item)));
      done = true;
    };
    Random random(world.random().next());
    if (options.place == ScenePlace::devices) {
      add_device(process.machine, name, size, [&, name, size](Result<std::string> path) {
        ASSERT_TRUE(path) << path.error().message();
        process.device_shelf.create(process.me, name, *path, size, kBlock, random, made);
      });
    } else if (options.place == ScenePlace::memory) {
      const Geometry geometry{size, kBlock};
      made(ShelfItem{.name = name,
                     .record = Ownership::new_owned(process.me, random, geometry, name),
                     .fresh = true,
                     .pristine = true,
                     .store = std::move(*store::make_memory_device(size, process.machine.scheduler())),
                     .place = {}});
    } else {
      process.shelf.create(process.me, name, Geometry{size, kBlock}, random, [&](Result<ShelfItem> item) {
        if (!item) return made(std::move(item));
        bases.lay_anew(process.machine, process.directory, std::move(*item), made);
      });
    }
    ASSERT_TRUE(run_until([&] { return done && volume(host, name)->ownership().is_owner(); }, Duration::seconds(10))) << why();
    if (std::find(volume_names.begin(), volume_names.end(), name) == volume_names.end()) volume_names.push_back(name);
  }
  PullStatus& pull(const std::string& to, const std::string& from, std::vector<std::string> names = {}) {
    pulls.emplace_back();
    PullStatus& status = pulls.back();
    on(to).host->pull(PullRequest{*net::Address::parse(from + ":5170", 0), std::move(names), "", nullptr, {}},
                      [&status](const PullStatus& s) { status = s; });
    return status;
  }
  bool owns(const std::string& host, const std::string& name = "disk") {
    const Volume* v = processes.at(host) ? volume(host, name) : nullptr;
    return v && v->ownership().is_owner();
  }
  bool owns_all(const std::string& host) {
    return std::all_of(volume_names.begin(), volume_names.end(), [&](const std::string& name) { return owns(host, name); });
  }
  std::vector<std::string> files(const std::string& host) { return machine(host).disk().names("data"); }

  // As World's, and after every event the checkers look.
  bool run_until(const std::function<bool()>& done, Duration limit) {
    return world.run_until(
        [&] {
          check();
          return done();
        },
        limit);
  }
  void run_for(Duration duration) {
    run_until([] { return false; }, duration);
  }

  void check() {
    for (const std::string& name : volume_names) {
      int owners = 0, acceptors = 0;
      for (const auto& [host, process] : processes) {
        Volume* v = process ? process->host->find(name) : nullptr;
        if (!v) continue;
        const bool failed = v->ownership().is_failed();
        owners += !failed && v->ownership().durable_record().state == CopyState::owned;
        acceptors += v->face().mode() == FaceMode::serve;
        std::uint64_t& seen = seen_gen[host + "/" + name];
        if (v->ownership().durable_record().gen == seen || failed) continue;
        seen = v->ownership().durable_record().gen;
        check_change(host, *v);
      }
      if (owners > 1) world.fail("two hosts own volume " + name);
      if (acceptors > 1) world.fail("two hosts accept writes to volume " + name);
    }
    if (!needs.finding.empty()) world.fail(needs.finding);
  }
  // A record has become durable.
  void check_change(const std::string& host, Volume& taker) {
    if (options.place == ScenePlace::memory || taker.ownership().durable_record().state != CopyState::ready) return;
    const Record& ready = taker.ownership().durable_record();
    for (const auto& [other, process] : processes) {
      Volume* giver = process && other != host ? process->host->find(taker.name()) : nullptr;
      if (!giver || giver->ownership().is_failed() || !giver->ownership().is_locked() || !giver->ownership().session()) continue;
      if (giver->ownership().prepare().h != ready.h) continue;
      ++hand_overs_compared;
      const sim::DiskFile* from = data_of(other, giver->ownership().durable_record());
      const sim::DiskFile* to = data_of(host, ready);
      if (!from || !to) return world.fail("a data file is missing at READY");
      const std::uint64_t size = ready.geometry.size_bytes;
      const Bitset* in_overlay = giver->overlay() ? &giver->overlay()->overlay_blocks() : nullptr;
      const Bytes had = bases.content(other, from->live(), size, in_overlay, nullptr);
      const Bytes has =
          bases.content(host, to->durable(), size, nullptr, machine(host).disk().find("data", taker.name() + ".cow"));
      if (had == has) continue;
      std::uint64_t at = 0;
      while (had[at] == has[at]) ++at;
      world.fail("READY at " + host + " though block " + std::to_string(at / kBlock) +
                 " is not durable there as the locked source has it");
    }
  }

  const sim::DiskFile* data_of(const std::string& host, const Record& record) {
    if (record.kind != Record::Kind::block_device) return machine(host).disk().find("data", record.data_name);
    return machine(host).disk().find("dev", record.data_name.substr(sim::SimBlockDevices::path_of("").size()));
  }

  std::string all_notes() const {
    std::string text;
    for (const std::string& note : notes) text += note + "\n";
    return text;
  }
  std::string why() const { return world.report() + "\nseed " + std::to_string(world.seed()) + ", notes:\n" + all_notes(); }

  sim::World world;
  sim::Fabric fabric;
  SceneOptions options;
  BaseImages bases;  // to be set before anything is created
  std::map<std::string, std::uint64_t> boots;
  std::map<std::string, Process*> processes;
  std::map<std::string, DiskHooks> hooks;
  std::map<std::string, std::uint64_t> seen_gen;
  std::vector<std::string> volume_names;
  std::vector<std::string> notes;
  std::deque<PullStatus> pulls;
  std::uint64_t hand_overs_compared = 0;
  NeedCounts needs;
  sim::Host a;
  sim::Host b;
  sim::Host c;
  sim::Host user;
};

}  // namespace godwit::volume
