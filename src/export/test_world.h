// A world for the tests of this folder: a scheduler without a clock of its own, stream pairs that split and delay bytes by a
// seed, and a memory device that may hold, reorder and refuse its requests. Nothing in it waits for real time.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "base/random.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "store/block_device.h"

namespace godwit::exports::test {

inline Bytes pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

class TestScheduler final : public net::Scheduler {
 public:
  Instant now() const override { return now_; }
  void post(net::Task task) override { tasks_.push_back(std::move(task)); }
  net::TimerId schedule(Instant when, net::Task task) override {
    net::TimerId id{++last_timer_};
    timers_.emplace(std::pair(when, id.value), std::move(task));
    return id;
  }
  void cancel(net::TimerId timer) override {
    std::erase_if(timers_, [&](const auto& entry) { return entry.first.second == timer.value; });
  }

  // Runs turns until nothing is left to do now.
  void run() {
    while (!tasks_.empty()) {
      net::Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }
  // Lets time pass, timers included.
  void run_for(Duration duration) {
    Instant until = now_ + duration;
    run();
    while (!timers_.empty() && timers_.begin()->first.first <= until) {
      auto node = timers_.extract(timers_.begin());
      now_ = std::max(now_, node.key().first);
      node.mapped()();
      run();
    }
    now_ = until;
  }

 private:
  Instant now_;
  std::deque<net::Task> tasks_;
  std::map<std::pair<Instant, std::uint64_t>, net::Task> timers_;
  std::uint64_t last_timer_ = 0;
};

// One direction of a pair.
struct Pipe {
  std::deque<std::byte> bytes;
  std::size_t capacity = SIZE_MAX;  // more than this unread, and writes wait
  bool ended = false;               // after `bytes`
  bool broken = false;              // both ends fail from now on
  bool stalled = false;             // the reader does not read
  std::function<void()> changed_for_reader, changed_for_writer;
};

class TestStream final : public net::Stream {
 public:
  TestStream(TestScheduler& scheduler, std::uint64_t seed, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : scheduler_(scheduler), random_(seed), in_(std::move(in)), out_(std::move(out)) {
    in_->changed_for_reader = [this] { wake(); };
    out_->changed_for_writer = [this] { wake(); };
  }
  ~TestStream() override {
    in_->changed_for_reader = nullptr;
    out_->changed_for_writer = nullptr;
    end_both();
  }

  void read(std::span<const MutableBytes> into, net::Done<std::size_t> done) override {
    GODWIT_CHECK(!read_done_);
    into_.assign(into.begin(), into.end());
    read_done_ = std::move(done);
    wake();
  }
  void write(std::span<const ConstBytes> from, net::Done<void> done) override {
    GODWIT_CHECK(!write_done_);
    ++writes_;
    from_.clear();
    for (ConstBytes span : from) append(from_, span);
    written_ = 0;
    write_done_ = std::move(done);
    wake();
  }
  void shut_down_sending() override {
    out_->ended = true;
    tell(out_->changed_for_reader);
  }
  void close() override {
    closed_ = true;
    end_both();
    wake();
  }
  void limit_unsent(std::size_t) override {}
  net::Address peer() const override { return {"test", 1, ""}; }

  std::size_t writes() const { return writes_; }

 private:
  void end_both() {
    in_->broken = true;
    out_->ended = true;
    tell(in_->changed_for_writer);
    tell(out_->changed_for_reader);
  }
  static void tell(const std::function<void()>& changed) {
    if (changed) changed();
  }
  void wake() {
    if (std::exchange(posted_, true)) return;
    scheduler_.post([this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;
      posted_ = false;
      progress();
    });
  }
  void progress() {
    std::weak_ptr<int> alive = alive_;
    progress_write();
    if (!alive.expired()) progress_read();
  }
  void progress_write() {
    if (!write_done_) return;
    if (closed_ || out_->broken)
      return std::exchange(write_done_, nullptr)(fail(closed_ ? ErrorKind::cancelled : ErrorKind::connection_lost, "write"));
    std::size_t room = out_->capacity - std::min(out_->capacity, out_->bytes.size());
    std::size_t count = std::min(from_.size() - written_, room);
    out_->bytes.insert(out_->bytes.end(), from_.begin() + static_cast<std::ptrdiff_t>(written_),
                       from_.begin() + static_cast<std::ptrdiff_t>(written_ + count));
    written_ += count;
    if (count > 0) tell(out_->changed_for_reader);
    if (written_ == from_.size()) std::exchange(write_done_, nullptr)({});
  }
  void progress_read() {
    if (!read_done_) return;
    if (closed_) return std::exchange(read_done_, nullptr)(fail(ErrorKind::cancelled, "read"));
    if (in_->stalled) return;
    if (in_->bytes.empty()) {
      if (in_->ended) std::exchange(read_done_, nullptr)(std::size_t{0});
      return;
    }
    std::size_t room = 0;
    for (MutableBytes span : into_) room += span.size();
    GODWIT_CHECK(room > 0);
    std::size_t most = std::min(room, in_->bytes.size());
    // Often little, often all there is.
    std::size_t count =
        random_.chance(0.5) ? most : 1 + static_cast<std::size_t>(random_.below(std::min<std::size_t>(most, 100)));
    std::size_t given = 0;
    for (MutableBytes span : into_)
      for (std::size_t i = 0; i < span.size() && given < count; ++i, ++given) {
        span[i] = in_->bytes.front();
        in_->bytes.pop_front();
      }
    tell(in_->changed_for_writer);
    std::exchange(read_done_, nullptr)(count);
  }

  TestScheduler& scheduler_;
  Random random_;
  std::shared_ptr<Pipe> in_, out_;
  std::vector<MutableBytes> into_;
  Bytes from_;
  std::size_t written_ = 0;
  std::size_t writes_ = 0;
  net::Done<std::size_t> read_done_;
  net::Done<void> write_done_;
  bool posted_ = false;
  bool closed_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

struct StreamPair {
  std::shared_ptr<Pipe> to_server = std::make_shared<Pipe>();
  std::shared_ptr<Pipe> to_client = std::make_shared<Pipe>();
  std::unique_ptr<TestStream> client, server;

  StreamPair(TestScheduler& scheduler, std::uint64_t seed)
      : client(std::make_unique<TestStream>(scheduler, seed, to_client, to_server)),
        server(std::make_unique<TestStream>(scheduler, seed + 1, to_server, to_client)) {}
};

// Memory that may keep its clients waiting. Its `done`s come in later turns, as the interface says.
class TestDevice final : public store::BlockDevice {
 public:
  TestDevice(TestScheduler& scheduler, std::uint64_t size) : scheduler_(scheduler), content_(size) {}

  std::uint64_t size() const override { return content_.size(); }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override {
    start("read", offset, into.size(), [this, offset, into, done = std::move(done)]() mutable {
      std::memcpy(into.data(), content_.data() + offset, into.size());
      done(outcome());
    });
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override {
    start(durability == store::Durability::durable ? "write fua" : "write", offset, from.size(),
          [this, offset, from, done = std::move(done)]() mutable {
            std::memcpy(content_.data() + offset, from.data(), from.size());
            done(outcome());
          });
  }
  void flush(store::Done<void> done) override {
    start("flush", 0, 0, [this, done = std::move(done)]() mutable { done(outcome()); });
  }
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            store::Done<void> done) override {
    std::string what = mode == store::ZeroMode::keep_allocated ? "zero keep" : "zero";
    if (durability == store::Durability::durable) what += " fua";
    start(what, offset, length, [this, offset, length, done = std::move(done)]() mutable {
      std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
      done(outcome());
    });
  }
  void discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) override {
    start("discard", offset, length, [this, done = std::move(done)]() mutable { done(outcome()); });
  }
  void extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) override {
    start("extents", offset, length, [this, offset, length, done = std::move(done)]() mutable {
      if (error) return done(fail(*error));
      std::vector<store::Extent> found;
      for (const store::Extent& extent : allocation)
        if (extent.offset + extent.length > offset && extent.offset < offset + length) found.push_back(extent);
      if (allocation.empty()) found.push_back({offset, length, false, false});
      done(std::move(found));
    });
  }
  void prefetch(std::uint64_t offset, std::uint64_t length) override { log.push_back(told("prefetch", offset, length)); }
  MutableBytes memory() override { return as_memory ? MutableBytes(content_) : MutableBytes(); }
  bool punches() const override { return can_punch; }

  // The n-th of the held requests is executed and answered.
  void let_go(std::size_t n) {
    net::Task task = std::move(held_[n]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(n));
    scheduler_.post(std::move(task));
  }
  void let_all_go() {
    while (!held_.empty()) let_go(0);
  }
  // Forgets the held requests without answering them.
  void drop_held() { held_.clear(); }
  std::size_t held() const { return held_.size(); }
  MutableBytes content() { return content_; }

  bool holds = false;
  bool as_memory = false;
  bool can_punch = true;
  std::optional<Error> error;  // of every request from now on
  std::vector<store::Extent> allocation;
  std::vector<std::string> log;

 private:
  static std::string told(const std::string& what, std::uint64_t offset, std::uint64_t length) {
    return what + " " + std::to_string(offset) + "+" + std::to_string(length);
  }
  Result<void> outcome() const {
    if (error) return fail(*error);
    return {};
  }
  void start(const std::string& what, std::uint64_t offset, std::uint64_t length, net::Task task) {
    GODWIT_CHECK(within(offset, length, content_.size()));
    log.push_back(told(what, offset, length));
    if (holds)
      held_.push_back(std::move(task));
    else
      scheduler_.post(std::move(task));
  }

  TestScheduler& scheduler_;
  Bytes content_;
  std::vector<net::Task> held_;
};

// Keeps what a `done` was told.
template <class T>
struct Told {
  std::optional<Result<T>> result;
  net::Done<T> done() {
    return [this](Result<T> told) {
      GODWIT_CHECK(!result);  // told twice
      result.emplace(std::move(told));
    };
  }
  bool ok() const { return result && result->has_value(); }
  ErrorKind error() const { return result && !*result ? result->error().kind() : ErrorKind::usage; }
};

}  // namespace godwit::exports::test
