// A scene for tests of whole moves: simulated machines that run production's drivers, clients of every kind, and checkers. The
// clients: a program on the host's own face, a program behind a real NBD connection from another machine, and readers at the
// destination from the first moment. The checkers run after every event of the world: at most one owner, a READY copy equals its
// locked source and is durable, and what was handed over is what the source had.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "export/nbd_client.h"
#include "export/nbd_server.h"
#include "sim/block_client.h"
#include "sim/host.h"
#include "store/memory_device.h"
#include "volume/driver/volume_host.h"

namespace godwit::volume {

inline constexpr std::uint32_t kBlock = 4096;

// Everything passes through to another device.
class ForwardingDevice : public store::BlockDevice {
 public:
  std::uint64_t size() const override { return target()->size(); }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    target()->read(base() + offset, into, std::move(done));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override {
    target()->write(base() + offset, from, durability, std::move(done));
  }
  void flush(Done<void> done) override { target()->flush(std::move(done)); }
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            Done<void> done) override {
    target()->zero(base() + offset, length, mode, durability, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override {
    target()->discard(base() + offset, length, std::move(done));
  }
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) override {
    target()->extents(base() + offset, length, std::move(done));
  }
  MutableBytes memory() override { return target()->memory(); }

 protected:
  virtual store::BlockDevice* target() const = 0;
  virtual std::uint64_t base() const { return 0; }
};

// Mistakes and failures of a host's disk that a test plants; shared by all its lives.
struct DiskHooks {
  std::uint64_t record_writes = 0;      // how many there were
  std::uint64_t fail_record_write = 0;  // the write of this number fails, done or not by its parity; 0: none
  bool loses_record_writes = false;     // a planted mistake: acknowledged without being done
  bool loses_flushes = false;           // likewise
};

class HookedDevice final : public ForwardingDevice {
 public:
  HookedDevice(std::unique_ptr<store::BlockDevice> device, DiskHooks& hooks, net::Scheduler& scheduler)
      : device_(std::move(device)), hooks_(hooks), scheduler_(scheduler) {}
  void flush(Done<void> done) override {
    if (!hooks_.loses_flushes) return device_->flush(std::move(done));
    scheduler_.post([done = std::move(done)]() mutable { done({}); });
  }

 private:
  store::BlockDevice* target() const override { return device_.get(); }
  std::unique_ptr<store::BlockDevice> device_;
  DiskHooks& hooks_;
  net::Scheduler& scheduler_;
};

class HookedDirectory final : public store::Directory {
 public:
  HookedDirectory(store::Directory& directory, DiskHooks& hooks, net::Scheduler& scheduler)
      : directory_(directory), hooks_(hooks), scheduler_(scheduler) {}
  void list(Done<std::vector<std::string>> done) override { directory_.list(std::move(done)); }
  void read_file(const std::string& name, Done<Bytes> done) override { directory_.read_file(name, std::move(done)); }
  // The first write of a record is a file made new; it fails like the others.
  void replace_file(const std::string& name, Bytes content, Done<void> done) override {
    if (++hooks_.record_writes != hooks_.fail_record_write)
      return directory_.replace_file(name, std::move(content), std::move(done));
    done(fail(ErrorKind::io, "planned by the test"));
  }
  void write_slot(const std::string& name, std::uint64_t offset, Bytes content, Done<void> done) override {
    ++hooks_.record_writes;
    if (hooks_.loses_record_writes) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
    if (hooks_.record_writes != hooks_.fail_record_write)
      return directory_.write_slot(name, offset, std::move(content), std::move(done));
    auto failed = [done = std::move(done)](Result<void>) mutable { done(fail(ErrorKind::io, "planned by the test")); };
    if (hooks_.record_writes % 2 == 0) return failed({});
    directory_.write_slot(name, offset, std::move(content), std::move(failed));
  }
  void rename(const std::string& from, const std::string& to, Done<void> done) override {
    directory_.rename(from, to, std::move(done));
  }
  void remove(const std::string& name, Done<void> done) override { directory_.remove(name, std::move(done)); }
  void create_device(const std::string& name, std::uint64_t size, Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_.create_device(name, size, hooked(std::move(done)));
  }
  void open_device(const std::string& name, bool read_only, Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_.open_device(name, read_only, hooked(std::move(done)));
  }

 private:
  Done<std::unique_ptr<store::BlockDevice>> hooked(Done<std::unique_ptr<store::BlockDevice>> done) {
    return [this, done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
      if (!device) return done(std::move(device));
      done(std::make_unique<HookedDevice>(std::move(*device), hooks_, scheduler_));
    };
  }
  store::Directory& directory_;
  DiskHooks& hooks_;
  net::Scheduler& scheduler_;
};

// A copy maker over a simulated folder, or in memory.
class ShelfMaker final : public CopyMaker {
 public:
  ShelfMaker(VolumeShelf& shelf, net::Scheduler& scheduler, bool in_memory)
      : shelf_(shelf), scheduler_(scheduler), in_memory_(in_memory) {}
  void make(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from, Random random,
            net::Done<ShelfItem> done) override {
    if (!in_memory_) return shelf_.receive(me, name, volume, geometry, std::move(from), random, std::move(done));
    ShelfItem item{.name = name,
                   .record = Ownership::new_receiving(me, random, volume, geometry, std::move(from), name),
                   .fresh = true,
                   .pristine = true,
                   .store = std::move(*store::make_memory_device(geometry.size_bytes, scheduler_)),
                   .place = {}};
    done(std::move(item));
  }
  void discard(const std::string& name, const std::string& data_name, net::Done<void> done) override {
    if (in_memory_) return done({});
    shelf_.discard(name, data_name, std::move(done));
  }
  void remove_data(const std::string& data_name, net::Done<void> done) override {
    if (in_memory_) return done({});
    shelf_.remove_data(data_name, std::move(done));
  }

 private:
  VolumeShelf& shelf_;
  net::Scheduler& scheduler_;
  bool in_memory_;
};

// What a godwit process is, on a simulated machine.
struct Process {
  Process(sim::Host& on, Boot boot, HostOptions options, std::vector<std::string>& notes, DiskHooks& hooks, bool in_memory)
      : machine(on),
        directory(on.directory(), hooks, on.scheduler()),
        shelf(directory),
        copies(shelf, on.scheduler(), in_memory),
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
          if (!item) host->note(NoteLevel::warning, "opening " + name + ": " + item.error().message());
          if (item) (void)host->add(std::move(*item));
          if (--*left > 0) return;
          host->resume_dialling();
          if (opened) opened();
        });
    });
  }

  sim::Host& machine;
  HookedDirectory directory;
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

struct SceneOptions {
  HostOptions host;
  bool in_memory = false;
  std::size_t trace_lines = 0;
};

struct Scene {
  explicit Scene(std::uint64_t seed, HostOptions host_options = {}, std::size_t trace_lines = 0)
      : Scene(seed, SceneOptions{std::move(host_options), false, trace_lines}) {}
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
        auto process =
            std::make_shared<Process>(on, Boot{++boots[on.name()]}, options.host, notes, hooks[on.name()], options.in_memory);
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
    if (options.in_memory) {
      const Geometry geometry{size, kBlock};
      made(ShelfItem{.name = name,
                     .record = Ownership::new_owned(process.me, random, geometry, name),
                     .fresh = true,
                     .pristine = true,
                     .store = std::move(*store::make_memory_device(size, process.machine.scheduler())),
                     .place = {}});
    } else {
      process.shelf.create(process.me, name, Geometry{size, kBlock}, random, made);
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
  }
  // A record has become durable.
  void check_change(const std::string& host, Volume& taker) {
    if (options.in_memory || taker.ownership().durable_record().state != CopyState::ready) return;
    const Record& ready = taker.ownership().durable_record();
    for (const auto& [other, process] : processes) {
      Volume* giver = process && other != host ? process->host->find(taker.name()) : nullptr;
      if (!giver || giver->ownership().is_failed() || !giver->ownership().is_locked() || !giver->ownership().session()) continue;
      if (giver->ownership().prepare().h != ready.h) continue;
      ++hand_overs_compared;
      const sim::DiskFile* from = machine(other).disk().find("data", giver->ownership().durable_record().data_name);
      const sim::DiskFile* to = machine(host).disk().find("data", ready.data_name);
      if (!from || !to) return world.fail("a data file is missing at READY");
      Bytes had(from->size()), has(from->size());
      from->live().read(0, had);
      to->durable().read(0, has);
      if (had == has) continue;
      std::uint64_t at = 0;
      while (had[at] == has[at]) ++at;
      world.fail("READY at " + host + " though block " + std::to_string(at / kBlock) +
                 " is not durable there as the locked source has it");
    }
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
  std::map<std::string, std::uint64_t> boots;
  std::map<std::string, Process*> processes;
  std::map<std::string, DiskHooks> hooks;
  std::map<std::string, std::uint64_t> seen_gen;
  std::vector<std::string> volume_names;
  std::vector<std::string> notes;
  std::deque<PullStatus> pulls;
  std::uint64_t hand_overs_compared = 0;
  sim::Host a;
  sim::Host b;
  sim::Host c;
  sim::Host user;
};

// A program on another machine with an NBD connection: connects again when it is lost, and asks the next server of its list where
// one says that it is shut down.
class NbdUser final : public ForwardingDevice {
 public:
  NbdUser(Scene& scene, std::string volume, std::vector<std::string> servers, std::uint64_t first_block)
      : scene_(scene), volume_(std::move(volume)), servers_(std::move(servers)), base_(first_block * kBlock) {
    connect();
  }
  ~NbdUser() override { *alive_ = false; }

  store::BlockDevice* device() { return client_ ? this : nullptr; }
  std::uint64_t count_connections() const { return connections_; }
  std::uint64_t count_shut_down() const { return shut_down_; }
  const std::string& server() const { return servers_[at_]; }

  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    client_->read(base_ + offset, into, watched(std::move(done)));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override {
    client_->write(base_ + offset, from, durability, watched(std::move(done)));
  }
  void flush(Done<void> done) override { client_->flush(watched(std::move(done))); }

 private:
  store::BlockDevice* target() const override { return client_.get(); }
  std::uint64_t base() const override { return base_; }
  Done<void> watched(Done<void> done) {
    return [this, alive = alive_, done = std::move(done)](Result<void> result) mutable {
      const bool shut_down = !result && result.error().kind() == ErrorKind::shut_down;
      done(std::move(result));
      if (!*alive || !shut_down) return;
      ++shut_down_;
      if (!std::exchange(leaving_, true))
        scene_.user.scheduler().post([this, alive = alive_] {
          if (*alive && client_ && client_->unanswered() == 0) lost(true);
          leaving_ = false;
        });
    };
  }
  void connect() {
    scene_.user.network().connect(*net::Address::parse(server() + ":10809", 0),
                                  [this, alive = alive_](Result<std::unique_ptr<net::Stream>> stream) {
                                    if (!*alive) return;
                                    if (!stream) return again(true);
                                    exports::NbdClientOptions options;
                                    options.export_name = volume_;
                                    exports::NbdClient::open(scene_.user.scheduler(), std::move(*stream), std::move(options),
                                                             [this, alive](Result<std::unique_ptr<exports::NbdClient>> client) {
                                                               if (!*alive) return;
                                                               if (!client) return again(true);
                                                               client_ = std::move(*client);
                                                               ++connections_;
                                                               client_->on_lost([this, alive](Error) {
                                                                 if (*alive) lost(false);
                                                               });
                                                             });
                                  });
  }
  void lost(bool elsewhere) {
    if (!client_) return;
    scene_.user.scheduler().post([client = std::move(client_)] {});
    again(elsewhere);
  }
  void again(bool elsewhere) {
    if (elsewhere) at_ = (at_ + 1) % servers_.size();
    scene_.user.scheduler().schedule(scene_.user.scheduler().now() + Duration::milliseconds(5), [this, alive = alive_] {
      if (*alive) connect();
    });
  }

  Scene& scene_;
  std::string volume_;
  std::vector<std::string> servers_;
  std::uint64_t base_;
  std::size_t at_ = 0;
  std::unique_ptr<exports::NbdClient> client_;
  std::uint64_t connections_ = 0;
  std::uint64_t shut_down_ = 0;
  bool leaving_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Everybody who uses one volume in a scenario. The first half of its blocks is written by a program on A's face, the second by
// one behind NBD connections; each half has a history of its own. All blocks are written before anything else happens, and no
// client writes zeros: a block of zeros read anywhere is an absent one. A rest behind the last whole block is written once.
class Cast {
 public:
  Cast(Scene& scene, std::string name, std::uint64_t blocks, std::vector<std::string> servers = {"a"}, std::uint64_t rest = 0)
      : scene_(scene),
        name_(std::move(name)),
        half_(blocks / 2),
        rest_(rest),
        by_face_(scene.world, 1, kBlock),
        by_nbd_(scene.world, 2, kBlock),
        early_random_(scene.world.random().fork()) {
    fill();
    user_ = std::make_unique<NbdUser>(scene, name_, std::move(servers), half_);
    sim::BlockClientOptions work{.block_count = half_, .depth = 3, .zeroes = 0};
    nbd_client_ = std::make_unique<sim::BlockClient>(
        scene.user.scheduler(), scene.world.random().fork(), by_nbd_, [this] { return user_->device(); }, work);
  }
  ~Cast() { *alive_ = false; }

  void start() {
    nbd_client_->start();
    start_face("a");
  }
  // A program on `host`'s own face; also after a restart.
  void start_face(const std::string& host) {
    sim::BlockClientOptions work{.block_count = half_, .depth = 3, .zeroes = 0};
    if (face_client_) {
      failed_before_ += face_client_->count_failed();
      by_face_.readers_are_gone();
    }
    face_client_ = std::make_unique<sim::BlockClient>(
        scene_.machine(host).scheduler(), scene_.world.random().fork(), by_face_,
        [this, host]() -> store::BlockDevice* {
          Volume* v = scene_.volume(host, name_);
          return v ? &v->face() : nullptr;
        },
        work);
    face_host_ = host;
    face_client_->start();
  }
  // Reads at `host` before it owns: any whole block that somebody wrote there, at any time.
  void start_early_reads(const std::string& host) { early_read(host, scene_.boots.at(host)); }

  // The process dies now. Where it was the one that counted, blocks may be torn, and with the power what was not flushed may be
  // gone.
  void note_crash(const std::string& host, bool power_lost) {
    Volume* v = scene_.volume(host, name_);
    if (!v) return;
    const CopyState decided = v->ownership().record().state;
    bool other_owns = false;
    for (const auto& [other, process] : scene_.processes) other_owns = other_owns || (other != host && scene_.owns(other, name_));
    if (decided == CopyState::owned || (decided == CopyState::relinquished && !other_owns)) {
      owner_crashed_ = true;
      if (!power_lost) return;
      by_face_.power_loss();
      by_nbd_.power_loss();
    }
  }

  void stop() {
    nbd_client_->stop();
    if (face_client_) face_client_->stop();
    early_stopped_ = true;
  }
  bool is_idle() const {
    const bool face_gone = !face_client_ || !scene_.machine(face_host_).is_up() || face_client_->is_idle();
    return nbd_client_->is_idle() && face_gone;
  }
  std::uint64_t count_failed() const {
    return nbd_client_->count_failed() + (face_client_ ? face_client_->count_failed() : 0) + failed_before_;
  }
  std::uint64_t count_ended() const { return nbd_client_->count_ended() + (face_client_ ? face_client_->count_ended() : 0); }
  std::uint64_t count_early_reads() const { return early_reads_; }
  NbdUser& user() { return *user_; }
  sim::BlockClient& nbd_client() { return *nbd_client_; }
  sim::BlockClient& face_client() { return *face_client_; }
  const std::string& name() const { return name_; }

  // Everything a client can know about the volume is checked through the owner's face.
  void check_all(const std::string& owner) {
    Volume* v = scene_.volume(owner, name_);
    ASSERT_NE(v, nullptr);
    bool checked = false, checked_too = false;
    sim::check_all(v->face(), by_face_, half_,
                   [&](Result<std::uint64_t> count) { checked = count.has_value() && *count == half_; });
    Shifted second(v->face(), half_ * kBlock);
    sim::check_all(second, by_nbd_, half_,
                   [&](Result<std::uint64_t> count) { checked_too = count.has_value() && *count == half_; });
    EXPECT_TRUE(scene_.run_until([&] { return checked && checked_too; }, Duration::seconds(30))) << scene_.why();
    if (rest_ == 0 || scene_.world.failed()) return;
    Bytes tail(rest_);
    Result<void> read =
        sim::wait_for<void>(scene_.world, [&](Done<void> done) { v->face().read(2 * half_ * kBlock, tail, std::move(done)); });
    EXPECT_TRUE(read);
    EXPECT_EQ(tail, Bytes(rest_, std::byte{0x5A})) << scene_.why();
  }

 private:
  class Shifted final : public ForwardingDevice {
   public:
    Shifted(store::BlockDevice& device, std::uint64_t base) : device_(device), base_(base) {}

   private:
    store::BlockDevice* target() const override { return &device_; }
    std::uint64_t base() const override { return base_; }
    store::BlockDevice& device_;
    std::uint64_t base_;
  };

  void fill() {
    store::BlockDevice& face = scene_.volume("a", name_)->face();
    for (sim::History* history : {&by_face_, &by_nbd_}) {
      Bytes content(half_ * kBlock);
      const std::uint64_t operation = history->begin_write(0, content);
      const std::uint64_t offset = history == &by_face_ ? 0 : half_ * kBlock;
      const Result<void> written = sim::wait_for<void>(
          scene_.world, [&](Done<void> done) { face.write(offset, content, store::Durability::durable, std::move(done)); });
      ASSERT_TRUE(written);
      history->end_write(operation, true, true);
    }
    if (rest_ == 0) return;
    const Bytes tail(rest_, std::byte{0x5A});
    ASSERT_TRUE(sim::wait_for<void>(scene_.world, [&](Done<void> done) {
      face.write(2 * half_ * kBlock, tail, store::Durability::durable, std::move(done));
    }));
  }

  void early_read(const std::string& host, std::uint64_t boot) {
    if (early_stopped_ || scene_.boots.at(host) != boot || !scene_.processes.at(host)) return;
    Volume* v = scene_.volume(host, name_);
    if (v && v->face().mode() == FaceMode::early_reads) {
      auto buffer = std::make_shared<Bytes>((1 + early_random_.below(4)) * kBlock);
      const std::uint64_t first = early_random_.below(2 * half_ - buffer->size() / kBlock);
      v->face().read(first * kBlock, *buffer, [this, alive = alive_, buffer, first](Result<void> result) {
        if (!*alive || !result) return;
        ++early_reads_;
        for (std::uint64_t i = 0; i * kBlock < buffer->size(); ++i)
          check_early(first + i, ConstBytes(*buffer).subspan(i * kBlock, kBlock));
      });
    }
    scene_.machine(host).scheduler().schedule(
        scene_.machine(host).scheduler().now() + Duration::microseconds(static_cast<std::int64_t>(50 + early_random_.below(500))),
        [this, alive = alive_, host, boot] {
          if (*alive) early_read(host, boot);
        });
  }
  void check_early(std::uint64_t block, ConstBytes content) {
    const bool first_half = block < half_;
    const Result<std::vector<std::uint64_t>> found =
        sim::find_sequences(content, first_half ? 1 : 2, first_half ? block : block - half_);
    const std::string where = "an early read of block " + std::to_string(block) + " of " + name_;
    if (!found) return scene_.world.fail(where + ": " + found.error().message());
    // A crash of whoever owned it may have left a torn block there, and that is then what there is.
    if (found->size() != 1 && !owner_crashed_) return scene_.world.fail(where + " is torn");
    if (std::find(found->begin(), found->end(), 0u) != found->end()) scene_.world.fail(where + " shows an absent block");
  }

  Scene& scene_;
  std::string name_;
  std::uint64_t half_;
  std::uint64_t rest_;
  sim::History by_face_;
  sim::History by_nbd_;
  Random early_random_;
  std::unique_ptr<NbdUser> user_;
  std::unique_ptr<sim::BlockClient> nbd_client_;
  std::unique_ptr<sim::BlockClient> face_client_;
  std::string face_host_;
  std::uint64_t failed_before_ = 0;
  std::uint64_t early_reads_ = 0;
  bool early_stopped_ = false;
  bool owner_crashed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
