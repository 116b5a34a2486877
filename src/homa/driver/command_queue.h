// What other threads ask of the transport's thread, in the order of asking; bounded. It knows whether that thread sleeps, so that
// only then somebody has to wake it.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include <godwit/homa.hpp>

namespace godwit::homa {

struct Command {
  enum class Kind : std::uint8_t { start_call, cancel_call, reply, discard, run };
  Kind kind = Kind::run;
  std::uint64_t id = 0;  // a CallId, or a request's RPC
  Message message;       // a reply's
  std::move_only_function<void()> task;
};

class CommandQueue {
 public:
  enum class Pushed : std::uint8_t { queued, queued_wake, full, closed };

  // `may_refuse`: full is an answer. Else it is queued in any case: what it ends is bounded elsewhere.
  Pushed push(Command&& command, bool may_refuse) {
    std::scoped_lock lock(mutex_);
    if (is_closed_) return Pushed::closed;
    if (may_refuse && waiting_.size() >= kMax) return Pushed::full;
    waiting_.push_back(std::move(command));
    return std::exchange(is_sleeping_, false) ? Pushed::queued_wake : Pushed::queued;
  }

  // Swaps what waits into `taken`, which is empty.
  void take(std::vector<Command>& taken) {
    std::scoped_lock lock(mutex_);
    is_sleeping_ = false;
    waiting_.swap(taken);
  }
  // Whether the thread may sleep: nothing waits. From now on a push says that it must be woken.
  bool begin_sleep() {
    std::scoped_lock lock(mutex_);
    is_sleeping_ = waiting_.empty();
    return is_sleeping_;
  }
  // No more pushes; what waits is left for take().
  void close() {
    std::scoped_lock lock(mutex_);
    is_closed_ = true;
  }

 private:
  static constexpr std::size_t kMax = 65536;

  std::mutex mutex_;
  std::vector<Command> waiting_;
  bool is_sleeping_ = false;
  bool is_closed_ = false;
};

}  // namespace godwit::homa
