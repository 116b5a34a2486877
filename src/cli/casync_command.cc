#include "cli/casync_command.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command_line.h"
#include "cli/image_attach_command.h"
#include "cli/image_extract_command.h"
#include "cli/image_make_command.h"
#include "cli/image_mount_command.h"
#include "cli/image_remote_server.h"
#include "cli/image_upkeep_commands.h"
#include "cli/tree_commands.h"
#include "export/nbd_devices.h"
#include "export/nbd_name.h"

namespace godwit::cli {

namespace {

// All that can stand on the line; a verb takes what concerns it.
struct Line {
  std::string verb;
  std::vector<std::string> operands;
  Settings settings;
  std::string log_level;
  StoreOptions store;
  TreeOptions tree;
  std::string chunk_size;
  std::vector<std::string> seeds;
  std::string cache;
  bool cache_auto = false;
  bool seed_output = true;
  bool reflink = true;
  bool mkdir = true;
  bool verbose = false;
  bool dry_run = false;

  std::string operand(std::size_t i) const { return i < operands.size() ? operands[i] : ""; }
};

int complain(std::string_view text) {
  std::cerr << "casync: " << text << '\n';
  return kFailed;
}

bool has_cache(const Line& line) {
  return line.cache_auto || !line.cache.empty();
}

int make(const Line& line) {
  if (line.operands.empty()) return complain("make: say what is to be made, NAME.catar, NAME.caidx or NAME.caibx, and of what");
  if (!line.tree.what.empty() && line.tree.what != "archive" && line.tree.what != "archive-index" &&
      line.tree.what != "blob-index")
    return complain("make goes with --what=archive, --what=archive-index or --what=blob-index only");
  const std::string& output = line.operands[0];
  if (line.tree.what.empty() && !output.ends_with(".catar") && !output.ends_with(".caidx") && !output.ends_with(".caibx"))
    return complain(fmt::format("make: '{}' does not end in .catar, .caidx or .caibx", escaped(output)));
  MakeOptions options;
  options.index = output;
  options.input = line.operand(1);
  options.tree = line.tree;
  options.store = line.store;
  options.chunk_size = line.chunk_size;
  options.digest = line.tree.digest;
  const Result<TreeKind> kind = tree_kind(output, line.tree.what);
  if (has_cache(line) && kind && *kind == TreeKind::none) return complain("make: a cache is for trees of files only");
  // An archive without chunks is made anew each time; the words are taken.
  if (kind && *kind == TreeKind::archive_index) {
    options.cache = line.cache;
    options.cache_auto = line.cache_auto;
  }
  return run_image_make(line.settings, options);
}

int extract(const Line& line) {
  // Out of standard input, casync would make the folder we are in what comes, and delete the rest.
  if (line.operands.empty()) return complain("extract: name an archive or an index; out of standard input nothing is extracted");
  ExtractOptions options;
  options.index = line.operands[0];
  options.output = line.operand(1);
  options.subpath = line.operand(2);
  options.tree = line.tree;
  options.store = line.store;
  options.seeds = line.seeds;
  options.seed_output = line.seed_output;
  options.reflink = line.reflink;
  options.punch_holes = line.tree.punch_holes;
  const Result<TreeKind> kind = tree_kind(options.index, options.tree.what);
  if (kind && *kind == TreeKind::none && options.output.empty()) options.output = "-";
  return run_image_extract(line.settings, options);
}

// What is read where nothing is named: this folder, or standard input for what is no folder.
std::string default_input(const Line& line) {
  return line.tree.what.empty() || line.tree.what == "directory" ? "." : "-";
}

int text(const Line& line, chunks::TreeText form) {
  const std::string name = line.operands.empty() ? default_input(line) : line.operands[0];
  return run_with_tree(
      line.settings, line.store, line.tree, name, line.operand(1),
      {"", [&](Console& console, TreeInput input) { return run_tree_text(console, line.tree, std::move(input), form); }});
}

int digest(const Line& line) {
  DigestOptions options;
  options.path = line.operands.empty() ? default_input(line) : line.operands[0];
  options.subpath = line.operand(1);
  options.tree = line.tree;
  options.store = line.store;
  options.digest = line.tree.digest;
  return run_image_digest(line.settings, options);
}

int collect(const Line& line) {
  if (line.operands.empty()) return complain("gc: name every index whose chunks are to stay");
  GcOptions options;
  options.indexes = line.operands;
  options.store = line.store;
  options.dry_run = line.dry_run;
  options.verbose = line.verbose;
  options.quiet = !line.verbose && !line.dry_run;
  return run_image_gc(line.settings, options);
}

int mount(const Line& line) {
  if (line.operands.size() < 2) return complain("mount: name an archive or an index, and the folder in which it is to be seen");
  MountOptions options;
  options.image = line.operands[0];
  options.folder = line.operands[1];
  options.subpath = line.operand(2);
  options.view.store = line.store;
  options.tree = line.tree;
  options.make_folder = line.mkdir;
  return run_image_mount(line.settings, options);
}

int mkdev(const Line& line) {
  if (line.operands.empty()) return complain("mkdev: name an index or a blob, and the device if it is to be a certain one");
  AttachOptions options;
  options.image = line.operands[0];
  options.device = line.operand(1);
  options.what = line.tree.what;
  options.view.store = line.store;
  return run_image_attach(line.settings, options);
}

// What udev's rule asks of each NBD device.
int udev(const Line& line) {
  if (line.operands.empty()) return complain("udev: name the device, /dev/nbdN");
  const std::string device = std::filesystem::path(line.operands[0]).filename().string();
  if (const std::optional<unsigned> number = exports::nbd_number_of(device))
    if (const std::optional<std::string> name = exports::nbd_name_of(exports::kNbdNamesFolder, *number))
      std::cout << "CASYNC_NAME=" << *name << '\n';
  return kDone;
}

int serve(const Line& line) {
  return run_remote_server({line.verb == "push", line.operands, line.store.rate_limit});
}

struct Verb {
  std::size_t operands_max;
  std::function<int(const Line&)> run;
};

const std::map<std::string, Verb>& verbs() {
  using chunks::TreeText;
  constexpr std::size_t kAny = 1000;
  static const std::map<std::string, Verb> all = {
      {"make", {2, make}},
      {"extract", {3, extract}},
      {"list", {2, [](const Line& line) { return text(line, TreeText::list); }}},
      {"mtree", {2, [](const Line& line) { return text(line, TreeText::mtree); }}},
      {"stat", {2, [](const Line& line) { return text(line, TreeText::stat); }}},
      {"digest", {2, digest}},
      {"gc", {kAny, collect}},
      {"mount", {3, mount}},
      {"mkdev", {2, mkdev}},
      {"udev", {1, udev}},
      {"pull", {kAny, serve}},
      {"push", {kAny, serve}},
  };
  return all;
}

// casync's numbers are syslog's.
std::string our_log_level(const std::string& level) {
  if (level == "debug" || level == "7") return "debug";
  if (level == "info" || level == "notice" || level == "6" || level == "5") return "info";
  if (level == "warning" || level == "4") return "warn";
  return "error";
}

void add_yes_no(Command app, const char* name, bool& value, const char* text) {
  app.add_option(name, value, text).type_name("yes|no");
}

void add_options(Command app, Line& line) {
  app.add_option("-l,--log-level", line.log_level, "debug, info or err");
  app.add_flag("-v,--verbose", line.verbose, "say more");
  app.add_flag("-n,--dry-run", line.dry_run, "gc: only say what would go");
  app.add_option("--store", line.store.store, "the chunk store (default: CASYNC_STORE, or default.castr beside the index)");
  app.add_option("--extra-store", line.store.extra_stores, "another store, asked for what the first has not").one_each();
  app.add_option("--chunk-size", line.chunk_size, "AVG or MIN:AVG:MAX, like 64K");
  app.add_option("--digest", line.tree.digest, "sha512-256 or sha256").show_default();
  app.add_option("--compression", line.store.compression, "of new chunks: zstd, xz or gzip").show_default();
  app.add_option("--seed", line.seeds, "what may hold some of the chunks").one_each();
  app.add_option("--cache", line.cache, "of a tree: keep in this folder what need not be read again the next time");
  app.add_flag("-c,--cache-auto", line.cache_auto, "the same in a folder of the user's own");
  app.add_option("--rate-limit-bps", line.store.rate_limit, "bytes per second to and from a remote, each, like 500000 or 1M");
  add_yes_no(app, "--exclude-nodump", line.tree.exclude_nodump, "leave out what has chattr's +d (default yes)");
  add_yes_no(app, "--exclude-submounts", line.tree.exclude_submounts, "leave out what is mounted below (default no)");
  add_yes_no(app, "--exclude-file", line.tree.exclude_file, "obey .caexclude files (default yes)");
  add_yes_no(app, "--reflink", line.reflink, "share blocks with seeds (default yes)");
  add_yes_no(app, "--hardlink", line.tree.hardlink, "make files links to those of seeds (default no)");
  add_yes_no(app, "--punch-holes", line.tree.punch_holes, "leave out zeros (default yes)");
  add_yes_no(app, "--delete", line.tree.remove_others, "remove what the archive does not have (default yes)");
  add_yes_no(app, "--undo-immutable", line.tree.undo_immutable,
             "take chattr's +i and +a, and btrfs's read-only, off what is in the way (default no)");
  add_yes_no(app, "--seed-output", line.seed_output, "use what is replaced as a seed (default yes)");
  add_yes_no(app, "--recursive", line.tree.recursive, "list what lies below, too (default yes)");
  add_yes_no(app, "--mkdir", line.mkdir, "mount: make the folder (default yes)");
  app.add_option("--uid-shift", line.tree.uid_shift, "yes, or what owners' numbers are shifted by");
  app.add_option("--uid-range", line.tree.uid_range, "owners' numbers modulo this");
  app.add_option("--what", line.tree.what, "archive, archive-index, blob, blob-index or directory, whatever the name says");
  app.add_option("--with", line.tree.with, "keep or set this feature or group; may be repeated").one_each();
  app.add_option("--without", line.tree.without, "leave this feature or group out; may be repeated").one_each();
}

}  // namespace

std::optional<int> run_as_casync(int argc, char** argv) {
  if (argc < 1 || std::filesystem::path(argv[0]).filename() != "casync") return std::nullopt;
  CommandLine command_line("Content-addressed images: casync's command line.", "casync");
  Command app = command_line.program();
  app.version("casync 2\ngodwit " GODWIT_VERSION);
  app.footer(
      "Verbs: make OUTPUT [INPUT], extract INPUT [OUTPUT [SUBPATH]], list, mtree, stat, digest [INPUT [SUBPATH]], gc INDEX…,\n"
      "mount INPUT FOLDER, mkdev INPUT [DEVICE], pull and push BASE ARCHIVE INDEX STORE… (the remote end of a client).");
  Line line;
  add_options(app, line);
  app.add_option("VERB", line.verb, "what to do");
  app.add_option("OPERANDS", line.operands, "of what");
  if (const std::optional<int> ended = command_line.parse(argc, argv, kFailed)) return ended;
  if (line.tree.what == "help") {
    std::cout << "Allowed --what= selectors:\narchive\narchive-index\nblob\nblob-index\ndirectory\n";
    return kDone;
  }
  if (line.verb.empty()) return complain("say what to do; --help lists the verbs");
  if (const Result<std::uint64_t> rate = parse_rate_limit(line.store.rate_limit); !rate) return complain(rate.error().message());
  const auto verb = verbs().find(line.verb);
  if (verb == verbs().end()) return complain(fmt::format("there is no verb '{}'; --help lists them", escaped(line.verb)));
  if (line.operands.size() > verb->second.operands_max)
    return complain(fmt::format("{} takes {} operands at most", line.verb, verb->second.operands_max));
  if (!line.log_level.empty()) line.settings.log_level = our_log_level(line.log_level);
  return verb->second.run(line) == kDone ? kDone : kFailed;
}

}  // namespace godwit::cli
