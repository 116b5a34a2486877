// A simulated machine: a name on the fabric, a disk that outlives crashes, and for each life of its process an incarnation with a
// scheduler, a network, workers and folders of its own. What runs on it is built on these interfaces only, as in production.
//
//   World world(seed);  Fabric fabric(world);  Host a(fabric, "a"), b(fabric, "b");
//   a.run([&](Host& host) { return std::make_shared<Engine>(host.scheduler(), host.network(), host.directory()); });
//   a.crash();  world.run_for(Duration::seconds(1));  a.restart();  // builds the Engine anew
//
// After crash() nothing of the incarnation runs any more: no task, no timer, no callback of a stream or a device. Its interfaces
// stay valid and swallow what they are given, so that what was built on them can be destroyed at leisure.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/worker_pool.h"
#include "sim/disk.h"
#include "sim/link.h"
#include "sim/world.h"

namespace godwit::sim {

struct Crash {
  CrashNotice notice = CrashNotice::reset;
  bool power_lost = true;  // false: only the process dies; what it wrote without a flush survives in the kernel
};

class Host {
 public:
  // Up from the beginning. The fabric outlives it.
  Host(Fabric& fabric, std::string name);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& name() const { return name_; }
  World& world() { return world_; }
  Disk& disk() { return disk_; }
  bool is_up() const { return up_; }

  // Of the current incarnation. Its clock has a start of its own: an Instant of one host means nothing on another.
  net::Scheduler& scheduler();
  net::Network& network();
  net::Workers& workers();
  store::Directory& directory(const std::string& folder = "data");
  Group group() const;

  // Builds what runs here, now and at every restart. A crash destroys it, though not before the current event is over.
  using Program = std::function<std::shared_ptr<void>(Host&)>;
  void run(Program program);

  void crash(Crash how = {});
  void restart();
  // Everything of this host stands still for so long: a machine that swaps, a virtual machine that is paused. The network and the
  // disk go on, and find nobody who reacts.
  void stall(Duration duration);

 private:
  struct Incarnation;
  Incarnation& current() const { return *incarnations_.back(); }
  void begin_incarnation();

  Fabric& fabric_;
  World& world_;
  const std::string name_;
  Random random_;
  Disk disk_;
  bool up_ = false;
  Program program_;
  std::vector<std::unique_ptr<Incarnation>> incarnations_;  // the last is the current one
  std::shared_ptr<void> running_;
};

}  // namespace godwit::sim
