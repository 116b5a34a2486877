#include "cli/image_serve_command.h"

#include <optional>

#include <fmt/format.h>

#include "chunks/driver/http_image_server.h"
#include "cli/image_run.h"
#include "net/tls.h"

namespace godwit::cli {

int run_image_serve(const Settings& settings, const ImageServeOptions& options) {
  ImageRun run(settings, 0);
  const Result<net::Address> at = net::Address::parse(options.listen, 8080);
  if (!at) return run.console().error(Error(ErrorKind::usage, at.error().message()).within("--listen"));
  if (options.certificate.empty() != options.key.empty())
    return run.console().error(Error(ErrorKind::usage, "HTTPS takes both: --certificate FILE and --key FILE"));
  const bool is_https = !options.certificate.empty();
  if (!at->is_loopback() && !options.insecure && !is_https)
    return run.console().error(Error(
        ErrorKind::refused,
        fmt::format("--listen {}: others could read every image here, and what travels; say --insecure if they may, or serve "
                    "by HTTPS with --certificate and --key",
                    options.listen)));
  std::optional<net::TlsNetwork> tls;
  if (is_https) {
    const auto identity = net::TlsIdentity::load(options.certificate, options.key);
    if (!identity) return run.console().error(identity.error());
    tls.emplace(run.loop(), run.loop(), *identity);
  }
  net::Network& network = tls ? static_cast<net::Network&>(*tls) : run.loop();
  const auto server = chunks::HttpImageServer::listen(run.loop(), network, run.workers(), *at, options.folder);
  if (!server) return run.console().error(server.error());
  const std::string address = (*server)->address().text();
  run.console().line(fmt::format("serving {} at {}://{}/", options.folder, is_https ? "https" : "http", address));
  run.console().event({{"event", "ready"}, {"folder", options.folder}, {"address", address}, {"https", is_https}});
  // A server's end by a signal is no failure.
  run.loop().on_termination([&](int) { run.end(kDone); });
  return run.run();
}

}  // namespace godwit::cli
