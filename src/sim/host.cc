#include "sim/host.h"

#include <utility>

#include "base/check.h"

namespace godwit::sim {

namespace {

class HostScheduler final : public net::Scheduler {
 public:
  HostScheduler(World& world, Group group, Random random, Duration clock_start)
      : world_(world), group_(group), random_(random), clock_start_(clock_start) {}

  Instant now() const override { return world_.now() + clock_start_; }
  void post(Task task) override { world_.schedule(Duration{}, std::move(task), group_); }

  net::TimerId schedule(Instant when, Task task) override {
    if (when == Instant::never()) return world_.schedule(when, std::move(task), group_);
    if (when.nanoseconds < clock_start_.nanoseconds) return world_.schedule(Duration{}, std::move(task), group_);
    // Timers are late, a little.
    const Duration late = world_.between(random_, {}, Duration::microseconds(50));
    return world_.schedule(Instant{when.nanoseconds - clock_start_.nanoseconds} + late, std::move(task), group_);
  }
  void cancel(net::TimerId timer) override { world_.cancel(timer); }

 private:
  World& world_;
  const Group group_;
  Random random_;
  const Duration clock_start_;
};

class HostWorkers final : public net::Workers {
 public:
  HostWorkers(World& world, Group group, Random random) : world_(world), group_(group), random_(random) {}

  void run(Task work, Task after) override {
    // Between the two there may be a crash.
    auto finish = [this, work = std::move(work), after = std::move(after)]() mutable {
      work();
      world_.schedule(some_time(), std::move(after), group_);
    };
    world_.schedule(some_time(), std::move(finish), group_);
  }

 private:
  Duration some_time() { return world_.between(random_, Duration::microseconds(1), Duration::microseconds(200)); }

  World& world_;
  const Group group_;
  Random random_;
};

}  // namespace

struct Host::Incarnation {
  Group group;
  HostScheduler scheduler;
  HostWorkers workers;
  std::unique_ptr<net::Network> network;
  std::map<std::string, std::unique_ptr<store::Directory>> folders;
};

Host::Host(Fabric& fabric, std::string name)
    : fabric_(fabric), world_(fabric.world()), name_(std::move(name)), random_(world_.random().fork()), disk_(world_, name_) {
  begin_incarnation();
}

Host::~Host() {
  // What still runs and waits here goes while the disk and the interfaces it uses are there.
  world_.end(group());
  fabric_.host_crashed(name_, group(), CrashNotice::reset);
  running_.reset();
  world_.empty_graveyard();
}

void Host::begin_incarnation() {
  const Group group = world_.new_group();
  // Up to twelve days: enough that an Instant of another host stands out.
  const Duration clock_start = world_.between(random_, Duration::seconds(1), Duration::seconds(1'000'000));
  incarnations_.push_back(std::make_unique<Incarnation>(Incarnation{
      group, {world_, group, random_.fork(), clock_start}, {world_, group, random_.fork()}, fabric_.attach(name_, group), {}}));
  up_ = true;
}

net::Scheduler& Host::scheduler() {
  return current().scheduler;
}
net::Network& Host::network() {
  return *current().network;
}
net::Workers& Host::workers() {
  return current().workers;
}
Group Host::group() const {
  return current().group;
}

store::Directory& Host::directory(const std::string& folder) {
  std::unique_ptr<store::Directory>& found = current().folders[folder];
  if (!found) found = disk_.attach(folder, group());
  return *found;
}

void Host::run(Program program) {
  GODWIT_CHECK(up_);
  program_ = std::move(program);
  running_ = program_(*this);
}

void Host::crash(Crash how) {
  if (!up_) return;
  up_ = false;
  world_.trace(name_ + (how.power_lost ? " loses power" : ": the process dies"));
  // The program goes first, then what waited for it.
  world_.bury([running = std::move(running_)] {});
  world_.end(group());
  fabric_.host_crashed(name_, group(), how.notice);
  if (how.power_lost)
    disk_.power_lost();
  else
    disk_.process_died(group());
}

void Host::restart() {
  GODWIT_CHECK(!up_);
  world_.trace(name_ + " starts again");
  begin_incarnation();
  fabric_.host_restarted(name_);
  if (program_) running_ = program_(*this);
}

void Host::stall(Duration duration) {
  world_.trace(name_ + " stands still");
  world_.stall(group(), world_.now() + duration);
}

}  // namespace godwit::sim
