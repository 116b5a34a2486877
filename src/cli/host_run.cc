#include "cli/host_run.h"

#include <csignal>
#include <utility>

namespace godwit::cli {

Result<std::unique_ptr<HostRun>> HostRun::start(const Settings& settings, host::ProcessOptions options) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a peer that is gone is an error of a write, not the end of the process
  Result<Log> log = settings.log();
  if (!log) return fail(std::move(log).error());
  Result<std::string> path = settings.data_path();
  if (!path) return fail(std::move(path).error());
  Result<host::DataDirectory> data = host::DataDirectory::open(*path);
  if (!data) return fail(std::move(data).error());
  std::unique_ptr<HostRun> run(new HostRun);
  run->loop_ = std::make_unique<net::EventLoop>();
  Result<std::unique_ptr<host::VolumeProcess>> process =
      host::VolumeProcess::start(*run->loop_, std::move(*data), std::move(options), std::move(*log));
  if (!process) return fail(std::move(process).error());
  run->process_ = std::move(*process);
  run->verbs_ = std::make_unique<host::VolumeVerbs>(*run->process_);
  Result<std::unique_ptr<host::ControlServer>> control =
      host::ControlServer::listen(*run->loop_, run->process_->data().control_socket(), *run->verbs_, run->process_->log());
  if (!control) return fail(std::move(control).error());
  run->control_ = std::move(*control);
  run->loop_->on_termination([r = run.get()](int) { r->end(r->interrupted_code_); });
  return run;
}

void HostRun::every(double seconds, std::function<void()> again) {
  loop_->schedule(loop_->now() + Duration::seconds(seconds), [this, seconds, again = std::move(again)]() mutable {
    if (ending_) return;
    again();
    if (!ending_) every(seconds, std::move(again));
  });
}

void HostRun::end(int code) {
  if (std::exchange(ending_, true)) return;
  code_ = code;
  if (before_end_) before_end_();
  control_.reset();
  process_->shut_down([this] { loop_->stop(); });
}

int HostRun::run() {
  loop_->run();
  return code_;
}

}  // namespace godwit::cli
