#include "cli/tree_commands.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "cli/tree_run.h"

namespace godwit::cli {

using chunks::FeatureFlags;
namespace feature = chunks::feature;

namespace {

// Threads that make a tree's nodes: more only wait for each other in the file system.
constexpr unsigned kMakersMax = 4;
constexpr std::uint64_t kShiftUnit = std::uint64_t{1} << 16;

Result<FeatureFlags> flags_of(const std::vector<std::string>& names) {
  FeatureFlags flags = 0;
  for (const std::string& name : names) {
    const Result<FeatureFlags> known = chunks::feature_flags_of_name(name);
    if (!known) return known;
    flags |= *known;
  }
  return flags;
}

Result<FeatureFlags> masked(const TreeOptions& options, FeatureFlags by_default) {
  const Result<FeatureFlags> with = flags_of(options.with);
  if (!with) return with;
  const Result<FeatureFlags> without = flags_of(options.without);
  if (!without) return without;
  return (options.with.empty() ? by_default : *with) & ~*without;
}

Result<std::uint64_t> number_of(const std::string& text, std::string_view option) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number > 0xffffffff)
    return fail(ErrorKind::usage, fmt::format("{}={} is not a number of 32 bits", option, text));
  return number;
}

mode_t present_umask() {
  const mode_t mask = ::umask(022);
  ::umask(mask);
  return mask;
}

bool is_folder(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

// Writing to a full disk or a closed pipe shows only here.
int flushed(Console& console) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return kDone;
  return console.error(Error(ErrorKind::io, "could not write to standard output"));
}

}  // namespace

Result<TreeKind> tree_kind(const std::string& name, const std::string& what) {
  if (what == "archive") return TreeKind::archive;
  if (what == "archive-index") return TreeKind::archive_index;
  if (what == "directory") return TreeKind::directory;
  if (what == "blob" || what == "blob-index") return TreeKind::none;
  if (!what.empty())
    return fail(ErrorKind::usage, "--what is archive, archive-index, blob, blob-index or directory, not '" + escaped(what) + "'");
  if (name.ends_with(".catar")) return TreeKind::archive;
  if (name.ends_with(".caidx")) return TreeKind::archive_index;
  return is_folder(name) ? TreeKind::directory : TreeKind::none;
}

static Result<FeatureFlags> features_of(const TreeOptions& options, FeatureFlags by_default) {
  Result<FeatureFlags> flags = masked(options, by_default);
  if (!flags) return flags;
  const Result<chunks::Digest> digest = chunks::digest_of_name(options.digest);
  if (!digest) return fail(digest.error());
  if (options.exclude_nodump) *flags |= feature::kExcludeNoDump;
  if (options.exclude_submounts) *flags |= feature::kExcludeSubmounts;
  if (options.exclude_file) *flags |= feature::kExcludeFile;
  return chunks::normalized(chunks::with_digest(*flags, *digest));
}

Result<FeatureFlags> TreeOptions::archive_features() const {
  return features_of(*this, feature::kWithAll);  // normalized, all is best
}

Result<FeatureFlags> TreeOptions::blob_features() const {
  return features_of(*this, 0);
}

Result<FeatureFlags> TreeOptions::extraction_mask() const {
  return masked(*this, feature::kWithAll);
}

Result<chunks::UidShift> TreeOptions::shift(const std::string& folder) const {
  chunks::UidShift shift;
  if (!uid_range.empty()) {
    const Result<std::uint64_t> range = number_of(uid_range, "--uid-range");
    if (!range) return fail(range.error());
    shift.range = *range;
  }
  if (uid_shift.empty() || uid_shift == "no") return shift;
  if (uid_shift == "yes") {
    struct stat status{};
    if (::stat(folder.c_str(), &status) != 0)
      return fail(Error::from_errno(errno, fmt::format("--uid-shift=yes: look at the owner of '{}'", folder)));
    shift.shift = status.st_uid / kShiftUnit * kShiftUnit;
    if (uid_range.empty()) shift.range = kShiftUnit;
    return shift;
  }
  const Result<std::uint64_t> number = number_of(uid_shift, "--uid-shift");
  if (!number) return fail(number.error());
  shift.shift = *number;
  if (uid_range.empty()) shift.range = kShiftUnit;
  return shift;
}

Result<TreeInput> TreeInput::open(const std::string& name, const std::string& subpath, const TreeOptions& options,
                                  chunks::ArchiveBytes* elsewhere, std::shared_ptr<chunks::StreamWatch> watch) {
  const Result<TreeKind> kind = tree_kind(name, options.what);
  if (!kind) return fail(kind.error());
  TreeInput input;
  input.name_ = name;
  const auto take = [&](std::unique_ptr<chunks::ArchiveStream> source, std::uint64_t size) {
    input.source_ = watch ? std::make_unique<chunks::WatchedStream>(std::move(source), size, watch) : std::move(source);
  };
  if (*kind == TreeKind::none)
    return fail(ErrorKind::usage, "'" + escaped(name) + "' is no archive (.catar), archive index (.caidx) or folder");
  if (*kind == TreeKind::directory) {
    if (!subpath.empty()) return fail(ErrorKind::usage, "a sub-tree can be named only of an archive or an archive index");
    const Result<FeatureFlags> features = options.archive_features();
    if (!features) return fail(features.error());
    const Result<chunks::UidShift> shift = options.shift(name);
    if (!shift) return fail(shift.error());
    Result<std::unique_ptr<chunks::TreeSource>> source = chunks::TreeSource::open(name, {*features, *shift});
    if (!source) return fail(std::move(source).error());
    take(std::move(*source), 0);
    input.is_folder_ = true;
    return input;
  }
  chunks::ArchiveBytes* archive = elsewhere;
  if (archive == nullptr && *kind == TreeKind::archive) {
    Result<std::unique_ptr<chunks::ArchiveFile>> file = chunks::ArchiveFile::open(name);
    if (!file) return fail(std::move(file).error());
    input.archive_ = std::move(*file);
    archive = input.archive_.get();
  }
  GODWIT_CHECK(archive != nullptr);
  const Result<chunks::ArchiveSubtree> found = chunks::find_subtree(*archive, subpath);
  if (!found) return fail(found.error().within(escaped(name)));
  if (!found->path.empty()) {
    input.decoder_options_.start_offset = found->start;
    input.decoder_options_.end_offset = found->end;
    input.path_ = found->path;
  }
  take(std::make_unique<chunks::ArchiveRange>(*archive, found->start, found->end), found->end - found->start);
  return input;
}

int run_tree_make(const Settings& settings, const TreeOptions& options, const std::string& archive, const std::string& folder) {
  ImageRun run(settings, 1);
  const Result<FeatureFlags> features = options.archive_features();
  if (!features) return run.console().error(features.error());
  const Result<chunks::UidShift> shift = options.shift(folder);
  if (!shift) return run.console().error(shift.error());
  Result<std::unique_ptr<chunks::TreeSource>> tree = chunks::TreeSource::open(folder, {*features, *shift});
  if (!tree) return run.console().error(tree.error());
  const auto watch = std::make_shared<chunks::StreamWatch>();
  chunks::WatchedStream source(std::move(*tree), 0, watch);
  show_tree_progress(run, "make", folder, watch);
  return run.run_beside(
      [&] {
        const Result<chunks::ChunkId> id = chunks::write_archive_file(source, chunks::digest_of(*features), archive);
        if (!id) return run.console().error(id.error().within("make " + archive));
        run.console().line(id->hex());
        run.console().event({{"event", "made"},
                             {"archive", archive},
                             {"size", watch->bytes_read.load()},
                             {"digest", id->hex()},
                             {"seconds", run.seconds()}});
        return kDone;
      },
      [&] { watch->is_stopped = true; });
}

int run_tree_extract(Console& console, const TreeOptions& options, TreeInput input, const std::string& folder) {
  const Result<FeatureFlags> mask = options.extraction_mask();
  if (!mask) return console.error(mask.error());
  const Result<chunks::UidShift> shift = options.shift(folder);
  if (!shift) return console.error(shift.error());
  chunks::TreeExtractorOptions extraction;
  extraction.mask = {*mask, *shift, present_umask()};
  extraction.remove_others = options.remove_others;
  extraction.undo_immutable = options.undo_immutable;
  extraction.punch_holes = options.punch_holes;
  extraction.threads = std::clamp(options.threads == 0 ? std::thread::hardware_concurrency() : options.threads, 1U, kMakersMax);
  std::ranges::copy_if(options.seeds, std::back_inserter(extraction.seeds), is_folder);
  extraction.reflink = options.reflink;
  extraction.hardlink = options.hardlink;
  extraction.sync = options.sync;
  chunks::raise_descriptor_limit();
  const std::string name = input.path().substr(input.path().rfind('/') + 1);
  const bool was_there = is_folder(folder);
  Result<std::unique_ptr<chunks::TreeExtractor>> extractor = chunks::TreeExtractor::open(folder, extraction, name);
  if (!extractor) return console.error(extractor.error());
  if (Result<void> done = chunks::extract_tree(input.source(), input.decoder_options(), **extractor); !done) {
    // A folder that is new and has nothing is no use to anybody.
    if (!was_there) (void)::rmdir(folder.c_str());
    return console.error(with_advice(std::move(done).error().within("extract " + input.name())));
  }
  console.event({{"event", "extracted"},
                 {"folder", folder},
                 {"nodes", (*extractor)->node_count()},
                 {"files_linked", (*extractor)->linked_count()},
                 {"bytes_shared", (*extractor)->bytes_shared()}});
  return kDone;
}

int run_tree_text(Console& console, const TreeOptions& options, TreeInput input, chunks::TreeText form) {
  const chunks::TreeTextOptions text{form, input.path(), options.recursive, input.is_folder()};
  Result<void> printed = chunks::print_tree(input.source(), input.decoder_options(), text, print);
  if (!printed) return console.error(with_advice(std::move(printed).error().within(input.name())));
  return flushed(console);
}

int run_tree_digest(Console& console, TreeInput input) {
  Result<chunks::ChunkId> id = chunks::digest_tree(input.source(), input.decoder_options());
  if (!id) return console.error(with_advice(std::move(id).error().within("digest " + input.name())));
  console.line(id->hex());
  console.event({{"event", "digest"}, {"digest", id->hex()}});
  return kDone;
}

constexpr const char* kWithText =
    "keep this: a group, best, unix, fat, chattr, fat-attrs, privileged or fuse, or one feature, such as xattrs, acl, "
    "user-names, "
    "nsec-time (casync(1) has the list); may be repeated (default: best)";

void add_archive_options(Command app, TreeOptions& options) {
  app.add_option("--with", options.with, kWithText).one_each();
  app.add_option("--without", options.without, "leave this feature or group out; may be repeated").one_each();
  app.add_option("--exclude-nodump", options.exclude_nodump, "leave out what has chattr's +d (default yes)").type_name("yes|no");
  app.add_option("--exclude-submounts", options.exclude_submounts, "leave out what is mounted below (default no)")
      .type_name("yes|no");
  app.add_option("--exclude-file", options.exclude_file, "obey .caexclude files (default yes)").type_name("yes|no");
  app.add_option("--uid-shift", options.uid_shift, "yes (by the folder's owner), or what to take off each owner's number");
  app.add_option("--uid-range", options.uid_range, "owners' numbers modulo this");
  app.add_option("--what", options.what, "archive, archive-index, directory, blob or blob-index, whatever the name says");
}

void add_extract_options(Command app, TreeOptions& options) {
  app.add_option("--with", options.with,
                 "set this group or feature, named as in make; may be repeated (default: all that the archive has)")
      .one_each();
  app.add_option("--without", options.without, "do not set this feature or group; may be repeated").one_each();
  app.add_option("--delete", options.remove_others, "remove what the archive does not have (default yes)").type_name("yes|no");
  app.add_option("--undo-immutable", options.undo_immutable,
                 "take chattr's +i and +a, and btrfs's read-only, off what is in the way (default no)")
      .type_name("yes|no");
  app.add_option("--hardlink", options.hardlink,
                 "yes: files that a seed folder has just so, attributes included, become links to them and share what is changed "
                 "later (default no)")
      .type_name("yes|no");
  app.add_option("--uid-shift", options.uid_shift, "yes (by the folder's owner), or what to add to each owner's number");
  app.add_option("--uid-range", options.uid_range, "owners' numbers modulo this");
  app.add_option("--what", options.what, "archive, archive-index, blob or blob-index, whatever the name says");
}

static void add_text_command(Command image, const Settings& settings, std::function<int()>& command, std::string_view verb,
                             chunks::TreeText form, std::string_view about) {
  struct Options {
    TreeOptions tree;
    StoreOptions store;
    std::string name = ".";
    std::string subpath;
  };
  auto o = std::make_shared<Options>();
  Command app = image.add_verb(std::string(verb), std::string(about));
  app.footer(fmt::format("Example:\n  godwit image {} root.caidx etc/hosts", verb));
  app.add_option("ARCHIVE", o->name, "an archive, archive index or folder, here, at host:PATH or a URL (default: this folder)");
  app.add_option("SUBPATH", o->subpath, "only this node of the archive");
  app.add_option("--recursive", o->tree.recursive, "no: only what lies directly in it (default yes)").type_name("yes|no");
  app.add_option("--store", o->store.store, "the chunk store (default: CASYNC_STORE, or default.castr beside the index)");
  app.add_option("--extra-store", o->store.extra_stores, "another store, asked for what the first has not; may be repeated");
  app.add_option(
      "--cache-store", o->store.cache_store,
      "a folder of this machine that keeps what is fetched and is asked first; what it gives does not count as fetched");
  app.add_option("--rate-limit-bps", o->store.rate_limit, "bytes per second from a remote, like 500000 or 1M");
  app.add_option("--digest", o->tree.digest, "of a folder's files: sha512-256 or sha256").show_default();
  add_archive_options(app, o->tree);
  app.when_chosen([o, form, &settings, &command] {
    command = [o, form, &settings] {
      return run_with_tree(
          settings, o->store, o->tree, o->name, o->subpath,
          {"", [&](Console& console, TreeInput input) { return run_tree_text(console, o->tree, std::move(input), form); }});
    };
  });
}

void add_tree_commands(Command image, const Settings& settings, std::function<int()>& command) {
  using chunks::TreeText;
  add_text_command(image, settings, command, "list", TreeText::list, "what a tree holds, modes and names");
  add_text_command(image, settings, command, "mtree", TreeText::mtree, "what a tree holds, in mtree(5)'s form");
  add_text_command(image, settings, command, "stat", TreeText::stat, "all about one node");
}

}  // namespace godwit::cli
