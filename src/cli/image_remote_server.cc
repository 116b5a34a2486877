#include "cli/image_remote_server.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "chunks/core/remote_gate.h"
#include "chunks/driver/lazy_blobs.h"
#include "chunks/driver/remote_server_link.h"
#include "cli/console.h"
#include "cli/image_run.h"
#include "net/event_loop.h"
#include "net/worker_pool.h"
#include "store/directory_blobs.h"

namespace godwit::cli {

namespace {

int complain(const RemoteServerOptions& options, const Error& error) {
  std::cerr << fmt::format("{}: {}\n", options.is_push ? "push" : "pull", error.message());
  return kFailed;
}

// Descriptors 0 and 1 get back the flags they came with: they may be somebody else's terminal.
class FlagsKept {
 public:
  ~FlagsKept() {
    for (int i = 0; i < 2; ++i)
      if (flags_[i] >= 0) (void)::fcntl(i, F_SETFL, flags_[i]);
  }

 private:
  int flags_[2] = {::fcntl(0, F_GETFL), ::fcntl(1, F_GETFL)};
};

struct Operands {
  std::string archive, index;
  std::vector<std::string> stores;  // the first is WSTORE
  bool has_wstore = false;
};

Result<Operands> parse_operands(const RemoteServerOptions& options) {
  const std::vector<std::string>& words = options.operands;
  if (words.size() < 4)
    return fail(ErrorKind::usage, "expected: BASE ARCHIVE INDEX STORE [STORE…], with - for what is not there");
  if (words[0] != "-") return fail(ErrorKind::unsupported, "a base is not supported by the casync protocol: it must be -");
  Operands operands;
  const auto given = [](const std::string& word) { return word == "-" ? std::string() : word; };
  operands.archive = given(words[1]);
  operands.index = given(words[2]);
  operands.has_wstore = words[3] != "-";
  for (std::size_t i = 3; i < words.size(); ++i)
    if (words[i] != "-") operands.stores.push_back(words[i]);
  return operands;
}

// The client learns why by an ABORT, where a real casync would just be gone.
int refuse(const RemoteServerOptions& options, const Error& error) {
  Bytes frames;
  chunks::wire::encode_message(chunks::abort_of_error(error), frames);
  // A few hundred bytes, which every pipe takes at once; a client that is gone needs none.
  (void)!::write(1, frames.data(), frames.size());
  return complain(options, error);
}

}  // namespace

int run_remote_server(const RemoteServerOptions& options) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  const Result<Operands> operands = parse_operands(options);
  if (!operands) {
    complain(options, operands.error());
    return operands.error().kind() == ErrorKind::usage ? kUsage : kFailed;
  }
  const Result<std::uint64_t> rate = parse_rate_limit(options.rate_limit);
  if (!rate) {
    complain(options, rate.error());
    return kUsage;
  }
  const FlagsKept flags;
  net::EventLoop loop;
  const std::unique_ptr<net::Workers> workers = net::make_workers(loop, std::max(2U, std::thread::hardware_concurrency()));
  std::vector<std::unique_ptr<store::BlobStore>> stores;
  chunks::RemoteService service{options.is_push, operands->index, operands->archive, {}, nullptr};
  if (*rate > 0) service.rate = std::make_shared<chunks::RemoteRate>(*rate, loop.now());
  for (const std::string& path : operands->stores) {
    const bool written = options.is_push && stores.empty() && operands->has_wstore;
    Result<std::unique_ptr<store::BlobStore>> opened =
        written ? chunks::make_lazy_blobs(path, *workers, loop) : store::make_directory_blobs(path, false, *workers, loop);
    if (!opened) return refuse(options, opened.error().within("chunk store"));
    stores.push_back(std::move(*opened));
    service.stores.push_back(stores.back().get());
  }
  if (options.is_push && !operands->has_wstore) service.stores.clear();

  std::optional<Result<void>> ended;
  const auto end = [&](Result<void> result) {
    if (!ended) ended = std::move(result);
    loop.stop();
  };
  loop.on_termination([&](int) { end(fail(ErrorKind::cancelled, "interrupted")); });
  const int input = ::fcntl(0, F_DUPFD_CLOEXEC, 3), output = ::fcntl(1, F_DUPFD_CLOEXEC, 3);
  if (input < 0 || output < 0) return complain(options, Error(ErrorKind::usage, "standard input and output are the connection"));
  {
    Result<std::unique_ptr<chunks::RemoteServerLink>> link =
        chunks::RemoteServerLink::start(loop, *workers, loop.adopt_pipes(input, output, "the client"), std::move(service), end);
    if (!link) return refuse(options, link.error());
    loop.run();
  }
  if (!ended) ended = fail(ErrorKind::connection_lost, "the client is gone");
  return *ended ? kDone : complain(options, ended->error());
}

}  // namespace godwit::cli
