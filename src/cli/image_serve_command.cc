#include "cli/image_serve_command.h"

#include <fmt/format.h>

#include "chunks/driver/http_image_server.h"
#include "cli/image_run.h"

namespace godwit::cli {

int run_image_serve(const Settings& settings, const ImageServeOptions& options) {
  ImageRun run(settings, 0);
  const Result<net::Address> at = net::Address::parse(options.listen, 8080);
  if (!at) return run.console().error(Error(ErrorKind::usage, at.error().message()).within("--listen"));
  if (!at->is_loopback() && !options.insecure)
    return run.console().error(
        Error(ErrorKind::refused,
              fmt::format("--listen {}: others could read every image here; say --insecure if they may", options.listen)));
  const auto server = chunks::HttpImageServer::listen(run.loop(), run.loop(), run.workers(), *at, options.folder);
  if (!server) return run.console().error(server.error());
  const std::string address = (*server)->address().text();
  run.console().line(fmt::format("serving {} at http://{}/", options.folder, address));
  run.console().event({{"event", "ready"}, {"folder", options.folder}, {"address", address}});
  // A server's end by a signal is no failure.
  run.loop().on_termination([&](int) { run.end(kDone); });
  return run.run();
}

}  // namespace godwit::cli
