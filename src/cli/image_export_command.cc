#include "cli/image_export_command.h"

#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "export/nbd_server.h"
#include "host/quantity.h"
#include "host/volume_process.h"

namespace godwit::cli {

namespace {

// For replies and what waits to be sent; the chunks themselves are the view's.
constexpr std::size_t kBufferBytes = 64 * 1024 * 1024;
// How long clients' last requests may take when the command is told to end: a store may not answer any more.
constexpr Duration kPatience = Duration::seconds(5);

Result<std::vector<net::Address>> addresses_of(const ExportCommandOptions& options) {
  std::vector<net::Address> all;
  for (const std::string& text : options.nbd.empty() ? std::vector<std::string>{"127.0.0.1"} : options.nbd) {
    Result<net::Address> at = net::Address::parse(text, host::kNbdPort);
    if (!at) return fail(ErrorKind::usage, std::move(at).error().within("--nbd").message());
    if (!at->is_loopback() && !options.insecure)
      return fail(ErrorKind::usage, fmt::format("--nbd {}: everybody who reaches this address could read the image, unencrypted: "
                                                "choose a loopback address or a Unix socket, or say --insecure if that is meant",
                                                at->text()));
    all.push_back(std::move(*at));
  }
  return all;
}

}  // namespace

int run_image_export(const Settings& settings, const ExportCommandOptions& options) {
  ImageRun run(settings, 0);
  const Result<Log> log = settings.log();
  if (!log) return run.console().error(log.error());
  const Result<std::vector<net::Address>> addresses = addresses_of(options);
  if (!addresses) return run.console().error(addresses.error());
  const Result<std::unique_ptr<ImageView>> view = ImageView::open(run, options.index, options.view, *log);
  if (!view) return run.console().error(view.error());

  net::BufferPool buffers(kBufferBytes);
  exports::NbdServer server(run.loop(), buffers, {}, nullptr);
  const std::string name = options.name.empty() ? image_name_of(options.index) : options.name;
  // Also as the default export: there is only this one.
  for (const std::string& offered : {name, std::string()}) {
    exports::ExportOptions export_options;
    export_options.name = offered;
    export_options.description = [index = options.index] { return "the image " + index; };
    export_options.read_only = true;
    if (Result<void> added = server.add(std::move(export_options), (*view)->blob()); !added)
      return run.console().error(added.error());
  }
  std::vector<std::unique_ptr<net::Listener>> listeners;
  boost::json::array nbd;
  std::string text;
  for (const net::Address& at : *addresses) {
    Result<std::unique_ptr<net::Listener>> listener =
        run.loop().listen(at, [&server](std::unique_ptr<net::Stream> stream) { server.accept(std::move(stream)); });
    if (!listener) return run.console().error(listener.error().within("listen for NBD clients on " + at.text()));
    const std::string address = (*listener)->address().text();
    text += (text.empty() ? "" : ", ") + address;
    nbd.push_back(boost::json::string(address));
    listeners.push_back(std::move(*listener));
  }
  run.console().line(fmt::format("serving {} ({}), read-only: NBD at {}, export {}", options.index,
                                 host::text_of_bytes((*view)->blob().size()), text, name));
  run.console().event(
      {{"event", "ready"}, {"index", options.index}, {"name", name}, {"size", (*view)->blob().size()}, {"nbd", std::move(nbd)}});
  // A server's end by a signal is no failure.
  run.loop().on_termination([&](int) {
    listeners.clear();
    run.loop().schedule(run.loop().now() + kPatience, [&run] { run.end(kDone); });
    server.shut_down([&run] { run.end(kDone); });
  });
  return run.run();
}

}  // namespace godwit::cli
