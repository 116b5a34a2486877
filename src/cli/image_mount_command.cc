#include "cli/image_mount_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/archive_files.h"
#include "chunks/driver/device_archive.h"
#include "cli/image_places.h"
#include "cli/remote_archive.h"
#include "export/device_tree.h"
#include "export/fuse_mount.h"
#include "host/quantity.h"
#include "store/file_device.h"

namespace godwit::cli {

namespace {

namespace feature = chunks::feature;

// Archived, and nothing that a file system of this sort could show.
constexpr chunks::FeatureFlags kNotShown = feature::kQuotaProjectId | feature::kSubvolume | feature::kSubvolumeReadOnly;

std::string words_of(chunks::FeatureFlags flags) {
  std::string words;
  for (const chunks::FeatureName& known : chunks::feature_names())
    if ((known.flags & (known.flags - 1)) == 0 && (flags & known.flags) != 0)
      words += (words.empty() ? "" : ", ") + std::string(known.name);
  return words;
}

// The folder that is mounted over: there, or made here and then gone again when nothing was mounted.
class MountFolder {
 public:
  static Result<MountFolder> make(const std::string& path, bool may_make) {
    MountFolder folder(path);
    if (may_make && ::mkdir(path.c_str(), 0777) == 0)
      folder.made_ = true;
    else if (may_make && errno != EEXIST)
      return fail(Error::from_errno(errno, "make the folder " + path));
    return folder;
  }
  MountFolder(MountFolder&& other) noexcept : path_(std::move(other.path_)), made_(std::exchange(other.made_, false)) {}
  ~MountFolder() {
    if (made_) (void)::rmdir(path_.c_str());  // what stays is an empty folder
  }
  void keep() { made_ = false; }

 private:
  explicit MountFolder(const std::string& path) : path_(path) {}
  std::string path_;
  bool made_ = false;
};

exports::FileStatus status_of_blob(const std::string& index) {
  exports::FileStatus file{.mode = S_IFREG | 0444, .uid = ::geteuid(), .gid = ::getegid()};
  struct ::stat status{};
  // An index from elsewhere has no time here.
  if (::stat(index.c_str(), &status) == 0)
    file.mtime_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
  return file;
}

// What is mounted, from the device below to the mount: each lives as long as what stands on it.
struct Mounted {
  std::unique_ptr<ImageView> view;
  std::unique_ptr<store::BlockDevice> file;
  std::unique_ptr<RemoteArchive> remote;
  std::unique_ptr<exports::FileTree> tree;
  std::unique_ptr<exports::FuseMount> mount;
};

Result<std::unique_ptr<RemoteArchive>> open_remote(const MountOptions& options, ImageRun& run) {
  const Result<std::uint64_t> cache = host::parse_byte_count(options.view.cache);
  if (!cache) return fail(ErrorKind::usage, cache.error().within("--cache").message());
  return RemoteArchive::open(options.image, {.store = options.view.store, .cache_bytes_max = *cache, .shows_progress = true},
                             run);
}

// By the tables of contents, so that only these are read. The loop turns meanwhile.
Result<chunks::ArchiveSubtree> find_subtree_of(store::BlockDevice& archive, const std::string& path, ImageRun& run) {
  chunks::DeviceArchive bytes(archive, run.loop());
  Result<chunks::ArchiveSubtree> found = fail(ErrorKind::cancelled, "interrupted");
  std::thread searcher;
  const Result<void> waited = run.wait_for([&](net::Done<void> done) {
    searcher = std::thread([&found, &bytes, &path, &run, done = std::move(done)]() mutable {
      found = chunks::find_subtree(bytes, path);
      run.loop().post([done = std::move(done)]() mutable { done({}); });
    });
  });
  bytes.cancel();  // after a signal, it still looks
  searcher.join();
  if (!waited) return fail(waited.error());
  return found;
}

}  // namespace

int run_image_mount(const Settings& settings, const MountOptions& options) {
  const Result<TreeKind> kind = tree_kind(options.image, options.tree.what);
  ImageRun run(settings, 0);
  if (!kind) return run.console().error(kind.error());
  if (*kind == TreeKind::directory)
    return run.console().error(Error(ErrorKind::usage, options.image + " is a folder: mount takes an index or an archive"));
  const Result<Log> log = settings.log();
  if (!log) return run.console().error(log.error());
  const Result<chunks::UidShift> shift = options.tree.shift(options.folder);
  if (!shift) return run.console().error(shift.error());

  if (*kind == TreeKind::none && !options.subpath.empty())
    return run.console().error(Error(ErrorKind::usage, options.image + " is of a blob, which has no '" + options.subpath + "'"));

  Mounted mounted;
  if (*kind == TreeKind::archive && is_archive_elsewhere(options.image)) {
    Result<std::unique_ptr<RemoteArchive>> remote = open_remote(options, run);
    if (!remote) return run.console().error(remote.error());
    mounted.remote = std::move(*remote);
  } else if (*kind == TreeKind::archive) {
    Result<std::unique_ptr<store::BlockDevice>> file = store::open_file_device(options.image, true, run.loop(), run.workers());
    if (!file) return run.console().error(file.error());
    mounted.file = std::move(*file);
  } else {
    // The mount tells what can not be read, with the file's name.
    Result<std::unique_ptr<ImageView>> view = ImageView::open(run, options.image, options.view, Log());
    if (!view) return run.console().error(view.error());
    mounted.view = std::move(*view);
  }
  Result<MountFolder> folder = MountFolder::make(options.folder, options.make_folder);
  if (!folder) return run.console().error(folder.error());

  const auto ready = [&] {
    folder->keep();
    run.console().line("Mounted: " + options.folder);
    run.console().event({{"event", "ready"},
                         {"image", options.image},
                         {"folder", options.folder},
                         {"files", mounted.tree->file_count()},
                         {"bytes", mounted.tree->byte_count()}});
  };
  const auto mount = [&](std::unique_ptr<exports::FileTree> tree) {
    mounted.tree = std::move(tree);
    Result<std::unique_ptr<exports::FuseMount>> made = exports::FuseMount::mount(
        run.loop(), *mounted.tree, {.folder = options.folder, .source = options.image}, *log, ready, [&run] { run.end(kDone); });
    if (!made) return (void)run.end_with(made.error());
    mounted.mount = std::move(*made);
  };
  if (*kind == TreeKind::none) {
    chunks::BlobView& blob = mounted.view->blob();
    mount(exports::make_device_tree(image_name_of(options.image), blob, status_of_blob(options.image), run.loop()));
  } else {
    store::BlockDevice& archive = mounted.remote ? mounted.remote->device() : mounted.file ? *mounted.file : mounted.view->blob();
    chunks::ArchiveFiles::Options files_options{.shift = *shift, .subtree = std::nullopt};
    if (!options.subpath.empty()) {
      const Result<chunks::ArchiveSubtree> found = find_subtree_of(archive, options.subpath, run);
      if (!found) return run.console().error(Error(found.error()).within(options.image));
      files_options.subtree = *found;
    }
    chunks::ArchiveFiles::open(archive, run.loop(), files_options, [&](Result<std::unique_ptr<chunks::ArchiveFiles>> files) {
      if (!files) return (void)run.end_with(files.error().within(options.image));
      if (!S_ISDIR((*files)->map()[0].mode))
        return (void)run.end_with(Error(ErrorKind::invalid, fmt::format("{}: '{}' is no folder: mount the one that it is in",
                                                                        options.image, escaped(options.subpath))));
      const chunks::FeatureFlags not_shown = (*files)->map().used_flags() & kNotShown;
      log->info("the archive is mapped", {{"files", (*files)->map().size()}, {"memory_bytes", (*files)->map().memory_bytes()}});
      if (not_shown != 0) fmt::print(stderr, "not shown in a mount, though the archive has it: {}\n", words_of(not_shown));
      mount(std::move(*files));
    });
  }
  run.loop().on_termination([&](int) { run.end(mounted.mount ? kDone : kFailed); });
  const int code = run.run();
  mounted.mount.reset();
  return code;
}

}  // namespace godwit::cli
