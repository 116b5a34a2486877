// A seeded world for tests of drivers: virtual time, one queue of events, one generator. Everything in a world happens on the
// caller's thread, in the order of (time, order of asking), so a seed repeats a run byte for byte; trace_hash() proves it.
// Links, disks and hosts are built on it (link.h, disk.h, host.h). It is not a model of any protocol, and knows no engine.
//
// Events belong to a group: a host's incarnation, or the world itself. A group can end (a crash: nothing of it runs any more) or
// stall (a machine that stands still for a while and then goes on, late).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/random.h"
#include "base/strong.h"
#include "base/time.h"
#include "net/scheduler.h"

namespace godwit::sim {

using net::Task;
// 0 is the world itself: the network's and the disks' own workings, and the scenario.
using Group = Strong<struct GroupTag, std::uint32_t>;

struct WorldOptions {
  std::uint64_t steps_max = 20'000'000;  // a run that needs more is a livelock
  std::size_t trace_lines = 0;           // how many of the last lines a failure shows; 0: no lines are made
};

class World {
 public:
  explicit World(std::uint64_t seed, WorldOptions options = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  std::uint64_t seed() const { return seed_; }
  Instant now() const { return now_; }
  std::uint64_t steps() const { return steps_; }
  // The scenario's own choices. Parts of the world fork theirs, so that one more draw here does not change their course.
  Random& random() { return random_; }
  Duration between(Random& random, Duration low, Duration high) const;

  // Runs `task` once, at `when` or now, whichever is later. Tasks of one instant run in the order of the calls.
  net::TimerId schedule(Instant when, Task task, Group group = {});
  net::TimerId schedule(Duration from_now, Task task, Group group = {});
  void cancel(net::TimerId timer);

  // Runs the next event; false if there is none (or only such that never come), or if the run has failed.
  bool step();
  // Runs until `done` holds (asked before the first and after every event). False if it does not within `limit`, if nothing is
  // left to wait for, or if the run has failed.
  bool run_until(const std::function<bool()>& done, Duration limit);
  // Runs what happens within `duration`; afterwards that much time has gone by.
  void run_for(Duration duration);

  Group new_group();
  bool is_over(Group group) const { return groups_[group.value].over; }
  // Nothing of the group runs any more. What its tasks hold is destroyed in a later step, when no code of it is on the stack.
  void end(Group group);
  // Events of the group that are due before `until` run then.
  void stall(Group group, Instant until);
  // Destroys `remains` (and what it holds) in a later step, or with the world. For what must not be destroyed under its own feet.
  void bury(Task remains);
  // Destroys what is buried now; not from within a task.
  void empty_graveyard();

  // A finding of a checker: the run stops. The first one is kept.
  void fail(std::string finding);
  bool failed() const { return !finding_.empty(); }
  // Empty if nothing failed; else the finding, the last lines of the trace and how to repeat the run.
  std::string report() const;
  // The same text around any finding, for an assertion of a test.
  std::string fail_message(std::string_view finding) const;

  // Folds something that happened into the trace hash, with its time.
  void fold(std::uint64_t what, std::uint64_t a = 0, std::uint64_t b = 0);
  std::uint64_t trace_hash() const { return hash_; }
  bool tracing() const { return options_.trace_lines > 0; }
  // A line for people; ask tracing() first where making it costs.
  void trace(std::string line);

 private:
  struct Slot {
    Task task;
    Group group;
    std::uint32_t generation = 0;  // odd while the slot is taken
  };
  struct Entry {
    Instant when;
    std::uint64_t sequence = 0;
    std::uint32_t slot = 0;
    std::uint32_t generation = 0;
  };
  struct GroupState {
    bool over = false;
    Instant stalled_until;
  };
  static bool later(const Entry& a, const Entry& b);

  bool is_cancelled(const Entry& entry) const { return slots_[entry.slot].generation != entry.generation; }
  void push(Entry entry);
  void pop();
  Task release(std::uint32_t slot);
  // The next event that is due by `limit`, at its true time: cancelled ones are dropped, stalled ones moved.
  bool find_next(Instant limit);
  void run_next();

  const std::uint64_t seed_;
  const WorldOptions options_;
  Random random_;
  Instant now_;
  std::uint64_t steps_ = 0;
  std::uint64_t next_sequence_ = 0;
  std::uint64_t hash_;
  bool closing_ = false;
  bool running_ = false;  // a task is on the stack: no step within a step
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::vector<Entry> queue_;  // a heap, the earliest first
  std::vector<GroupState> groups_;
  std::vector<Task> graveyard_;
  std::deque<std::string> trace_;
  std::string finding_;
};

// Starts an asynchronous call and runs the world until it ends: `start` is handed the call's Done<T>. For the scenario's own
// steps; ErrorKind::timed_out if it does not end within `limit` (a crash of its host, a stuck disk, a failed run).
template <class T>
Result<T> wait_for(World& world, std::type_identity_t<const std::function<void(net::Done<T>)>&> start,
                   Duration limit = Duration::seconds(60)) {
  auto result = std::make_shared<std::optional<Result<T>>>();
  start([result](Result<T> given) { result->emplace(std::move(given)); });
  if (!world.run_until([&] { return result->has_value(); }, limit) && !result->has_value())
    return godwit::fail(ErrorKind::timed_out, "the call did not end");
  return std::move(**result);
}

// Which seeds a scenario runs: `count` of them from `first`. Test support only: GODWIT_SEEDS=500 asks for that many instead of
// the test's own count, GODWIT_SEEDS_PERCENT=20 for a share of it (one at least), GODWIT_SEEDS_FROM=17 for another first one (so
// that =17 and GODWIT_SEEDS=1 repeat one run).
struct Seeds {
  std::uint64_t first = 1;
  std::uint64_t count = 0;

  struct Iterator {
    std::uint64_t seed;
    std::uint64_t operator*() const { return seed; }
    Iterator& operator++() {
      ++seed;
      return *this;
    }
    friend bool operator==(Iterator, Iterator) = default;
  };
  Iterator begin() const { return {first}; }
  Iterator end() const { return {first + count}; }
};
Seeds scenario_seeds(std::uint64_t default_count);

}  // namespace godwit::sim
