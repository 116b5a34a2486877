#include "cli/image_mount_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/archive_files.h"
#include "cli/image_places.h"
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
  std::unique_ptr<exports::FileTree> tree;
  std::unique_ptr<exports::FuseMount> mount;
};

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

  Mounted mounted;
  if (*kind == TreeKind::archive && is_remote_place(options.image))
    return run.console().error(Error(ErrorKind::usage, options.image +
                                                           ": a remote archive can not be mounted, its bytes come only "
                                                           "from its beginning: fetch it first, or mount an index"));
  if (*kind == TreeKind::archive) {
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
    store::BlockDevice& archive = mounted.file ? *mounted.file : mounted.view->blob();
    chunks::ArchiveFiles::open(archive, run.loop(), {.shift = *shift}, [&](Result<std::unique_ptr<chunks::ArchiveFiles>> files) {
      if (!files) return (void)run.end_with(files.error().within(options.image));
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
