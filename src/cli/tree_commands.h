// `godwit image …` for trees: an archive (.catar) or its index (.caidx) of a folder, folders of either, and what they hold as
// text. Options have casync's names and meaning.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "chunks/core/archive_decoder.h"
#include "chunks/core/feature_flags.h"
#include "chunks/driver/seed_cache.h"
#include "chunks/driver/tree_archive.h"
#include "chunks/driver/watched_stream.h"
#include "cli/command_line.h"
#include "cli/console.h"
#include "cli/image_run.h"

namespace godwit::cli {

// What a name on the command line stands for.
enum class TreeKind { none, archive, archive_index, directory };
// By --what if it is said, else by the name's end, else by what lies there. ErrorKind::usage for an unknown --what.
Result<TreeKind> tree_kind(const std::string& name, const std::string& what);

struct TreeOptions {
  std::vector<std::string> with;
  std::vector<std::string> without;
  std::string digest = "sha512-256";
  bool exclude_nodump = true;
  bool exclude_submounts = false;
  bool exclude_file = true;
  std::string uid_shift;
  std::string uid_range;
  bool remove_others = true;
  bool undo_immutable = false;
  bool punch_holes = true;
  bool recursive = true;
  unsigned threads = 0;            // 0: as many as there are processors
  std::vector<std::string> seeds;  // folders, and files
  bool reflink = true;             // of an extraction: share blocks with files of seed folders,
  bool hardlink = false;           // or be links to them
  bool sync = false;               // wait for the disk
  std::string target;              // of an extraction: a seed in which it lies, or which lies in it, changes meanwhile
  bool seed_target = false;        // what lies there already is a seed, too
  const chunks::SeedCache* seed_cache = nullptr;  // what is known of file seeds; may be null
  std::string what;

  // What --with, --without, --digest and the --exclude- options come to, normalized.
  Result<chunks::FeatureFlags> archive_features() const;
  // The same for the index of a blob, which has no features but those of --with.
  Result<chunks::FeatureFlags> blob_features() const;
  // What an extraction may set.
  Result<chunks::FeatureFlags> extraction_mask() const;
  // `folder` is where `--uid-shift=yes` takes the shift from: its owner's number without the last 16 bits.
  Result<chunks::UidShift> shift(const std::string& folder) const;
};
void add_archive_options(Command app, TreeOptions& options);
void add_extract_options(Command app, TreeOptions& options);

// A tree's archive on the way in: all of it or a sub-tree, from a file, an index, or a folder that is encoded on the way.
class TreeInput {
 public:
  // `elsewhere` is an archive that is no file here, of which `name` is the index or the place; it outlives the input. `watch` may
  // be null.
  static Result<TreeInput> open(const std::string& name, const std::string& subpath, const TreeOptions& options,
                                chunks::ArchiveBytes* elsewhere, std::shared_ptr<chunks::StreamWatch> watch);

  chunks::ArchiveStream& source() { return *source_; }
  const chunks::ArchiveDecoderOptions& decoder_options() const { return decoder_options_; }
  const std::string& name() const { return name_; }  // as it was given
  const std::string& path() const { return path_; }  // of the sub-tree; empty for the whole
  bool is_folder() const { return is_folder_; }
  bool is_subtree() const { return decoder_options_.end_offset.has_value(); }

 private:
  std::unique_ptr<chunks::ArchiveFile> archive_;
  std::unique_ptr<chunks::ArchiveStream> source_;
  chunks::ArchiveDecoderOptions decoder_options_;
  bool is_folder_ = false;
  std::string name_;
  std::string path_;
};

struct TreeJob {
  std::string progress;  // "extract", "digest": what the progress is called that is shown; "": standard output is the work's own
  std::function<int(Console&, TreeInput)> work;
};
// Opens a tree for reading and lets the job have it, while chunks of an index come in from its stores. "-" is standard input, an
// archive unless options.what has another word for it.
int run_with_tree(const Settings& settings, const StoreOptions& store, TreeOptions options, const std::string& name,
                  const std::string& subpath, const TreeJob& job);

// `make X.catar DIR`. Prints the digest of the archive.
int run_tree_make(const Settings& settings, const TreeOptions& options, const std::string& archive, const std::string& folder);
int run_tree_extract(Console& console, const TreeOptions& options, TreeInput input, const std::string& folder);
int run_tree_text(Console& console, const TreeOptions& options, TreeInput input, chunks::TreeText form);
// Of a sub-tree that is a regular file: of its bytes.
int run_tree_digest(Console& console, TreeInput input);

// Adds list, mtree and stat to the group `image`.
void add_tree_commands(Command image, const Settings& settings, std::function<int()>& command);

}  // namespace godwit::cli
