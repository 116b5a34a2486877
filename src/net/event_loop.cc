// The only file that includes Asio. What is posted gathers in a vector of our own and costs Asio one wake per batch; timers lie
// in an ordered map of our own and cost it one timer.
#include "net/event_loop.h"

#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <csignal>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "base/check.h"
#include "net/dialer.h"
#include "net/pipe_stream.h"
#include "net/reactor.h"
#include "net/stream_listener.h"
#include "net/stream_socket.h"

namespace godwit::net {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

class AsioWatch final : public Watch {
 public:
  AsioWatch(asio::io_context& context, int descriptor) : descriptor_(context, descriptor) {}

  int descriptor() const override { return const_cast<asio::posix::stream_descriptor&>(descriptor_).native_handle(); }

  void wait_readable(std::shared_ptr<Waiter> waiter) override {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, [waiter = std::move(waiter)](error_code error) {
      if (error != asio::error::operation_aborted) waiter->handle_readable();
    });
  }
  void wait_writable(std::shared_ptr<Waiter> waiter) override {
    descriptor_.async_wait(asio::posix::stream_descriptor::wait_write, [waiter = std::move(waiter)](error_code error) {
      if (error != asio::error::operation_aborted) waiter->handle_writable();
    });
  }
  void close() override {
    error_code ignored;  // nothing can be done about a close that fails
    descriptor_.close(ignored);
  }
  int release() override { return descriptor_.release(); }

 private:
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace

struct EventLoop::Impl final : public Reactor {
  Impl() : context(1), alarm(context), resolver(context), signals(context) {}

  // What waits here may own streams, whose end needs the context: it goes first. What its end would begin does not happen.
  ~Impl() override {
    ending = true;
    due_of.clear();
    posted.clear();
    timers.clear();
  }

  Instant now() const override {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return Instant{std::chrono::duration_cast<std::chrono::nanoseconds>(since).count()};
  }

  void post(Task task) override {
    bool first;
    {
      std::scoped_lock lock(mutex);
      if (ending) return;
      first = posted.empty();
      posted.push_back(std::move(task));
    }
    if (first) asio::post(context, [this] { run_posted(); });
  }

  void run_posted() {
    {
      std::scoped_lock lock(mutex);
      posted.swap(running);
    }
    for (Task& task : running) {
      Task now_running = std::move(task);
      now_running();
    }
    running.clear();
  }

  TimerId schedule(Instant when, Task task) override {
    if (ending) return TimerId{};
    const TimerId id{++last_timer};
    const bool earliest = timers.empty() || when < timers.begin()->first.when;
    timers.emplace(TimerKey{when, id.value}, std::move(task));
    due_of.emplace(id.value, when);
    if (earliest) set_alarm();
    return id;
  }

  void cancel(TimerId id) override {
    auto due = due_of.find(id.value);
    if (due == due_of.end()) return;
    auto timer = timers.extract(TimerKey{due->second, id.value});
    due_of.erase(due);
    // An alarm too early is harmless, one without any timer would keep run() from ending.
    if (timers.empty()) alarm.cancel();
  }

  void set_alarm() {
    alarm.expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(timers.begin()->first.when.nanoseconds)));
    alarm.async_wait([this](error_code error) {
      if (error != asio::error::operation_aborted) run_due();
    });
  }

  // Timers set by those that run wait for a later turn, also when they are due already.
  void run_due() {
    const Instant limit = now();
    const std::uint64_t newest = last_timer;
    while (!timers.empty()) {
      auto next = timers.begin();
      while (next != timers.end() && next->first.when <= limit && next->first.id > newest) ++next;
      if (next == timers.end() || limit < next->first.when) break;
      due_of.erase(next->first.id);
      auto timer = timers.extract(next);
      timer.mapped()();
    }
    if (!timers.empty()) set_alarm();
  }

  void hold() override {
    if (holds++ == 0) held.emplace(asio::make_work_guard(context));
  }
  void release() override {
    GODWIT_CHECK(holds > 0);
    if (--holds == 0) held.reset();
  }

  std::unique_ptr<Watch> watch(int descriptor) override { return std::make_unique<AsioWatch>(context, descriptor); }

  void resolve(const std::string& host, std::uint16_t port, Done<std::vector<SocketAddress>> done) override {
    resolver.async_resolve(
        host, std::to_string(port), asio::ip::resolver_base::numeric_service,
        [host, done = std::move(done)](error_code error, const asio::ip::tcp::resolver::results_type& found) mutable {
          if (error == asio::error::operation_aborted) return;
          std::vector<SocketAddress> addresses;
          for (const auto& entry : found) {
            const asio::ip::tcp::endpoint endpoint = entry.endpoint();
            addresses.emplace_back(endpoint.data(), static_cast<socklen_t>(endpoint.size()));
          }
          if (!error && !addresses.empty()) return done(std::move(addresses));
          const std::string why = error ? error.message() : "no address";
          done(fail(ErrorKind::not_found, fmt::format("resolve {}: {}", host, why)));
        });
  }

  void wait_for_signal() {
    signals.async_wait([this](error_code error, int signal) {
      if (error) return;
      // From here on the system's own ending applies, for whoever does not want to wait.
      signals.clear();
      if (on_signal) on_signal(signal);
    });
  }

  struct TimerKey {
    Instant when;
    std::uint64_t id = 0;
    friend auto operator<=>(const TimerKey&, const TimerKey&) = default;
  };

  std::mutex mutex;
  std::vector<Task> posted;  // under mutex
  std::vector<Task> running;

  std::map<TimerKey, Task> timers;
  std::unordered_map<std::uint64_t, Instant> due_of;
  std::uint64_t last_timer = 0;
  bool ending = false;

  // Below what its waiting handlers may touch as they go.
  asio::io_context context;
  asio::steady_timer alarm;
  asio::ip::tcp::resolver resolver;
  asio::signal_set signals;
  std::function<void(int)> on_signal;
  std::size_t holds = 0;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> held;
};

EventLoop::EventLoop() : impl_(std::make_unique<Impl>()) {}
EventLoop::~EventLoop() = default;

void EventLoop::run() {
  impl_->context.run();
  impl_->context.restart();
}
void EventLoop::stop() {
  impl_->context.stop();
}

Instant EventLoop::now() const {
  return impl_->now();
}
void EventLoop::post(Task task) {
  impl_->post(std::move(task));
}
TimerId EventLoop::schedule(Instant when, Task task) {
  return impl_->schedule(when, std::move(task));
}
void EventLoop::cancel(TimerId timer) {
  impl_->cancel(timer);
}
void EventLoop::hold() {
  impl_->hold();
}
void EventLoop::release() {
  impl_->release();
}

void EventLoop::connect(const Address& to, Done<std::unique_ptr<Stream>> done) {
  dial(*impl_, to, std::move(done));
}

Result<std::unique_ptr<Listener>> EventLoop::listen(const Address& at, std::function<void(std::unique_ptr<Stream>)> accept) {
  return listen_at(*impl_, at, std::move(accept));
}

std::unique_ptr<Stream> EventLoop::adopt(int descriptor) {
  return make_stream(*impl_, descriptor);
}

std::unique_ptr<Stream> EventLoop::adopt_pipes(int read_descriptor, int write_descriptor, std::string name) {
  return make_pipe_stream(*impl_, read_descriptor, write_descriptor, std::move(name));
}

Reactor& EventLoop::reactor() {
  return *impl_;
}

void EventLoop::on_termination(std::function<void(int signal)> handler) {
  impl_->on_signal = std::move(handler);
  impl_->signals.clear();
  impl_->signals.add(SIGTERM);
  impl_->signals.add(SIGINT);
  struct ::sigaction hangup{};
  if (::sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) impl_->signals.add(SIGHUP);
  impl_->wait_for_signal();
}

}  // namespace godwit::net
