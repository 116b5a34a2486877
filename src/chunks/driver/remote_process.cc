#include "chunks/driver/remote_process.h"

#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "net/child_process.h"

namespace godwit::chunks {

RemotePrograms remote_programs_of_environment() {
  RemotePrograms programs;
  const auto take = [](const char* name, std::string& into) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') into = value;
  };
  take("CASYNC_SSH_PATH", programs.ssh);
  take("CASYNC_REMOTE_PATH", programs.casync);
  take("CASYNC_PROTOCOL_PATH", programs.protocols);
  return programs;
}

// What shells and ssh mean by it.
static std::string_view meaning_of(const net::ChildExit& exit) {
  if (exit.signal != 0) return "";
  if (exit.code == 127)
    return ", a program was not found: CASYNC_REMOTE_PATH says which is started there, casync unless it is set";
  if (exit.code == 255) return ", as ssh ends when it can not reach the host or is not let in";
  return "";
}

RemoteConnector connect_by_command(net::EventLoop& loop, std::vector<std::string> words, std::shared_ptr<RemoteRate> rate) {
  return [&loop, words = std::move(words), rate = std::move(rate)]() -> Result<RemoteConnection> {
    Result<std::unique_ptr<net::ChildProcess>> started = net::ChildProcess::start(loop, words);
    if (!started) return fail(std::move(started).error());
    const std::shared_ptr<net::ChildProcess> child = std::move(*started);
    RemoteConnection connection;
    connection.stream = child->take_stream();
    connection.owner = child;
    connection.rate = rate;
    connection.wait_for_end = [child, program = words.front()](Done<void> done) {
      child->wait([program, done = std::move(done)](Result<net::ChildExit> exit) mutable {
        if (!exit) return done(fail(std::move(exit).error()));
        if (!exit->is_success())
          return done(fail(ErrorKind::connection_lost, fmt::format("{}: {}{}", program, exit->text(), meaning_of(*exit))));
        done({});
      });
    };
    return connection;
  };
}

}  // namespace godwit::chunks
