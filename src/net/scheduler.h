// What a driver needs of time and turns: the event loop in production, a simulated world in tests. Everything a driver owns is
// used on the scheduler's one thread; only post() may be called from others.
#pragma once

#include <cstdint>
#include <functional>

#include "base/error.h"
#include "base/time.h"

namespace godwit::net {

using Task = std::move_only_function<void()>;

// How an asynchronous call ends: called exactly once, on the scheduler's thread, never from inside the call that was given it
// unless that call's comment says so.
template <class T>
using Done = std::move_only_function<void(Result<T>)>;

struct TimerId {
  std::uint64_t value = 0;  // 0: no timer
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;

  virtual Instant now() const = 0;
  // Runs `task` in a later turn, in the order of the calls. Thread-safe.
  virtual void post(Task task) = 0;
  // Runs `task` once, not before `when`. Not thread-safe.
  virtual TimerId schedule(Instant when, Task task) = 0;
  // A timer that has run or was cancelled is ignored.
  virtual void cancel(TimerId timer) = 0;

  // Between hold() and release() somebody else (a worker) owes this scheduler a post(): it does not end for want of work. On the
  // scheduler's thread. A scheduler that never ends by itself ignores them.
  virtual void hold() {}
  virtual void release() {}
};

}  // namespace godwit::net
