#include "net/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "net/descriptor.h"
#include "net/pipe_stream.h"

namespace godwit::net {

namespace {

constexpr int kPatienceMilliseconds = 1000;  // between SIGTERM and SIGKILL

struct Pipe {
  Descriptor read, write;
};

Result<Pipe> make_pipe(int flags) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | flags) != 0) return fail(Error::from_errno(errno, "make a pipe"));
  return Pipe{Descriptor(ends[0]), Descriptor(ends[1])};
}

// In the child, between fork and exec: only what a signal handler might do as well. Tells a failure's number over `report`.
[[noreturn]] void become(const std::vector<char*>& argv, int input, int output, int report, pid_t parent) {
  const auto give_up = [&] {
    const int number = errno;
    (void)!::write(report, &number, sizeof number);
    ::_exit(127);
  };
  // A descriptor that already is 0 or 1 would be closed by exec, or overwritten by the other: both go out of the way first.
  input = ::fcntl(input, F_DUPFD_CLOEXEC, 3);
  output = ::fcntl(output, F_DUPFD_CLOEXEC, 3);
  if (input < 0 || output < 0 || ::dup2(input, 0) < 0 || ::dup2(output, 1) < 0) give_up();
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0) give_up();
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  ::execvp(argv[0], argv.data());
  give_up();
  ::_exit(127);
}

}  // namespace

std::string ChildExit::text() const {
  return signal != 0 ? fmt::format("killed by signal {}", signal) : fmt::format("exit code {}", code);
}

struct ChildProcess::Impl final : Waiter, std::enable_shared_from_this<ChildProcess::Impl> {
  // Looks whether it has ended; without blocking unless told so.
  bool reap(int options) {
    if (exit) return true;
    int status = 0;
    pid_t ended;
    do ended = ::waitpid(pid, &status, options);
    while (ended < 0 && errno == EINTR);
    if (ended == 0) return false;
    // Somebody else's waitpid(-1) would be a bug of ours; without a status nothing is known.
    ChildExit found{127, 0};
    if (ended == pid) found = WIFSIGNALED(status) ? ChildExit{0, WTERMSIG(status)} : ChildExit{WEXITSTATUS(status), 0};
    exit = found;
    return true;
  }

  void handle_readable() override {
    if (!done) return;
    if (!reap(WNOHANG)) return watch->wait_readable(shared_from_this());
    Done<ChildExit> told = std::exchange(done, nullptr);
    told(*exit);
  }

  Reactor* reactor = nullptr;
  pid_t pid = -1;
  std::unique_ptr<Watch> watch;  // of the process; readable when it has ended
  std::optional<ChildExit> exit;
  std::unique_ptr<Stream> stream;
  Done<ChildExit> done;
};

Result<std::unique_ptr<ChildProcess>> ChildProcess::start(EventLoop& loop, const std::vector<std::string>& argv) {
  GODWIT_CHECK(!argv.empty());
  Result<Pipe> input = make_pipe(O_NONBLOCK), output = make_pipe(O_NONBLOCK), report = make_pipe(0);
  for (const Result<Pipe>* pipe : {&input, &output, &report})
    if (!*pipe) return fail(pipe->error());
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));  // exec's type knows no const
  words.push_back(nullptr);

  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return fail(Error::from_errno(errno, "start " + argv[0]));
  if (pid == 0) become(words, input->read.get(), output->write.get(), report->write.get(), parent);

  report->write.reset();
  int number = 0;
  ssize_t size;
  do size = ::read(report->read.get(), &number, sizeof number);
  while (size < 0 && errno == EINTR);
  if (size == sizeof number) {
    (void)::waitpid(pid, nullptr, 0);
    return fail(Error::from_errno(number, "start " + argv[0]));
  }
  auto impl = std::make_shared<Impl>();
  impl->reactor = &loop.reactor();
  impl->pid = pid;
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) {
    const int why = errno;
    (void)::kill(pid, SIGKILL);
    (void)::waitpid(pid, nullptr, 0);
    return fail(Error::from_errno(why, "watch " + argv[0]));
  }
  impl->watch = loop.reactor().watch(process);
  impl->stream = make_pipe_stream(loop.reactor(), output->read.release(), input->write.release(), argv[0]);
  return std::unique_ptr<ChildProcess>(new ChildProcess(std::move(impl)));
}

ChildProcess::ChildProcess(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ChildProcess::~ChildProcess() {
  impl_->done = nullptr;
  impl_->stream.reset();
  if (!impl_->reap(WNOHANG)) {
    (void)::kill(impl_->pid, SIGTERM);
    pollfd process{impl_->watch->descriptor(), POLLIN, 0};
    (void)::poll(&process, 1, kPatienceMilliseconds);
    if (!impl_->reap(WNOHANG)) {
      (void)::kill(impl_->pid, SIGKILL);
      (void)impl_->reap(0);
    }
  }
  impl_->watch->close();
}

std::unique_ptr<Stream> ChildProcess::take_stream() {
  GODWIT_CHECK(impl_->stream != nullptr);
  return std::move(impl_->stream);
}

void ChildProcess::wait(Done<ChildExit> done) {
  GODWIT_CHECK(!impl_->done);
  impl_->done = std::move(done);
  if (impl_->exit) {
    impl_->reactor->post([impl = impl_] { impl->handle_readable(); });
  } else {
    impl_->watch->wait_readable(impl_);
  }
}

void ChildProcess::terminate() {
  if (!impl_->reap(WNOHANG)) (void)::kill(impl_->pid, SIGTERM);
}

int ChildProcess::pid() const {
  return impl_->pid;
}

}  // namespace godwit::net
