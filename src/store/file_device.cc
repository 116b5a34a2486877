#include "store/file_device.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>
#include <vector>

#include "store/inline_writes.h"
#include "store/request_range.h"

namespace godwit::store {

namespace {

// A read at most this long is first tried against the page cache on the caller's thread: copying it costs less than a wake.
constexpr std::size_t kInlineReadBytes = 256 * 1024;
// How much waiting work asks for one more worker: cheap calls share one, calls that wait for the disk want one each.
constexpr std::uint64_t kWeightPerWorker = 1024 * 1024;
constexpr std::uint64_t kWeightMin = 8 * 1024;
constexpr unsigned kWorkersMax = 16;
// How much finished work may wait for company before the device's thread is woken for it: eight small writes.
constexpr std::uint64_t kUntoldWeightMax = 8 * kWeightMin;

using Call = std::move_only_function<Result<void>(DiskFile&)>;

struct Request {
  Call call;
  std::uint64_t weight = 0;
  Done<void> done;
  Result<void> result;
};

// The requests of one device between its thread and the workers. Shared with both, so that what is posted may come after the
// device's end.
class Requests : public std::enable_shared_from_this<Requests> {
 public:
  Requests(std::unique_ptr<DiskFile> file, net::Scheduler& scheduler, net::Workers& workers)
      : file_(std::move(file)), scheduler_(scheduler), workers_(workers) {}

  DiskFile& file() { return *file_; }

  void submit(Request request) {
    bool wake = false;
    {
      std::scoped_lock lock(mutex_);
      weight_ += request.weight;
      waiting_.push_back(std::move(request));
      if (working_ < kWorkersMax && working_ <= weight_ / kWeightPerWorker) {
        ++working_;
        wake = true;
      }
    }
    if (wake) workers_.run([self = shared_from_this()] { self->work(); }, [] {});
  }

  // A request that has its result already; its end still comes in a later turn.
  void finish(Done<void> done, Result<void> result) {
    std::unique_lock lock(mutex_);
    finished_.push_back({nullptr, 0, std::move(done), std::move(result)});
    tell(lock);
  }

  void end() {
    std::deque<Request> dropped;
    std::vector<Request> untold;
    std::unique_lock lock(mutex_);
    ended_ = true;
    dropped.swap(waiting_);
    for (const Request& request : dropped) weight_ -= request.weight;
    untold.swap(finished_);
    idle_.wait(lock, [this] { return calling_ == 0; });
    for (Request& request : finished_) untold.push_back(std::move(request));
    finished_.clear();
    file_.reset();  // not when the last worker lets go of this: whoever opens a device exclusively next must find it closed
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    do {
      while (!waiting_.empty()) {
        Request request = std::move(waiting_.front());
        waiting_.pop_front();
        ++calling_;
        lock.unlock();
        request.result = request.call(*file_);
        lock.lock();
        --calling_;
        weight_ -= request.weight;
        untold_weight_ += request.weight;
        finished_.push_back(std::move(request));
        if (ended_) idle_.notify_all();
        // Cheap ends gather a little, as long as what comes next is cheap too.
        if (waiting_.empty() || untold_weight_ >= kUntoldWeightMax || waiting_.front().weight >= kWeightPerWorker) tell(lock);
      }
      if (!finished_.empty()) tell(lock);
    } while (!waiting_.empty());  // given while tell() was without the lock
    --working_;
  }

  // Called with the lock, which it gives up for the call: wakes the device's thread once for all that gathers until it looks.
  void tell(std::unique_lock<std::mutex>& lock) {
    untold_weight_ = 0;
    if (ended_ || std::exchange(told_, true)) return;
    lock.unlock();
    scheduler_.post([self = shared_from_this()] { self->run_finished(); });
    lock.lock();
  }

  void run_finished() {
    std::vector<Request> batch;
    {
      std::scoped_lock lock(mutex_);
      told_ = false;
      batch.swap(finished_);
    }
    for (Request& request : batch) {
      if (ended_) return;  // a `done` before has destroyed the device
      request.done(std::move(request.result));
    }
  }

  std::unique_ptr<DiskFile> file_;
  net::Scheduler& scheduler_;
  net::Workers& workers_;

  std::mutex mutex_;
  std::condition_variable idle_;
  std::deque<Request> waiting_;
  std::uint64_t weight_ = 0;  // of what waits and what is within a call
  unsigned working_ = 0;      // workers asked for and not yet gone
  unsigned calling_ = 0;      // of these, within a call
  std::vector<Request> finished_;
  std::uint64_t untold_weight_ = 0;  // finished since the last tell()
  bool told_ = false;
  bool ended_ = false;  // written on the device's thread
};

std::uint64_t weight_of_read(std::uint64_t length) {
  return length <= kInlineReadBytes ? kWeightPerWorker : length;  // a short one comes here because it must wait for the disk
}

// Writes into the page cache of one file take turns in the kernel: more workers would mostly wait for one another.
std::uint64_t weight_of_write(std::uint64_t length, Durability durability) {
  return durability == Durability::durable ? kWeightPerWorker : std::max(length / 4, kWeightMin);
}

class FileDevice final : public BlockDevice {
 public:
  FileDevice(std::unique_ptr<DiskFile> file, net::Scheduler& scheduler, net::Workers& workers)
      : requests_(std::make_shared<Requests>(std::move(file), scheduler, workers)), scheduler_(scheduler) {}
  ~FileDevice() override { requests_->end(); }

  std::uint64_t size() const override { return requests_->file().size(); }
  bool read_only() const override { return requests_->file().read_only(); }

  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    if (auto error = range_error("read", name(), offset, into.size(), size())) return refuse(std::move(done), *error);
    if (into.empty() || (into.size() <= kInlineReadBytes && requests_->file().read_cached(offset, into)))
      return requests_->finish(std::move(done), {});
    requests_->submit(
        {[offset, into](DiskFile& file) { return file.read(offset, into); }, weight_of_read(into.size()), std::move(done), {}});
  }

  void write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) override {
    if (auto error = change_error("write", name(), offset, from.size(), *this)) return refuse(std::move(done), *error);
    if (durability == Durability::written)
      if (const Instant now = scheduler_.now(); inline_writes_.allows(offset, from.size(), now)) {
        Result<void> result = requests_->file().write(offset, from, durability);
        inline_writes_.handle_written(now, scheduler_.now());
        return requests_->finish(std::move(done), std::move(result));
      }
    requests_->submit({[=](DiskFile& file) { return file.write(offset, from, durability); },
                       weight_of_write(from.size(), durability),
                       std::move(done),
                       {}});
  }

  // Flushes that come while one runs share the next one.
  void flush(Done<void> done) override {
    flushes_waiting_.push_back(std::move(done));
    if (!flush_running_) start_flush();
  }

  void zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability, Done<void> done) override {
    if (auto error = change_error("zero", name(), offset, length, *this)) return refuse(std::move(done), *error);
    requests_->submit(
        {[=](DiskFile& file) { return file.zero(offset, length, mode, durability); }, kWeightPerWorker, std::move(done), {}});
  }

  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override {
    if (auto error = change_error("discard", name(), offset, length, *this)) return refuse(std::move(done), *error);
    requests_->submit({[=](DiskFile& file) { return file.discard(offset, length); }, kWeightPerWorker, std::move(done), {}});
  }

  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) override {
    auto found = std::make_shared<std::vector<Extent>>();
    Done<void> told = [found, done = std::move(done)](Result<void> result) mutable {
      if (!result) return done(fail(result.error()));
      done(std::move(*found));
    };
    if (auto error = range_error("extents of", name(), offset, length, size())) return refuse(std::move(told), *error);
    requests_->submit({[=](DiskFile& file) -> Result<void> {
                         Result<std::vector<Extent>> extents = file.extents(offset, length);
                         if (!extents) return fail(extents.error());
                         *found = std::move(*extents);
                         return {};
                       },
                       kWeightPerWorker,
                       std::move(told),
                       {}});
  }

  void start_writeback(std::uint64_t offset, std::uint64_t length) override {
    if (!within(offset, length, size())) return;
    hint([=](DiskFile& file) { file.start_writeback(offset, length); });
  }

  void prefetch(std::uint64_t offset, std::uint64_t length) override {
    if (!within(offset, length, size())) return;
    hint([=](DiskFile& file) { file.prefetch(offset, length); });
  }

 private:
  const std::string& name() const { return requests_->file().name(); }
  void refuse(Done<void> done, Error error) { requests_->finish(std::move(done), fail(std::move(error))); }

  template <class F>
  void hint(F f) {
    requests_->submit({[f](DiskFile& file) -> Result<void> {
                         f(file);
                         return {};
                       },
                       kWeightPerWorker,
                       [](Result<void>) {},
                       {}});
  }

  void start_flush() {
    flush_running_ = true;
    requests_->submit({[](DiskFile& file) { return file.sync(); },
                       kWeightPerWorker,
                       [this, batch = std::exchange(flushes_waiting_, {})](Result<void> result) mutable {
                         flush_running_ = false;
                         if (!flushes_waiting_.empty()) start_flush();
                         for (Done<void>& done : batch) done(result);
                       },
                       {}});
  }

  std::shared_ptr<Requests> requests_;
  net::Scheduler& scheduler_;
  InlineWrites inline_writes_;
  std::vector<Done<void>> flushes_waiting_;
  bool flush_running_ = false;
};

}  // namespace

std::unique_ptr<BlockDevice> make_file_device(std::unique_ptr<DiskFile> file, net::Scheduler& scheduler, net::Workers& workers) {
  return std::make_unique<FileDevice>(std::move(file), scheduler, workers);
}

Result<std::unique_ptr<BlockDevice>> open_file_device(const std::string& path, bool read_only, net::Scheduler& scheduler,
                                                      net::Workers& workers) {
  Result<std::unique_ptr<DiskFile>> file = DiskFile::open(path, read_only);
  if (!file) return fail(file.error());
  return make_file_device(std::move(*file), scheduler, workers);
}

}  // namespace godwit::store
