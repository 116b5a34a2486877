#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/check.h"

namespace godwit::sim {

namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  return Random(hash ^ (value * 0xD6E8FEB86659FD93ULL)).next();
}

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

World::World(std::uint64_t seed, WorldOptions options)
    : seed_(seed), options_(options), random_(seed), hash_(mix(0, seed)), groups_(1) {}

World::~World() {
  closing_ = true;
  empty_graveyard();
  // What a task holds may cancel timers or ask for new ones while it is destroyed: index anew each time.
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].generation % 2 == 1) Task remains = release(static_cast<std::uint32_t>(i));
  }
  empty_graveyard();
}

Duration World::between(Random& random, Duration low, Duration high) const {
  if (high <= low) return low;
  const auto spread = static_cast<std::uint64_t>((high - low).nanoseconds) + 1;
  return low + Duration{static_cast<std::int64_t>(random.below(spread))};
}

net::TimerId World::schedule(Instant when, Task task, Group group) {
  if (closing_) return {};
  if (groups_[group.value].over) {
    bury(std::move(task));
    return {};
  }
  std::uint32_t index;
  if (free_slots_.empty()) {
    index = static_cast<std::uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_slots_.back();
    free_slots_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.task = std::move(task);
  slot.group = group;
  ++slot.generation;
  push({std::max(when, now_), next_sequence_++, index, slot.generation});
  return {(std::uint64_t{slot.generation} << 32) | index};
}

net::TimerId World::schedule(Duration from_now, Task task, Group group) {
  return schedule(now_ + from_now, std::move(task), group);
}

void World::cancel(net::TimerId timer) {
  const auto index = static_cast<std::uint32_t>(timer.value);
  const auto generation = static_cast<std::uint32_t>(timer.value >> 32);
  if (generation == 0 || index >= slots_.size() || slots_[index].generation != generation) return;
  Task remains = release(index);
}

Task World::release(std::uint32_t index) {
  Slot& slot = slots_[index];
  Task task = std::move(slot.task);
  slot.task = nullptr;
  ++slot.generation;
  free_slots_.push_back(index);
  return task;
}

bool World::later(const Entry& a, const Entry& b) {
  return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
}

void World::push(Entry entry) {
  queue_.push_back(entry);
  std::push_heap(queue_.begin(), queue_.end(), later);
}

void World::pop() {
  std::pop_heap(queue_.begin(), queue_.end(), later);
  queue_.pop_back();
}

bool World::find_next(Instant limit) {
  while (!queue_.empty()) {
    Entry next = queue_.front();
    if (is_cancelled(next)) {
      pop();
      continue;
    }
    if (next.when > limit || next.when == Instant::never()) return false;
    const Instant stalled_until = groups_[slots_[next.slot].group.value].stalled_until;
    if (stalled_until <= next.when) return true;
    pop();
    next.when = stalled_until;  // The sequence stays, and with it the order within the group.
    push(next);
  }
  return false;
}

void World::run_next() {
  const Entry next = queue_.front();
  pop();
  now_ = next.when;
  ++steps_;
  fold(slots_[next.slot].group.value, next.sequence);
  Task task = release(next.slot);
  running_ = true;
  task();
  running_ = false;
}

bool World::step() {
  empty_graveyard();
  if (failed() || !find_next(Instant::never())) return false;
  if (steps_ >= options_.steps_max) {
    fail(fmt::format("the run did not end within {} steps", options_.steps_max));
    return false;
  }
  run_next();
  return true;
}

bool World::run_until(const std::function<bool()>& done, Duration limit) {
  const Instant end = now_ + limit;
  while (!done()) {
    empty_graveyard();
    if (failed()) return false;
    if (!find_next(end)) {
      now_ = std::max(now_, end);
      return false;
    }
    if (!step()) return false;
  }
  return !failed();
}

void World::run_for(Duration duration) {
  (void)run_until([] { return false; }, duration);
}

Group World::new_group() {
  groups_.emplace_back();
  return Group(static_cast<std::uint32_t>(groups_.size() - 1));
}

void World::end(Group group) {
  GODWIT_CHECK(group != Group{});
  if (is_over(group)) return;
  groups_[group.value].over = true;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].generation % 2 == 1 && slots_[i].group == group) bury(release(static_cast<std::uint32_t>(i)));
  }
}

void World::stall(Group group, Instant until) {
  Instant& stalled_until = groups_[group.value].stalled_until;
  stalled_until = std::max(stalled_until, until);
}

void World::bury(Task remains) {
  if (remains) graveyard_.push_back(std::move(remains));
}

void World::empty_graveyard() {
  GODWIT_CHECK(!running_);
  // In the order of burial; the dying may bury more.
  while (!graveyard_.empty()) {
    std::vector<Task> remains = std::exchange(graveyard_, {});
    for (Task& one : remains) one = nullptr;
  }
}

void World::fail(std::string finding) {
  if (failed()) return;
  trace("FAILED: " + finding);
  finding_ = finding.empty() ? "failed without a word" : std::move(finding);
}

std::string World::report() const {
  return failed() ? fail_message(finding_) : std::string();
}

std::string World::fail_message(std::string_view finding) const {
  std::string text = fmt::format("{}\nseed {}, {:.6f} s, step {}, trace {:016x}\n", finding, seed_,
                                 Duration{now_.nanoseconds}.as_seconds(), steps_, hash_);
  for (const std::string& line : trace_) text += line + "\n";
  text += fmt::format("repeat with --seeds-from {0} --seeds 1 (in a test: GODWIT_SEEDS_FROM={0} GODWIT_SEEDS=1)\n", seed_);
  return text;
}

void World::fold(std::uint64_t what, std::uint64_t a, std::uint64_t b) {
  hash_ = mix(hash_, static_cast<std::uint64_t>(now_.nanoseconds));
  hash_ = mix(hash_, what);
  hash_ = mix(mix(hash_, a), b);
}

void World::trace(std::string line) {
  if (!tracing()) return;
  if (trace_.size() == options_.trace_lines) trace_.pop_front();
  trace_.push_back(fmt::format("{:12.6f} {}", Duration{now_.nanoseconds}.as_seconds(), line));
}

Seeds scenario_seeds(std::uint64_t default_count) {
  const std::uint64_t share =
      std::max<std::uint64_t>(1, default_count * number_from_environment("GODWIT_SEEDS_PERCENT", 100) / 100);
  return {number_from_environment("GODWIT_SEEDS_FROM", 1), number_from_environment("GODWIT_SEEDS", share)};
}

}  // namespace godwit::sim
