// Threads for what blocks or burns: file I/O, hashing, compression. Work runs on some thread, what it gives comes back as a task
// on the scheduler's. In simulation an implementation without threads runs the work at a simulated later time.
#pragma once

#include <functional>
#include <memory>

#include "net/scheduler.h"

namespace godwit::net {

class Workers {
 public:
  virtual ~Workers() = default;
  // Runs `work` off the scheduler's thread, then `after` on it. Order between works is not promised.
  virtual void run(Task work, Task after) = 0;
};

// `threads` of them; the destructor finishes what was given and joins (their `after` tasks are posted, and run if the scheduler
// still runs).
std::unique_ptr<Workers> make_workers(Scheduler& scheduler, unsigned threads);

}  // namespace godwit::net
