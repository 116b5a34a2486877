#include "net/worker_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"

namespace godwit::net {

namespace {

// What threads have finished and the scheduler's thread has not heard of yet. One post() wakes it for all that gather until it
// looks. Shared, because the posted task may run after the pool is gone.
class Finished : public std::enable_shared_from_this<Finished> {
 public:
  explicit Finished(Scheduler& scheduler) : scheduler_(scheduler) {}

  void add(Task after) {
    bool first;
    {
      std::scoped_lock lock(mutex_);
      first = tasks_.empty();
      tasks_.push_back(std::move(after));
    }
    if (first) scheduler_.post([self = shared_from_this()] { self->run(); });
  }

 private:
  void run() {
    std::vector<Task> batch;
    {
      std::scoped_lock lock(mutex_);
      batch.swap(tasks_);
    }
    for (Task& task : batch) {
      scheduler_.release();
      task();
    }
  }

  Scheduler& scheduler_;
  std::mutex mutex_;
  std::vector<Task> tasks_;
};

class WorkerPool final : public Workers {
 public:
  WorkerPool(Scheduler& scheduler, unsigned threads) : scheduler_(scheduler), finished_(std::make_shared<Finished>(scheduler)) {
    GODWIT_CHECK(threads > 0);
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { serve(); });
  }

  ~WorkerPool() override {
    {
      std::scoped_lock lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(Task work, Task after) override {
    scheduler_.hold();
    bool somebody_sleeps;
    {
      std::scoped_lock lock(mutex_);
      jobs_.push_back({std::move(work), std::move(after)});
      somebody_sleeps = sleeping_ > 0;
    }
    if (somebody_sleeps) wake_.notify_one();
  }

 private:
  struct Job {
    Task work;
    Task after;
  };

  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      while (jobs_.empty() && !ending_) {
        ++sleeping_;
        wake_.wait(lock);
        --sleeping_;
      }
      if (jobs_.empty()) return;
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job.work();
      // What the work holds goes before its end is told: the teller may own what it borrows.
      job.work = nullptr;
      finished_->add(std::move(job.after));
      lock.lock();
    }
  }

  Scheduler& scheduler_;
  std::shared_ptr<Finished> finished_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  unsigned sleeping_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

std::unique_ptr<Workers> make_workers(Scheduler& scheduler, unsigned threads) {
  return std::make_unique<WorkerPool>(scheduler, threads);
}

}  // namespace godwit::net
