#include "cli/image_attach_command.h"

#include <utility>

#include <fmt/format.h>

#include "cli/image_places.h"
#include "cli/tree_commands.h"
#include "export/nbd_attachment.h"
#include "store/file_device.h"

namespace godwit::cli {

namespace {

// For replies and what waits to be sent; the chunks themselves are the view's.
constexpr std::size_t kBufferBytes = 64 * 1024 * 1024;
// How long the last requests may take when the command is told to end: a store may not answer any more.
constexpr Duration kPatience = Duration::seconds(5);

// What is elsewhere can only be an index; here, everything without an index's name is the blob itself.
Result<bool> is_index(const AttachOptions& options) {
  const Result<TreeKind> kind = tree_kind(options.image, options.what);
  if (!kind) return fail(kind.error());
  if (*kind == TreeKind::directory)
    return fail(ErrorKind::usage, fmt::format("{} is a folder: a block device is a blob's", options.image));
  if (*kind != TreeKind::none)
    return fail(ErrorKind::usage,
                fmt::format("{} holds a tree: a block device is a blob's, `mount` shows a tree", options.image));
  if (!options.what.empty()) return options.what == "blob-index";
  return options.image.ends_with(".caibx") || is_remote_place(options.image);
}

// From the device below to the kernel's: each lives as long as what stands on it.
struct Attached {
  std::unique_ptr<ImageView> view;
  std::unique_ptr<store::BlockDevice> file;
  std::unique_ptr<exports::NbdAttachment> attachment;
};

}  // namespace

int run_image_attach(const Settings& settings, const AttachOptions& options) {
  ImageRun run(settings, 0);
  const Result<Log> log = settings.log();
  if (!log) return run.console().error(log.error());
  const Result<bool> by_index = is_index(options);
  if (!by_index) return run.console().error(by_index.error());

  net::BufferPool buffers(kBufferBytes);
  Attached attached;
  if (*by_index) {
    Result<std::unique_ptr<ImageView>> view = ImageView::open(run, options.image, options.view, *log);
    if (!view) return run.console().error(view.error());
    attached.view = std::move(*view);
  } else {
    Result<std::unique_ptr<store::BlockDevice>> file = store::open_file_device(options.image, true, run.loop(), run.workers());
    if (!file) return run.console().error(file.error());
    attached.file = std::move(*file);
  }
  store::BlockDevice& blob = attached.file ? *attached.file : attached.view->blob();
  const auto ready = [&] {
    if (!options.device.empty() && options.device != attached.attachment->node())
      run.console().warning(
          fmt::format("udev has made no {}: that takes the rule of casync's package, and this program under the "
                      "name casync, or casync itself, where the rule looks for it",
                      options.device));
    run.console().line("Attached: " + attached.attachment->node());
    run.console().event(
        {{"event", "ready"}, {"image", options.image}, {"device", attached.attachment->node()}, {"size", blob.size()}});
  };
  const auto ended = [&](const Result<void>& result) {
    if (!result) return (void)run.end_with(result.error());
    run.end(kDone);
  };
  Result<std::unique_ptr<exports::NbdAttachment>> attachment =
      exports::NbdAttachment::attach(run.loop(), buffers, blob, options.device, ready, ended);
  if (!attachment) return run.console().error(attachment.error());
  attached.attachment = std::move(*attachment);
  // An end by a signal is no failure.
  run.loop().on_termination([&](int) {
    run.loop().schedule(run.loop().now() + kPatience, [&run] { run.end(kDone); });
    attached.attachment->detach();
  });
  const int code = run.run();
  attached.attachment.reset();
  return code;
}

}  // namespace godwit::cli
